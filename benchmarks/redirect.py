"""Gaze redirection: trains the subject-guided system and the He et al. baseline, judges both on strangers, records.

    python benchmarks/redirect.py --workdir=DIR [--variant NAME] [--seeds 0 1 2] [--arms subject_guided he2019]
        [--out docs/results] [--smoke]

One table: both systems, the identity copy and the nearest neighbour; by the size of the turn; on people of the domain
that the labels come from and of the one without labels; means and spreads over seeds. Every training keeps its own
folder below DIR and resumes there; what has finished is kept, so that arms and seeds can come in several calls.
``--smoke`` shows in minutes on a CPU that everything runs.
"""

import argparse
import json
import runpy
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from experiments import finish, record_name

from eyegan_jax import models, redirecting
from eyegan_jax.cli import reporting_user_errors
from eyegan_jax.evaluation import redirection, results
from eyegan_jax.evaluation.metrics import Mean, at
from eyegan_jax.evaluation.redirect import COLUMNS, example_sheet, fine_sweeps, real_sweeps, sweep_sheet
from eyegan_jax.pictures import grid_png
from eyegan_jax.training import startup

ROOT = Path(__file__).resolve().parents[1]
ARMS = {"subject_guided": "redirect", "he2019": "gaze_gan"}
TITLES = {"subject_guided": "subject guided", "he2019": "He et al. 2019"}


def config_of(variant: str, arm: str, seed: int):
    """The arm's config of a variant with the seed; both arms see the same pairs."""
    config = runpy.run_path(str(ROOT / "configs" / "redirect.py"))["get_config"](variant).unlock()
    config.system, config.seed = ARMS[arm], seed
    config.run.keep = 1
    return config.lock()


def milliseconds(tool: redirecting.Redirector, bench: redirection.Bench, repeats: int = 5) -> float:
    """Time of one image, in batches of 16, transfers included."""
    rows = np.arange(16) % len(bench.pairs["image"])
    images, angles = bench.pairs["image"][rows], np.zeros((16, 2))
    tool.turn(images, angles)
    started = time.perf_counter()
    for _ in range(repeats):
        tool.turn(images, angles)
    return 1000 * (time.perf_counter() - started) / (repeats * len(rows))


def judge_arm(config, benches: Mapping[str, redirection.Bench], folder: Path, arm: str) -> dict[str, Any]:
    """All figures of one trained model, with its sheets in its folder; kept in ``judged.json``."""
    tool = redirecting.redirector(models.load_model(folder, redirecting.STATE))
    judged: dict[str, Any] = {"figures": {}}
    for name, bench in benches.items():
        turns = {TITLES[arm]: redirection.redirecting(tool)}
        if arm == "subject_guided":
            turns[f"{TITLES[arm]}, 4 pictures"] = redirection.redirecting(tool, 3)
        judged["figures"][name] = redirection.table(turns, bench, config.evaluation.sweeps)
        grid_png(example_sheet({TITLES[arm]: turns[TITLES[arm]]}, bench), folder / f"turned_{name}.png")
        _, swept = sweep_sheet(turns[TITLES[arm]], redirection.first(bench.pairs, 6), bench.judges)
        grid_png(swept, folder / f"swept_{name}.png")
    grid_png(fine_sweeps(tool, config), folder / "swept_fine.png", scale=1)
    judged["milliseconds"] = milliseconds(tool, next(iter(benches.values())))
    real = real_sweeps(tool, next(iter(benches.values())).judges)
    for name, result in real.items():
        grid_png(result["sheet"], folder / f"swept_{name}.png")
    judged["real_images"] = {name: result["figures"] for name, result in real.items()}
    results.write_json(folder / "judged.json", judged)
    return json.loads((folder / "judged.json").read_text())


def over_seeds(values: list[Any]) -> Any:
    """The same tree with mean and spread over seeds; what is itself a mean over eyes enters with its mean."""
    first = values[0]
    if isinstance(first, dict) and set(first) == {"mean", "std", "n"}:
        return Mean([value["mean"] for value in values]).result()
    if isinstance(first, dict):
        return {name: over_seeds([value[name] for value in values]) for name in first}
    return Mean(values).result()


def as_text(rows: Mapping[str, Any]) -> str:
    def cell(value):
        spread = f" ± {value['std']:.2g}" if value.get("std") is not None else ""
        return "-" if value["mean"] is None else f"{value['mean']:.3g}{spread}"

    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    paths = [path.removesuffix(".mean") for path in COLUMNS.values()]
    lines += [f"| {name} | " + " | ".join(cell(at(row, p)) for p in paths) + " |" for name, row in rows.items()]
    turns = next(iter(rows.values()))["by_turn"]
    lines += ["", "| gaze error, turned by | " + " | ".join(turns) + " |", "|---" * (len(turns) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(cell(row["by_turn"][t]["gaze_error"]) for t in turns) + " |")
    own = next(iter(rows.values()))["by_turn"]
    lines.append("| judge's own | " + " | ".join(cell(own[t]["own_error"]) for t in turns) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--variant", default="", help="of configs/redirect.py, such as large or cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results")
    parser.add_argument("--smoke", action="store_true", help="tiny networks and one seed: only shows that it runs")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.variant, arguments.seeds = "smoke", arguments.seeds[:1]
    startup.start()
    workdir = arguments.workdir.resolve()
    for seed in arguments.seeds:
        for arm in arguments.arms:
            finish(config_of(arguments.variant, arm, seed), workdir / f"{arm}-seed{seed}")
    config = config_of(arguments.variant, "subject_guided", 0)
    benches = redirection.prepare(config)
    baselines = {
        name: redirection.table(
            {"identity copy": redirection.copy, "nearest neighbour": redirection.nearest(bench.gallery)},
            bench,
            config.evaluation.sweeps,
        )
        for name, bench in benches.items()
    }
    for seed in arguments.seeds:
        for arm in arguments.arms:
            judge_arm(config, benches, workdir / f"{arm}-seed{seed}", arm)
    # Arms and seeds of earlier calls in the same folder count too.
    judged: dict[str, list[Any]] = {}
    for path in sorted(workdir.glob("*-seed*/judged.json")):
        judged.setdefault(path.parent.name.partition("-seed")[0], []).append(json.loads(path.read_text()))
    tables: dict[str, Any] = {}
    for name in benches:
        rows = {method: over_seeds([results.plain(row)]) for method, row in baselines[name].items()}
        for runs in judged.values():
            for method in runs[0]["figures"][name]:
                rows[method] = over_seeds([run["figures"][name][method] for run in runs])
        tables[name] = rows
        print(f"\n{name}\n{as_text(rows)}", flush=True)
    found = {
        "table": tables,
        "reached": {n: {m: redirection.verdict(row) for m, row in rows.items()} for n, rows in tables.items()},
        "real_images": {arm: over_seeds([run["real_images"] for run in runs]) for arm, runs in judged.items()},
        "milliseconds": {arm: over_seeds([run["milliseconds"] for run in runs]) for arm, runs in judged.items()},
        "device": jax.devices()[0].device_kind,
    }
    variant = f" --variant {arguments.variant}" if arguments.variant else ""
    command = f"python benchmarks/redirect.py --workdir=DIR{variant} --arms {' '.join(sorted(judged))}"
    done = sorted({int(p.parent.name.partition("-seed")[2]) for p in workdir.glob("*-seed*/judged.json")})
    name = record_name("redirect", arguments.variant)
    print(f"written: {results.record(name, command, config, found, done, arguments.out)}")


if __name__ == "__main__":
    with reporting_user_errors():
        main()
