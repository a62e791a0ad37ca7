"""The OpenEDS synthesis task: trains every arm, judges all on unseen people, records one table.

    python benchmarks/openeds.py --workdir=DIR [--config=configs/benchmarks/openeds.py[:small|:smoke]] [--seeds 0 1 2]
        [--stages segmenters winner references fusion judge] [--out docs/results]

Every training keeps its own folder below DIR and resumes there; stages can be run one by one.
"""

import json
from pathlib import Path

import ml_collections
import numpy as np
from experiments import begin, load, parser, record_name, train_arm, variant_of

from eyegan_jax.cli import reporting_user_errors
from eyegan_jax.evaluation import results, synthesis
from eyegan_jax.evaluation.metrics import Mean
from eyegan_jax.evaluation.residual import UNSEEN, sheet, synthesizer
from eyegan_jax.evaluation.segmenter import STATE, segment_function
from eyegan_jax.models import load_model
from eyegan_jax.systems.optimisers import fall_to_zero

STAGES = ("segmenters", "winner", "references", "fusion", "judge")
ARMS = {"winner": "residual refiner", "references": "several references"}


def training_config(experiment, arm: str, seed: int) -> ml_collections.ConfigDict:
    """The arm's own config file at the experiment's size, data and number of steps."""
    variants = {"winner": ":winner", "references": "", "fusion": ":fusion"}
    segmenter = arm.startswith("segmenter")
    path = "configs/segmenter.py" if segmenter else f"configs/residual.py{variants[arm]}"
    config = load(path).unlock()
    config.seed = seed + (1000 if arm == "segmenter_judge" else 0)
    config.image_shape, config.dtype = experiment.image_shape, experiment.dtype
    config.data.eyes.domain, config.data.eyes.view = experiment.domain, experiment.view
    steps = experiment.steps
    config.steps = steps.segmenter if segmenter else steps[arm]

    def narrow(settings, *names):
        for name in names:
            settings[name] = max(4, round(settings[name] * experiment.width))

    if segmenter:
        # It works on the camera that it was trained on: nothing wider than RITnet's augmentation is needed.
        config.segmenter.augmentation = "ritnet"
        narrow(config.segmenter, "features")
        optimisers = [config.segmenter.optimiser]
    else:
        config.batch_size = experiment.batch_size
        eyes = config.data.eyes
        eyes.people, eyes.images_per_person, eyes.seed = experiment.people, experiment.images_per_person, seed
        eyes.references = 1 if arm == "winner" else experiment.references
        eyes.neighbour_pool = None if arm == "winner" else min(experiment.pool, experiment.images_per_person - 1)
        narrow(config.residual.references, "width", "detail")
        narrow(config.residual.deeplab, "width", "pyramid")
        narrow(config.residual.discriminator, "width")
        optimisers = [config.residual.optimiser]
    if arm == "fusion":
        config.fusion.painting_steps = steps.painting
        narrow(config.seg2eye.generator, "width", "mask_features")
        narrow(config.seg2eye.encoder, "width", "code")
        narrow(config.seg2eye.discriminator, "width")
    for optimiser in optimisers:
        fall_to_zero(optimiser, config.steps)
    return config


def judge_seed(experiment, workdir: Path, seed: int) -> dict:
    """The table of one seed."""
    from eyegan_jax import simulator
    from eyegan_jax.data.neighbours import simulated_people

    folder = workdir / f"seed{seed}"
    segment, judge = (segment_function(load_model(folder / name, STATE)) for name in ("segmenter", "segmenter_judge"))
    people = simulated_people(
        experiment.domain,
        simulator.find_view(experiment.view).resized(*experiment.image_shape[:2]),
        people=experiment.unseen_people,
        images=experiment.targets + experiment.pool,
        seed=seed,
        first_person=UNSEEN,
        session=True,
    )
    task = synthesis.make_task(people, experiment.targets, experiment.references, segment)
    images = synthesis.baselines(task)
    for arm, name in ARMS.items():
        images[name] = synthesis.synthesize_all(synthesizer(folder / arm)[0]["residual"], task, experiment.batch_size)
    for name, synthesize in synthesizer(folder / "fusion")[0].items():
        images[name] = synthesis.synthesize_all(synthesize, task, experiment.batch_size)
    order = ["class means", "person's mean image", "nearest copy", "seg2eye", *ARMS.values(), "fusion"]
    images = {name: images[name] for name in order}
    table = {name: synthesis.judge(made, task, judge, seed) for name, made in images.items()}
    stems = [f"{p:03d}_{i:03d}" for p in np.unique(task.subjects) for i in range((task.subjects == p).sum())]
    synthesis.write_submission(folder / "submission", dict(zip(stems, images["fusion"][..., 0], strict=True)))
    (folder / "sheet.png").write_bytes(sheet(images, task).png)
    (folder / "table.json").write_text(json.dumps(results.plain(table), indent=2))
    print(f"seed {seed}\n{synthesis.as_text(table)}\npicture: {folder / 'sheet.png'}", flush=True)
    return table


def over_seeds(tables: list[dict]) -> dict:
    """Mean and spread over seeds of every figure; a figure that is a mean over people enters with its mean."""
    merged: dict = {}
    for arm in tables[0]:
        merged[arm] = {}
        for name in (*synthesis.COLUMNS, "content_miou_ceiling"):
            values = [table[arm][name] for table in tables]
            merged[arm][name] = Mean([v["mean"] if isinstance(v, dict) else v for v in values]).result()
    return merged


def main() -> None:
    flags = parser(__doc__, "configs/benchmarks/openeds.py")
    flags.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    chosen = begin(flags)
    experiment, workdir, seeds, arguments = chosen.experiment, chosen.workdir, chosen.seeds, chosen.arguments
    for seed in seeds:
        for stage in arguments.stages:
            for arm in {"segmenters": ("segmenter", "segmenter_judge"), "judge": ()}.get(stage, (stage,)):
                train_arm(training_config(experiment, arm, seed), workdir / f"seed{seed}" / arm)
        if "judge" in arguments.stages:
            judge_seed(experiment, workdir, seed)
    if "judge" not in arguments.stages:
        return
    # Seeds of earlier calls in the same folder count too.
    done = sorted(workdir.glob("seed*/table.json"))
    tables = [json.loads(path.read_text()) for path in done]
    merged = over_seeds(tables)
    published = {name: merged[name] for name in ("seg2eye", "residual refiner")}
    found = {
        "table": merged,
        "fusion_is_dominated_by": synthesis.dominated(merged["fusion"], published),
        "per_seed": {path.parent.name: table for path, table in zip(done, tables, strict=True)},
    }
    seeds_done = [int(path.parent.name.removeprefix("seed")) for path in done]
    name = record_name("residual", variant_of(arguments.config))
    path = results.record(name, chosen.command, experiment, found, seeds_done, arguments.out)
    print(f"over {len(tables)} seed(s)\n{synthesis.as_text(merged)}\nwritten: {path}")


if __name__ == "__main__":
    with reporting_user_errors():
        main()
