"""Judging a residual refiner (or fusion) run on the OpenEDS synthesis task over unseen people."""

from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from tqdm import tqdm

from eyegan_jax import models, systems
from eyegan_jax.data.neighbours import simulated_people
from eyegan_jax.errors import UserError
from eyegan_jax.evaluation import synthesis
from eyegan_jax.evaluation.report import Headline, Report, Section, Table, grid, write_report
from eyegan_jax.evaluation.segmenter import STATE, UNSEEN, segment_function

TARGETS, POOL, PEOPLE = 12, 36, 8
"""Of each unseen person: images to paint, images to choose from; and how many people."""


def unseen_people(config: ml_collections.ConfigDict, people: int = PEOPLE, images: int = TARGETS + POOL) -> dict:
    """Images of people beyond those of the run's simulated stream; UserError for a run on files."""
    from eyegan_jax import simulator

    stream = config.data.eyes
    if stream.kind != "simulator":
        raise UserError(f"config.data.eyes.kind: expected 'simulator' to draw unseen people, found {stream.kind!r}")
    view = simulator.find_view(stream.view).resized(*config.image_shape[:2])
    return simulated_people(
        stream.domain,
        view,
        people=people,
        images=images,
        seed=stream.seed,
        first_person=UNSEEN,
        session=stream.session,
        title="rendering",
    )


def synthesizer(workdir: Path | str) -> tuple[dict[str, synthesis.Synthesize], int]:
    """What a run can do, by name, jitted: "residual" of a residual run, "seg2eye" and "fusion" of a fusion run.

    Also how many references it was trained on.
    """
    config = models.load_config(Path(workdir))
    config = ml_collections.ConfigDict(config)
    system: Any = systems.build_system(config)
    count = config.data.eyes.references or 1
    if config.system == "residual":
        variables = models.load_model(workdir, ("average",)).params["average"]
        refine = jax.jit(system.refine)
        return {"residual": lambda *shown: refine(variables, *shown)}, count
    if config.system != "fusion":
        raise UserError(f"{workdir}: expected a run of residual or fusion, found {config.system!r}")
    params = models.load_model(workdir, ("painter", "refiner")).params
    both = {"painter": params["painter"]["average"], "refiner": params["refiner"]["average"]}
    paint, refine = jax.jit(system.painter.synthesize), jax.jit(system.refine)
    return {
        "seg2eye": lambda mask, references, masks: paint(both["painter"], mask, references),
        "fusion": lambda *shown: refine(both, *shown),
    }, count


def _blind(images: np.ndarray) -> np.ndarray:
    return np.zeros(images.shape[:3], np.uint8)


def released_segmenter() -> Path | None:
    """The segmenter that comes with the package, if there is one for whole eyes."""
    path = models.RELEASED / "segmenter"
    return path if path.is_dir() else None


def evaluate(config: ml_collections.ConfigDict, workdir: Path) -> Path:
    """Write ``workdir/report``: baselines and this run in one table.

    The pool's masks are the true ones here, and content is judged only with the package's own segmenter at hand;
    ``benchmarks/openeds.py`` runs the whole experiment with two segmenters of its own.
    """
    arms, count = synthesizer(workdir)
    task = synthesis.make_task(unseen_people(config), TARGETS, count, segment=None)
    judge_path = released_segmenter()
    judge = segment_function(models.load_model(judge_path, STATE)) if judge_path else _blind
    images = synthesis.baselines(task) | {name: synthesis.synthesize_all(arm, task) for name, arm in arms.items()}
    table = {}
    for name, made in images.items():
        tqdm.write(f"judging {name}")
        table[name] = synthesis.judge(made, task, judge)
        if judge_path is None:
            table[name] = {k: v for k, v in table[name].items() if not k.startswith("content")}
    last = list(table)[-1]
    columns = [c for c in synthesis.COLUMNS if c in table[last]]
    rows = [(name, *(row[c] for c in columns)) for name, row in table.items()]
    report = Report(
        f"{config.system}: {PEOPLE} unseen people",
        {"synthesis": table},
        [
            Section(
                "OpenEDS synthesis task on simulated people",
                "Scores of another size than 640x400 do not compare with the challenge's.",
                tables=[Table(("arm", *columns), rows, "means and spreads over people")],
                pictures=[sheet(images, task)],
            )
        ],
        [Headline("score", table[last]["score"]), Headline("RMSE, gray levels", table[last]["rmse"]["mean"])],
        config=config,
        command=f"python evaluate.py --workdir={workdir}",
    )
    return write_report(workdir, report)


def sheet(images: dict[str, np.ndarray], task: synthesis.Task, columns: int = 8):
    """One target per column, one arm per row, the truth last."""
    rows = np.linspace(0, len(task.targets) - 1, columns).astype(int)
    shown = images | {"target": task.targets}
    return grid(np.stack([made[rows] for made in shown.values()]), "", row_labels=list(shown))
