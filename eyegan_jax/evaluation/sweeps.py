"""Tables of runs: train and judge every entry of a sweep file, any number of times, in any order, on any machines."""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_collections
from tqdm import tqdm

from eyegan_jax import systems
from eyegan_jax.errors import UserError
from eyegan_jax.evaluation.metrics import Mean, at
from eyegan_jax.evaluation.results import record
from eyegan_jax.evaluation.run import evaluate
from eyegan_jax.training.loop import train, write_run


@dataclass(frozen=True)
class Run:
    """One training: an arm of the sweep with one seed."""

    arm: str
    seed: int
    config: ml_collections.ConfigDict

    @property
    def name(self) -> str:
        return f"{self.arm}-seed{self.seed}"

    def figures(self, workdir: Path) -> Path:
        """Where its figures are once it has been judged."""
        return workdir / self.name / "report" / "metrics.json"


def load(file: Path) -> tuple[list[Run], dict[str, str]]:
    """The runs of a sweep file and its columns.

    The file defines ``get_sweep() -> {"config": base ConfigDict, "seeds": [...], "arms": {name: {"dotted.field":
    value}}, "columns": {title: "dotted.path.into.metrics.json"}}``.
    """
    if not file.is_file():
        raise UserError(f"sweep: expected a file like configs/sweeps/simgan.py, found none at {file}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sweep = module.get_sweep()
    runs = []
    for arm, changes in sweep["arms"].items():
        for seed in sweep["seeds"]:
            config = ml_collections.ConfigDict(sweep["config"].to_dict()).lock()
            config.update_from_flattened_dict({"seed": seed, **changes})
            runs.append(Run(arm, seed, config))
    return runs, sweep["columns"]


def run(file: Path, workdir: Path, index: int | None = None, together: bool = False) -> None:
    """Train and judge run ``index`` (or all, in order). What has finished is skipped, what was cut off goes on.

    together: runs that differ in their seed and in settings like a loss weight only are trained as one program
        (:mod:`eyegan_jax.systems.ensemble`) and judged one by one.
    """
    runs, _ = load(file)
    if index is not None and not 0 <= index < len(runs):
        raise UserError(f"--index: expected 0 to {len(runs) - 1} for the {len(runs)} runs of {file}, found {index}")
    if together:
        if index is not None:
            raise UserError("--together: expected all runs of the file, found --index as well")
        for group in groups(runs):
            if len(group) > 1 and not _train_together(group, workdir):
                return
    for entry in runs if index is None else [runs[index]]:
        folder = workdir / entry.name
        if not entry.figures(workdir).exists():
            tqdm.write(f"{entry.name}: {folder}")
            if train(entry.config, folder).interrupted:
                return
            evaluate(entry.config, folder)


def groups(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs divided into those that one program can train: equal but for seeds and an ensemble's scalars."""
    found: dict[str, list[Run]] = {}
    for entry in runs:
        common = ml_collections.ConfigDict(entry.config.to_dict())
        common.update_from_flattened_dict({"seed": 0, **dict.fromkeys(systems.ensemble_scalars(common.system), 0.0)})
        found.setdefault(common.to_json_best_effort(sort_keys=True), []).append(entry)
    return list(found.values())


def together_config(group: Sequence[Run]) -> ml_collections.ConfigDict:
    """The config of a group's ensemble: the first run's, with every member's seed and scalars."""

    def value_of(config: ml_collections.ConfigDict, field: str) -> float:
        for name in field.split("."):
            config = config[name]
        return float(config)  # type: ignore[arg-type]

    config = ml_collections.ConfigDict(group[0].config.to_dict())
    scalars = {f: tuple(value_of(e.config, f) for e in group) for f in systems.ensemble_scalars(config.system)}
    varied = tuple((field, values) for field, values in scalars.items() if len(set(values)) > 1)
    config.ensemble = {"seeds": tuple(entry.seed for entry in group), "scalars": varied}
    return config.lock()


def _train_together(group: Sequence[Run], workdir: Path) -> bool:
    """Train a group as one program and give every member a run of its own; False where a signal stopped it."""
    waiting = [entry for entry in group if not (workdir / entry.name / "checkpoints").is_dir()]
    if not waiting:
        return True
    folder = workdir / f"together-{group[0].name}"
    tqdm.write(f"{len(group)} runs in one program: {folder}")
    config = together_config(group)
    outcome = train(config, folder)
    if outcome.interrupted:
        return False
    ensemble: Any = systems.build_system(config)
    for place, entry in enumerate(group):
        if entry in waiting:
            write_run(entry.config, workdir / entry.name, ensemble.member(outcome.state, place), outcome.step)
    return True


def summarise(file: Path, workdir: Path) -> dict[str, dict[str, Any]]:
    """``{arm: {column: {"mean", "std", "n"}}}`` over the seeds that have finished."""
    runs, columns = load(file)
    found: dict[str, list[Any]] = {}
    for entry in runs:
        path = entry.figures(workdir)
        found.setdefault(entry.arm, []).extend([json.loads(path.read_text())] if path.exists() else [])
    return {
        arm: {title: Mean(at(metrics, path) for metrics in all_metrics).result() for title, path in columns.items()}
        for arm, all_metrics in found.items()
    }


def table(file: Path, workdir: Path) -> str:
    """The finished runs as a Markdown table: mean ± spread over seeds of every column, and the number of seeds."""
    arms = summarise(file, workdir)
    columns = next(iter(arms.values()))
    lines = ["| arm | seeds | " + " | ".join(columns) + " |", "|---" * (2 + len(columns)) + "|"]
    for arm, row in arms.items():
        count = max((result["n"] for result in row.values()), default=0)
        lines.append(f"| {arm} | {count} | " + " | ".join(_cell(result) for result in row.values()) + " |")
    return "\n".join(lines)


def record_table(file: Path, workdir: Path, name: str) -> None:
    """Write :func:`summarise` to ``docs/results/NAME.json`` with the command, versions and hardware."""
    finished = [entry for entry in load(file)[0] if entry.figures(workdir).exists()]
    record(
        name,
        command=f"eyegan sweep {file} --workdir {workdir} --record {name}",
        config=str(file),
        results=summarise(file, workdir),
        seeds=sorted({entry.seed for entry in finished}),
    )


def _cell(result: dict[str, Any]) -> str:
    if not result["n"]:
        return "-"
    spread = f" ± {result['std']:.3g}" if result["std"] is not None else ""
    return f"{result['mean']:.4g}{spread}"
