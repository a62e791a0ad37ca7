"""The gaze benchmark: refiners trained per seed, estimators on every arm's eyes, all tested on the same real eyes.

    python benchmarks/gaze.py --workdir=DIR [--config=configs/benchmarks/gaze.py[:variant]]
        [--config.NAME=VALUE] [--seeds 0 1 2] [--out docs/results]

Trainings, finished estimators and pictures stay in DIR; the same command goes on where it was cut off.
"""

import json
from functools import partial
from pathlib import Path

import jax
import ml_collections
import numpy as np
from experiments import begin, changed, parser, record_name, train_arm, variant_of

from eyegan_jax.cli import reporting_user_errors
from eyegan_jax.data.streams import stream_config
from eyegan_jax.evaluation import domain_arms, fitting, gaze, report, results
from eyegan_jax.evaluation.batches import in_batches
from eyegan_jax.evaluation.refinement import label_preservation
from eyegan_jax.evaluation.simgan import draw_eyes
from eyegan_jax.models import load_model
from eyegan_jax.refining import refine_images

REFINED = "{} refined"


def on_domains(experiment, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The config with the experiment's own streams in place of its own."""
    for stream, settings in experiment.data.items():
        config.data[stream] = settings
    return config


def refiner_config(experiment, name: str, seed: int) -> ml_collections.ConfigDict:
    path, changes = experiment.refiners[name]
    return on_domains(experiment, changed(path, changes, seed))


def refined(workdir: Path, name: str, seed: int, images: np.ndarray) -> np.ndarray:
    model = load_model(workdir / f"seed{seed}" / name, ("refiner_average",))
    return in_batches(jax.jit(partial(refine_images, model)), images, 256)


def eyes_of(drawn) -> gaze.Eyes:
    return gaze.Eyes(drawn["image"], drawn["gaze"])


def build_arms(experiment, workdir: Path, seeds) -> tuple[dict, gaze.Eyes]:
    """Every arm's training eyes (one set per seed where a refiner made them), and the test eyes."""
    like = on_domains(experiment, changed(experiment.domains, (), 0)).lock()
    times = max(1, experiment.more)
    simulated = eyes_of(draw_eyes(like, "simulated", experiment.samples * times, 0))
    real = eyes_of(draw_eyes(like, "real", experiment.samples + experiment.test_samples, 1))
    # A small real set is divided in the same proportion.
    split = len(real.gaze) * experiment.samples // (experiment.samples + experiment.test_samples)
    train, test = gaze.Eyes(*(part[:split] for part in real)), gaze.Eyes(*(part[split:] for part in real))
    once = gaze.Eyes(*(part[: len(simulated.gaze) // times] for part in simulated))
    arms: dict = {"raw": once}
    for name in experiment.refiners:
        every = [refined(workdir, name, seed, simulated.images) for seed in seeds]
        arms[REFINED.format(name)] = [gaze.Eyes(images[: len(once.gaze)], once.gaze) for images in every]
        if experiment.more:
            arms[f"{REFINED.format(name)}, {times}x data"] = [gaze.Eyes(images, simulated.gaze) for images in every]
    if experiment.more:
        arms[f"raw, {times}x data"] = simulated
    arms["histogram matching"] = gaze.Eyes(domain_arms.histogram_matching(once.images, train.images), once.gaze)
    arms["Fourier adaptation"] = gaze.Eyes(domain_arms.fourier_adaptation(once.images, train.images), once.gaze)
    arms["strong augmentation"] = once
    if experiment.randomized:
        other = like.copy_and_resolve_references().unlock()
        other.data.simulated = stream_config("simulator", domain="randomized", view=like.data.simulated.view)
        arms["domain randomisation"] = eyes_of(draw_eyes(other, "simulated", len(once.gaze), 0))
    arms["real"] = train
    return arms, test


def judge(experiment, workdir: Path, seeds) -> dict:
    """The whole table; an estimator that has been through it is not trained again."""
    arms, test = build_arms(experiment, workdir, seeds)
    plain = fitting.Training(experiment.estimator_steps, experiment.estimator_batch)
    augmented = fitting.Training(plain.steps, plain.batch, augment=domain_arms.strong_augmentation)
    table: dict = {}
    for estimator in experiment.estimators:
        # Classical estimators see the images as they are: for them this arm would be the raw one again.
        own = {k: v for k, v in arms.items() if estimator not in gaze.CLASSICAL or k != "strong augmentation"}
        kept = workdir / f"table_{estimator}_{'_'.join(map(str, seeds))}.json"
        if not kept.is_file():
            budgets = {"": plain, "strong augmentation": augmented}
            report_line = partial(print, flush=True)
            results.write_json(kept, gaze.gaze_benchmark(own, test, seeds, (estimator,), budgets, report_line))
        found = json.loads(kept.read_text())
        table = table or {**found, "estimators": {}, "gap_closed": {}}
        for part in ("estimators", "gap_closed"):
            table[part] |= found[part]
    raw = arms["raw"].images
    table["label_preservation"] = {
        name: [label_preservation(raw, eyes.images) for eyes in arms[REFINED.format(name)]]
        for name in experiment.refiners
    }
    write_pictures(arms, table, workdir)
    return table


def headline(experiment, table: dict) -> dict:
    """``raw``, ``refined``, ``real`` (gaze error in degrees) and ``gap_closed`` of the first estimator."""
    estimator, name = next(iter(experiment.estimators)), REFINED.format(experiment.recommended)
    rows, closed = table["estimators"][estimator], table["gap_closed"].get(estimator, {})
    found = {"raw": rows["raw"]["error"], "real": rows["real"]["error"]}
    if name in rows:
        found |= {"refined": rows[name]["error"], "gap_closed": closed.get(name)}
    return found


def write_pictures(arms: dict, table: dict, workdir: Path) -> None:
    """``eyes.png``: one row per arm, the same eyes in its columns where it keeps them; ``curve.png``."""
    rows = {name: eyes.images if isinstance(eyes, gaze.Eyes) else eyes[0].images for name, eyes in arms.items()}
    rows = {name: images[:10] for name, images in rows.items() if "x data" not in name}
    (workdir / "eyes.png").write_bytes(report.grid(np.stack(list(rows.values())), "", list(rows)).png)
    first, found = next(iter(table["estimators"].items()))
    lines = {name: (row["curve"]["limits"], row["curve"]["percent"]) for name, row in found.items()}
    picture = report.curves(lines, "error limit, degrees", f"% of test eyes within it ({first})")
    (workdir / "curve.png").write_bytes(picture.png)


def as_text(table: dict) -> str:
    lines = ["| estimator | trained on | error, degrees | % within 7 | gap closed |", "|---|---|---|---|---|"]
    for estimator, rows in table["estimators"].items():
        for name, row in rows.items():
            closed = table["gap_closed"].get(estimator, {}).get(name)
            cells = [row["error"], row["within_7"], closed]
            lines.append(f"| {estimator} | {name} | {' | '.join(report.cell(c) for c in cells)} |")
    return "\n".join(lines)


def main() -> None:
    chosen = begin(parser(__doc__, "configs/benchmarks/gaze.py"))
    experiment, workdir, seeds = chosen.experiment, chosen.workdir, chosen.seeds
    for seed in seeds:
        for name in experiment.refiners:
            train_arm(refiner_config(experiment, name, seed), workdir / f"seed{seed}" / name)
    table = judge(experiment, workdir, seeds)
    name = record_name("gaze", variant_of(chosen.arguments.config))
    found = headline(experiment, table) | table
    path = results.record(name, chosen.command, experiment, found, seeds, chosen.arguments.out)
    print(f"{as_text(table)}\nwritten: {path}, {workdir}/eyes.png, {workdir}/curve.png")


if __name__ == "__main__":
    with reporting_user_errors():
        main()
