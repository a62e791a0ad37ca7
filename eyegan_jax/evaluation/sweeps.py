"""Tables of runs: train and judge every entry of a sweep file, any number of times, in any order, on any machines."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_collections
from tqdm import tqdm

from eyegan_jax.errors import UserError
from eyegan_jax.evaluation.metrics import Mean
from eyegan_jax.evaluation.run import evaluate
from eyegan_jax.training.loop import train


@dataclass(frozen=True)
class Run:
    """One training: an arm of the sweep with one seed."""

    arm: str
    seed: int
    config: ml_collections.ConfigDict

    @property
    def name(self) -> str:
        return f"{self.arm}-seed{self.seed}"


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


def run(file: Path, workdir: Path, index: int | None = None) -> None:
    """Train and judge run ``index`` (or all, in order). What has finished is skipped, what was cut off goes on."""
    runs, _ = load(file)
    if index is not None and not 0 <= index < len(runs):
        raise UserError(f"--index: expected 0 to {len(runs) - 1} for the {len(runs)} runs of {file}, found {index}")
    for entry in runs if index is None else [runs[index]]:
        folder = workdir / entry.name
        if not (folder / "report" / "metrics.json").exists():
            tqdm.write(f"{entry.name}: {folder}")
            if train(entry.config, folder).interrupted:
                return
            evaluate(entry.config, folder)


def table(file: Path, workdir: Path) -> str:
    """The finished runs as a Markdown table: mean ± spread over seeds of every column, and the number of seeds."""
    runs, columns = load(file)
    lines = ["| arm | seeds | " + " | ".join(columns) + " |", "|---" * (2 + len(columns)) + "|"]
    for arm in dict.fromkeys(entry.arm for entry in runs):
        found = [
            json.loads(path.read_text())
            for entry in runs
            if entry.arm == arm and (path := workdir / entry.name / "report" / "metrics.json").exists()
        ]
        cells = [_cell([_at(metrics, path) for metrics in found]) for path in columns.values()]
        lines.append(f"| {arm} | {len(found)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _at(metrics: Any, path: str) -> float | None:
    for key in path.split("."):
        if not isinstance(metrics, dict) or key not in metrics:
            return None
        metrics = metrics[key]
    return metrics


def _cell(values: list[float | None]) -> str:
    result = Mean(values).result()
    if not result["n"]:
        return "-"
    spread = f" ± {result['std']:.3g}" if result["std"] is not None else ""
    return f"{result['mean']:.4g}{spread}"
