"""Judging a segmenter: on simulated people whom it never saw, and on real infrared eyes with pupil masks."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from tqdm import tqdm

from eyegan_jax.data.catalog import open_set, realdata_dir
from eyegan_jax.data.geometry import resize
from eyegan_jax.data.neighbours import simulated_people
from eyegan_jax.data.streams import MIXTURE, SIMULATOR
from eyegan_jax.evaluation.batches import in_batches
from eyegan_jax.evaluation.metrics import Mean, dice, mask_centres, mean_iou
from eyegan_jax.evaluation.report import Headline, Report, Section, Table, grid, write_report
from eyegan_jax.models import Model, load_model
from eyegan_jax.segmenting import STATE, overlay, segment_images
from eyegan_jax.systems.segmenter import PUPIL

log = logging.getLogger(__name__)

UNSEEN = 1_000_000
"""Number of the first simulated person of the test; training draws people by other keys or below it."""

Segment = Callable[[np.ndarray], np.ndarray]


def segment_function(model: Model, batch: int = 32) -> Segment:
    """uint8 images ``[N, H, W, 1]`` to masks uint8 ``[N, H, W]``, any N, compiled once per image size."""
    compiled = jax.jit(partial(segment_images, model))
    return lambda images: in_batches(lambda part: compiled(jnp.asarray(part)), images, batch)


def pupil_figures(found: np.ndarray, true: np.ndarray, subjects: np.ndarray) -> dict[str, Any]:
    """How well pupils are found in ``[N, H, W]`` masks, per image and per person.

    Dice and the distance of the centres (pixels) over images that show a pupil; ``area_ratio``, the found pupil's area
    over the true one's there; ``missed``, percent of those where none is found; ``blink_false_positives``, percent of
    the images without a pupil where one is seen (more than 0.1 percent of the pixels).
    """
    found, true = found == PUPIL, true == PUPIL
    shown, seen = true.any((1, 2)), found.mean((1, 2)) > 1e-3
    overlap = dice(found, true)
    distance = np.linalg.norm(mask_centres(found) - mask_centres(true), axis=-1)
    both = shown & np.isfinite(distance)
    people = [p for p in np.unique(subjects) if (shown & (subjects == p)).any()]
    figures: dict[str, Any] = {
        "dice": Mean(overlap[shown]).result(),
        "dice_by_person": Mean([float(overlap[shown & (subjects == p)].mean()) for p in people]).result(),
        "area_ratio": Mean(found.sum((1, 2))[shown] / true.sum((1, 2))[shown]).result(),
        "centre_error_px": Mean(distance[both]).result(),
        "centre_error_px_median": float(np.median(distance[both])) if both.any() else None,
        "missed_percent": 100.0 * float((shown & ~seen).sum() / np.maximum(shown.sum(), 1)),
        "images_with_pupil": int(shown.sum()),
    }
    if (~shown).any():
        figures["blink_false_positives_percent"] = 100.0 * float((seen & ~shown).sum() / (~shown).sum())
        figures["images_without_pupil"] = int((~shown).sum())
    return figures


def read_pupils(
    folder: Path | str,
    limit: int | None = None,
    subjects: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
) -> dict[str, np.ndarray]:
    """A folder of MEYE's form as arrays ``image``, ``mask``, ``subject``; every n-th image where ``limit`` is less.

    subjects: only these people; all if None. size: (H, W) that images and masks are brought to; the first one's if
    None. Images without a known mask are left out.
    """
    eyes = open_set({"kind": "meye", "dir": str(folder), "subjects": subjects})
    step = max(1, -(-len(eyes) // limit)) if limit else 1
    examples = [example for i in range(0, len(eyes), step) if "mask" in (example := eyes[i])]
    height, width = size or examples[0]["image"].shape[:2]
    examples = [resize(example, height, width) for example in examples]
    arrays = {name: np.stack([example[name] for example in examples]) for name in ("image", "mask")}
    return arrays | {"subject": np.array([example.get("subject", "") for example in examples])}


def simulated_tests(config: ml_collections.ConfigDict, people: int = 8, images: int = 32) -> dict[str, dict]:
    """Eyes of unseen people for every simulator that the run's stream draws from, by name; none for files."""
    from eyegan_jax import simulator

    eyes = config.data.eyes
    streams = dict(eyes.parts) if eyes.kind == MIXTURE else {"": eyes}
    tests = {}
    for part, stream in streams.items():
        if stream.kind != SIMULATOR or not stream.weight:
            continue
        view = simulator.find_view(stream.view).resized(*config.image_shape[:2])
        name = f"simulated_{part}" if part else "simulated"
        tests[name] = simulated_people(
            stream.domain, view, people=people, images=images, seed=stream.seed, first_person=UNSEEN, title=name
        )
    return tests


def evaluate(config: ml_collections.ConfigDict, workdir: Path) -> Path:
    """Write ``workdir/report``: mIoU on unseen simulated people, pupils in real eyes where the test images exist."""
    model = load_model(workdir, STATE)
    segment = segment_function(model)
    sections, metrics, headlines = [], {}, []
    for name, simulated in simulated_tests(config).items():
        title = f"unseen {name.replace('_', ' ')} people"
        tqdm.write(f"segmenting {title}")
        found, true = segment(simulated["image"]), simulated["mask"]
        if config.segmenter.classes == "pupil":
            true = np.where(true == PUPIL, PUPIL, 0)
            figures = pupil_figures(found, true, simulated["subject"])
            headlines.append(Headline(f"pupil Dice, {title}", figures["dice"]["mean"]))
        else:
            figures = mean_iou(found, true)
            headlines.append(Headline(f"mIoU, {title}", figures["miou"]))
        metrics[name] = figures | {"people": 8, "images": len(found)}
        sections.append(_section(title.capitalize(), simulated["image"], true, found, metrics[name]))
    folder = realdata_dir("meye")
    if folder is not None:
        tqdm.write("segmenting real eyes")
        real = read_pupils(folder)
        found = segment(real["image"])
        metrics["meye"] = pupil_figures(found, real["mask"], real["subject"])
        headlines.append(Headline("pupil Dice, real MEYE images", metrics["meye"]["dice"]["mean"]))
        sections.append(_section("Real infrared eyes (MEYE)", real["image"], real["mask"], found, metrics["meye"]))
    else:
        log.warning("no real test images (EYEGAN_REALDATA): the report has simulated people only")
    report = Report(
        f"Segmenter, {model.step} steps",
        metrics,
        sections,
        headlines,
        config=config,
        command=f"python evaluate.py --workdir={workdir}",
    )
    return write_report(workdir, report)


def _section(title: str, images, true, found, figures) -> Section:
    rows = np.linspace(0, len(images) - 1, 8).astype(int)
    gray = np.broadcast_to(images[rows], (*images[rows].shape[:3], 3))
    sheet = np.stack([gray, overlay(images[rows], true[rows]), overlay(images[rows], found[rows])])
    rows_of_table = [(name, value) for name, value in figures.items() if not isinstance(value, list)]
    table = Table(("figure", "value"), rows_of_table)
    return Section(title, tables=[table], pictures=[grid(sheet, "", row_labels=["image", "truth", "found"])])
