"""The OpenEDS 2019 synthesis task: paint a person's eye into a mask; how close, how sharp, how true to the mask?

Laid out as OpenEDS: people whom no training saw, for each some masks whose images are withheld (the targets) and a pool
of other images of the person whose masks nobody drew (a segmenter's are used).
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eyegan_jax.errors import UserError
from eyegan_jax.evaluation.batches import in_batches
from eyegan_jax.evaluation.distances import image_distances
from eyegan_jax.evaluation.metrics import Mean, gradient_energy, mean_iou, openeds_score, rmse, ssim
from eyegan_jax.images import to_float, to_uint8
from eyegan_jax.retrieval import nearest

Segment = Callable[[np.ndarray], np.ndarray]
"""uint8 images ``[N, H, W, 1]`` to masks uint8 ``[N, H, W]``."""

Synthesize = Callable[[Any, Any, Any], Any]
"""(mask ``[B, H, W]``, references ``[B, k, H, W, 1]`` in [-1, 1], reference masks ``[B, k, H, W]``) to images."""


@dataclass(frozen=True)
class Task:
    """T targets of several unseen people, each with its person's pool retrieved, nearest mask first.

    masks ``[T, H, W]``, targets uint8 ``[T, H, W, 1]``, subjects int ``[T]``, references uint8 ``[T, k, H, W, 1]``,
    reference_masks ``[T, k, H, W]``; pool_images uint8 ``[P, H, W, 1]``, pool_masks ``[P, H, W]`` and
    pool_subjects ``[P]``.
    """

    masks: np.ndarray
    targets: np.ndarray
    subjects: np.ndarray
    references: np.ndarray
    reference_masks: np.ndarray
    pool_images: np.ndarray
    pool_masks: np.ndarray
    pool_subjects: np.ndarray


def make_task(people: Mapping[str, np.ndarray], targets: int, references: int, segment: Segment | None) -> Task:
    """The first ``targets`` images of every person become targets, the rest the pool.

    people: ``image``, ``mask``, ``subject`` as of :func:`eyegan_jax.data.neighbours.simulated_people`.
    segment: gives the pool's masks; None: the true ones. Raises UserError for a person without candidates.
    """
    image, mask, subject = people["image"], people["mask"], people["subject"]
    place = np.zeros(len(subject), int)
    for person in np.unique(subject):
        rows = subject == person
        place[rows] = np.arange(rows.sum())
    target, pool = place < targets, place >= targets
    pool_masks = mask[pool] if segment is None else segment(image[pool])
    chosen = np.zeros((target.sum(), references), int)
    for person in np.unique(subject):
        candidates = np.flatnonzero(subject[pool] == person)
        if len(candidates) < references:
            raise UserError(
                f"person {person}: expected at least {references} candidate images, found {len(candidates)}"
            )
        rows = subject[target] == person
        chosen[rows] = candidates[nearest(mask[target][rows], pool_masks[candidates], references)[0]]
    return Task(
        masks=mask[target],
        targets=image[target],
        subjects=subject[target],
        references=image[pool][chosen],
        reference_masks=pool_masks[chosen],
        pool_images=image[pool],
        pool_masks=pool_masks,
        pool_subjects=subject[pool],
    )


def baselines(task: Task) -> dict[str, np.ndarray]:
    """What needs no learning: uint8 images ``[T, H, W, 1]`` by name."""
    means = np.array(
        [task.pool_images[task.pool_masks == c].mean() if (task.pool_masks == c).any() else 0 for c in range(4)]
    )
    average = {p: task.pool_images[task.pool_subjects == p].mean(0) for p in np.unique(task.subjects)}
    return {
        "class means": np.round(means).astype(np.uint8)[task.masks][..., None],
        "person's mean image": np.round(np.stack([average[p] for p in task.subjects])).astype(np.uint8),
        "nearest copy": task.references[:, 0],
    }


def synthesize_all(synthesize: Synthesize, task: Task, batch: int = 16) -> np.ndarray:
    """uint8 images of all targets, rounded; ``synthesize`` is jitted by the caller."""
    rows = np.arange(len(task.masks))

    def some(index):
        references = to_float(task.references[index])
        return to_uint8(synthesize(task.masks[index], references, task.reference_masks[index]))

    return in_batches(some, rows, batch)


def judge(images: np.ndarray, task: Task, segment: Segment, seed: int = 0) -> dict[str, Any]:
    """Every figure of one arm; means and spreads are over people.

    segment: an independent judge, which no generator was trained against and which did not segment the pool.
    ``sharpness`` is the mean squared gradient relative to that of the targets: 1 is as sharp as the truth.
    """
    per_image = {
        "rmse": rmse(images, task.targets),
        "ssim": ssim(images, task.targets),
        "sharpness": gradient_energy(images) / gradient_energy(task.targets).mean(),
    }
    people = np.unique(task.subjects)
    figures = {
        name: Mean([float(values[task.subjects == p].mean()) for p in people]).result()
        for name, values in per_image.items()
    }
    found, on_targets = segment(images), segment(task.targets)
    ious = [mean_iou(found[task.subjects == p], task.masks[task.subjects == p])["miou"] for p in people]
    return {
        "score": openeds_score(images, task.targets),
        **figures,
        "kid": image_distances(images, task.targets, seed)["kid"],
        "content_miou": Mean(ious).result(),
        "content_miou_whole_set": mean_iou(found, task.masks)["miou"],
        "content_miou_ceiling": mean_iou(on_targets, task.masks)["miou"],
        "images": len(images),
        "people": len(people),
    }


def dominated(arm: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of ``others`` that are better than ``arm`` on RMSE and on KID at once."""
    return [
        name
        for name, other in others.items()
        if other["rmse"]["mean"] < arm["rmse"]["mean"] and other["kid"]["mean"] < arm["kid"]["mean"]
    ]


def write_submission(folder: Path, images: Mapping[str, np.ndarray]) -> Path:
    """The challenge's files: ``folder/STEM.npy``, 2-D uint8 each, and ``folder/submission.json``; returns the latter.

    JSON: ``{"number_of_samples": N, "labels": {stem: base64 of the raw bytes, row by row}}``.
    Raises UserError for anything but 2-D uint8 images.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    labels = {}
    for stem, image in images.items():
        if image.dtype != np.uint8 or image.ndim != 2:
            raise UserError(f"{stem}: expected a 2-D uint8 image, found {image.dtype} {list(image.shape)}")
        np.save(folder / f"{stem}.npy", image)
        labels[stem] = base64.b64encode(np.ascontiguousarray(image).tobytes()).decode()
    path = folder / "submission.json"
    path.write_text(json.dumps({"number_of_samples": len(labels), "labels": labels}))
    return path


COLUMNS = ("score", "rmse", "ssim", "kid", "content_miou", "sharpness")


def as_text(table: Mapping[str, Mapping[str, Any]]) -> str:
    """The table in Markdown, one arm per row."""

    def cell(value):
        if isinstance(value, Mapping):
            spread = f" ± {value['std']:.3g}" if value.get("std") is not None else ""
            return f"{value['mean']:.4g}{spread}"
        return f"{value:.4g}"

    lines = ["| arm | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [f"| {arm} | " + " | ".join(cell(row[c]) for c in COLUMNS) + " |" for arm, row in table.items()]
    return "\n".join(lines)
