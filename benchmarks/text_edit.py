"""Text-guided editing: trains every arm with every seed, judges all on unseen people, records one table.

    python benchmarks/text_edit.py --workdir=DIR [--seeds 0 1 2] [--arms full dong ...]
        [--steps N] [--dtype bfloat16] [--variant large] [--models NAME=FOLDER ...] [--smoke] [--out docs]

``--models`` are trained already (a run's folder or a released model's) and judged beside the arms, or alone after
``--arms`` with nothing. Every training keeps its own folder, DIR/seedS/ARM, and resumes there; what is judged once is
not judged again. The reader (the judge of attributes) is trained once, on people and by a seed that no arm sees:
DIR/reader.msgpack.
Writes OUT/results/text_edit.json and OUT/images/text_edit.png, text_edit_arms.png and text_edit_real.png, with a
variant text_edit_VARIANT.json and so on.
"""

import argparse
import json
import runpy
from pathlib import Path

import ml_collections
from experiments import finish, record_name

from eyegan_jax.cli import reporting_user_errors
from eyegan_jax.evaluation import results
from eyegan_jax.evaluation import text_edit as judging
from eyegan_jax.evaluation.metrics import Mean
from eyegan_jax.evaluation.real_pictures import real_eyes
from eyegan_jax.evaluation.text_edit_readers import train_reader
from eyegan_jax.models import Model, load_model
from eyegan_jax.training import startup

ROOT = Path(__file__).resolve().parents[1]
ARMS = ("full", "supervised", "one_by_one", "whole_pictures", "unpaired", "nowords", "dong")
GOES_ON = "continued"
"""An arm that starts from another's painter, so it is no part of the comparison unless it is asked for."""

GOALS = {"success": 80.0, "drift": 10.0, "as_is": 1.1}


def training_config(arguments: argparse.Namespace, arm: str, seed: int) -> ml_collections.ConfigDict:
    """The base variant with critics (``cpu`` has none by itself), changed by the arm's own."""
    module = runpy.run_path(str(ROOT / "configs" / "text_edit.py"))
    config = module["get_config"](arguments.variant).unlock()
    steps = arguments.steps or config.steps  # as many for every arm
    module["criticised"](config)
    if arm != "full":
        module[arm](config)
    config.seed = seed
    config.steps, config.dtype = steps, arguments.dtype
    config.run.checkpoint_every = config.run.samples_every = max(1, config.steps // 4)
    config.run.log_every = max(1, config.steps // 200)
    return config.lock()


def judge_arm(arguments: argparse.Namespace, arm: str, seed: int, task, reader) -> dict:
    """The figures of one training, from its folder if they are there."""
    folder = arguments.workdir / f"seed{seed}" / arm
    config = training_config(arguments, arm, seed)
    path = folder / "figures.json"
    stamp = {
        "steps": config.steps,
        "pairs": len(task["image"]),
        "reader": reader.accuracy,
        "followed": "in turn, lids first; right eyes, too",
    }
    if path.exists() and (found := json.loads(path.read_text()))["stamp"] == stamp:
        return found["figures"]
    finish(config, folder)
    figures = judging.judge_model(trained(arguments, arm, seed), task, reader, config)
    results.write_json(path, {"stamp": stamp, "figures": figures})
    return json.loads(path.read_text())["figures"]


def over_seeds(figures: list[dict]) -> dict:
    """Mean and spread over seeds of every figure, nested as they are."""

    def merge(values):
        if isinstance(values[0], dict):
            return {name: merge([value[name] for value in values]) for name in values[0]}
        return Mean(values).result()

    return merge(figures)


def against_goals(arm: dict) -> dict:
    """The arm's attributes that miss a goal, with their figures."""
    success, drift = ({a: v["mean"] for a, v in arm[f"{n}_by_attribute"].items()} for n in ("success", "drift"))
    return {
        "goals": GOALS,
        "success_below": {a: v for a, v in success.items() if v is not None and v < GOALS["success"]},
        "drift_above": {a: v for a, v in drift.items() if v is not None and v > GOALS["drift"]},
        "as_is_over_floor": arm["as_is_l1"]["mean"] / max(arm["floor_l1"]["mean"], 1e-9),
    }


def as_text(table: dict) -> str:
    """The table in Markdown, one arm per row."""

    def cell(value):
        if not isinstance(value, dict):
            return "-" if value is None else f"{value:.4g}"
        return "-" if value["mean"] is None else f"{value['mean']:.4g} ± {value['std'] or 0.0:.2g}"

    lines = ["| arm | " + " | ".join(judging.COLUMNS) + " |", "|---" * (len(judging.COLUMNS) + 1) + "|"]
    lines += [f"| {n} | " + " | ".join(cell(row.get(c)) for c in judging.COLUMNS) + " |" for n, row in table.items()]
    return "\n".join(lines)


def draw(arguments: argparse.Namespace, config, others: dict[str, Model]) -> None:
    """The figures of the docs: the full system's edits (or the first arm's), and one eye's by every arm; first seed."""
    models = {arm: trained(arguments, arm, arguments.seeds[0]) for arm in arguments.arms} | others
    shown, rows = models.get("full", next(iter(models.values()))), config.evaluation.rows
    images, real = judging.example_eyes(config, rows), real_eyes(judging.REAL_SET, judging.shown_shape(config), rows)
    sheets = {"": judging.sheet(shown, images), "_arms": judging.sheet_of_models(models, images[0])}
    if real is not None:
        sheets["_real"] = judging.sheet(shown, real)
    for kind, sheet in sheets.items():
        path = arguments.out / "images" / f"{record_name('text_edit', arguments.variant)}{kind}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sheet.png)
        print(f"picture: {path}")


def trained(arguments: argparse.Namespace, arm: str, seed: int) -> Model:
    return load_model(arguments.workdir / f"seed{seed}" / arm, judging.STATE)


def named_folder(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not folder:
        raise argparse.ArgumentTypeError(f"expected NAME=FOLDER, found {text!r}")
    return name, Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="*", choices=(*ARMS, GOES_ON), default=ARMS)
    parser.add_argument("--steps", type=int, help="adversarial steps of every arm (default: the config's)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--variant", default="", help="of configs/text_edit.py, the full system")
    parser.add_argument("--models", type=named_folder, nargs="+", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--smoke", action="store_true", help="tiny: only shows that everything runs")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    startup.start()
    arguments.workdir = arguments.workdir.resolve()
    # First: a folder that is not there should not be found out after hours.
    others = {name: load_model(folder, judging.STATE) for name, folder in arguments.models}
    if arguments.smoke:
        arguments.variant = "smoke"
    config = training_config(arguments, "full", 1000)
    task = judging.make_task(config)
    reader = train_reader(config, arguments.workdir / "reader.msgpack")
    print("reader:", json.dumps(reader.accuracy), flush=True)
    table = judging.judge_arms(others, task, reader, config)
    for arm in arguments.arms:
        table[arm] = over_seeds([judge_arm(arguments, arm, seed, task, reader) for seed in arguments.seeds])
        print(as_text({arm: table[arm]}), flush=True)
    found = {"table": table, "reader_accuracy": reader.accuracy}
    judged = {name: over_seeds([table[name]]) for name in others} | {arm: table[arm] for arm in arguments.arms}
    found["against_goals"] = {name: against_goals(row) for name, row in judged.items()}
    draw(arguments, config, others)
    command = f"python benchmarks/text_edit.py --workdir=DIR --variant={arguments.variant!r} --dtype={arguments.dtype}"
    command += f" {' '.join(('--arms', *arguments.arms))} --seeds {' '.join(map(str, arguments.seeds))}"
    if arguments.steps:
        command += f" --steps={arguments.steps}"
    if others:
        command += f" --models {' '.join(f'{name}=FOLDER' for name in others)}"
    name = record_name("text_edit", arguments.variant)
    path = results.record(name, command, config, found, arguments.seeds, arguments.out / "results")
    print(f"over {len(arguments.seeds)} seed(s)\n{as_text(table)}\nwritten: {path}")


if __name__ == "__main__":
    with reporting_user_errors():
        main()
