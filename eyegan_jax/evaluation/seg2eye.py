"""Judging a Seg2Eye run on people that it has never seen: score, realism, content, style, and the swap
test.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from eyegan_jax import retrieval, systems
from eyegan_jax.data.streams import people_arrays
from eyegan_jax.errors import UserError
from eyegan_jax.evaluation import distances, features, metrics, report
from eyegan_jax.evaluation.batches import in_batches
from eyegan_jax.images import to_float, to_uint8
from eyegan_jax.models import load_model
from eyegan_jax.networks.segmenter import RITnet
from eyegan_jax.pictures import mask_to_rgb
from eyegan_jax.systems.segmenter import Segmenter

Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]
CONTENT_SHARE = 0.9
"""Content passes where the mIoU reaches this share of its ceiling."""


@dataclass(frozen=True)
class People:
    """Pictures of held-out people. Targets are painted; the gallery is what is known of each person.

    image: uint8 ``[N, H, W, C]``. mask: uint8 ``[N, H, W]``. subject: int ``[N]``, 0 to people - 1.
    gallery_image, gallery_mask: ``[people, G, H, W(, C)]``, other pictures of the same people.
    """

    image: np.ndarray
    mask: np.ndarray
    subject: np.ndarray
    gallery_image: np.ndarray
    gallery_mask: np.ndarray


def split_people(arrays: Mapping[str, np.ndarray], gallery: int, targets: int) -> People:
    """The first ``gallery`` pictures of every person as its gallery, up to ``targets`` of the rest as
    targets.

    People with too few pictures are left out. Raises UserError where fewer than two people remain.
    """
    rows = [np.flatnonzero(arrays["subject"] == person) for person in np.unique(arrays["subject"])]
    rows = [own for own in rows if len(own) > gallery]
    if len(rows) < 2:
        raise UserError(
            f"evaluation: expected two people with more than {gallery} pictures, found {len(rows)}"
        )
    known = np.stack([own[:gallery] for own in rows])
    wanted = [own[gallery : gallery + targets] for own in rows]
    target = np.concatenate(wanted)
    return People(
        image=arrays["image"][target],
        mask=arrays["mask"][target],
        subject=np.repeat(np.arange(len(rows)), [len(own) for own in wanted]),
        gallery_image=arrays["image"][known],
        gallery_mask=arrays["mask"][known],
    )


def train_segmenter(
    image: np.ndarray, mask: np.ndarray, steps: int, width: int, batch: int = 16, seed: int = 0
) -> Callable[[np.ndarray], np.ndarray]:
    """An independent judge of content: RITnet of ``width`` channels, trained on real pictures alone.

    Returns the function from uint8 images ``[N, H, W, C]`` to masks ``[N, H, W]``.
    """
    system = Segmenter(
        network=RITnet(features=width, axis_name="data"),
        optimiser=optax.adam(optax.linear_schedule(1e-3, 1e-5, steps)),
        augmentation=None,
        equalised=False,
        border_weight=20.0,
        boundary_steps=0,
        averaging=0.99,
        steps=steps,
    )
    rng = np.random.default_rng(seed)

    def draw():
        rows = rng.integers(0, len(image), batch)
        return {"eyes": {"image": image[rows][None, :, None], "mask": mask[rows][None, :, None]}}

    first = jax.tree.map(lambda x: x[0], draw())
    state = jax.jit(partial(system.init, devices=1))(jax.random.key(seed), first)
    step = jax.pmap(
        system.training_step,
        "data",
        in_axes=(None, 0, None),
        out_axes=(None, None),
        devices=jax.local_devices()[:1],
    )
    for i in tqdm(range(steps), desc="segmenter", unit="step", dynamic_ncols=True):
        state, _ = step(state, draw(), jax.random.fold_in(jax.random.key(seed), i))
        state = state.replace(step=state.step + 1)
    average = jax.device_get(state.average)
    predict = jax.jit(lambda images: system.segment(average, images).argmax(-1).astype(jnp.uint8))
    return partial(in_batches, predict, size=32)


def identity_classifier(gallery: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """An independent judge of style: who of the gallery's people ``[people, G, H, W, C]`` is in these
    pictures?

    Logistic regression on the library's fixed features, fitted to the real gallery; no part of any Seg2Eye
    network.
    """
    people, count = gallery.shape[:2]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    model.fit(features.features(gallery.reshape(-1, *gallery.shape[2:])), np.repeat(np.arange(people), count))
    return lambda images: model.predict(features.features(images))


def class_means(image: np.ndarray, mask: np.ndarray, classes: int = 4) -> np.ndarray:
    """Mean gray level of every class, ``[classes, C]``; 0 for a class that occurs nowhere."""
    return np.stack(
        [image[mask == c].mean(0) if np.any(mask == c) else np.zeros(image.shape[-1]) for c in range(classes)]
    )


def nearest_copies(people: People) -> np.ndarray:
    """For every target the gallery picture of its person whose mask is nearest."""
    copies = np.zeros_like(people.image)
    for person, (images, masks) in enumerate(zip(people.gallery_image, people.gallery_mask, strict=True)):
        rows = np.flatnonzero(people.subject == person)
        found = np.asarray(retrieval.mask_distances(people.mask[rows], masks)).argmin(1)
        copies[rows] = images[found]
    return copies


def judge(images: np.ndarray, people: People, segment, identify) -> dict[str, Any]:
    """Every figure of one way to paint the targets; ``images`` uint8 like ``people.image``."""
    error = metrics.rmse(images, people.image)
    realism = distances.image_distances(images, people.image)
    return {
        "score": metrics.openeds_score(images[..., 0], people.image[..., 0]),
        "rmse": metrics.Mean(error).result(),
        "ssim": metrics.Mean(metrics.ssim(images, people.image)).result(),
        "kid": realism["kid"],
        "miou": metrics.mean_iou(segment(images), people.mask)["miou"],
        "identity_top1": float(np.mean(identify(images) == people.subject)),
        "n": len(images),
    }


def encoder_top1(encode, images: np.ndarray, people: People) -> float:
    """Share of images whose style code is nearest to the mean code of their own person's gallery."""
    flat = people.gallery_image.reshape(-1, *people.gallery_image.shape[2:])
    gallery = encode(flat).reshape(*people.gallery_image.shape[:2], -1).mean(1)
    apart = np.linalg.norm(encode(images)[:, None] - gallery[None], axis=-1)
    return float(np.mean(apart.argmin(1) == people.subject))


def swap_test(
    paint: Paint, people: People, references: int, segment, identify, ceiling: float
) -> dict[str, Any]:
    """Every target's mask in the style of the next person: the mask has to stay, the person to change.

    Passes where the content reaches ``CONTENT_SHARE`` of its ceiling and the style's person is recognised
    more often than the mask's person and than chance.
    """
    count = len(people.gallery_image)
    other = (people.subject + 1) % count
    images = paint(people.mask, people.gallery_image[other, :references])
    found = identify(images)
    result = {
        "miou": metrics.mean_iou(segment(images), people.mask)["miou"],
        "style_person_top1": float(np.mean(found == other)),
        "mask_person_top1": float(np.mean(found == people.subject)),
        "chance": 1.0 / count,
        "n": len(images),
    }
    kept = result["miou"] >= CONTENT_SHARE * ceiling
    changed = result["style_person_top1"] > max(result["mask_person_top1"], result["chance"])
    return result | {"passes": bool(kept and changed)}


def measure(
    paint: Paint, encode, people: People, segment, identify, levels: np.ndarray, references: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The whole table and the pictures behind it.

    paint: masks ``[N, H, W]`` and references ``[N, k, H, W, C]``, uint8, to uint8 images. encode: uint8
    images to style codes ``[N, D]``. levels: class means of the training people. references: how many of the
    gallery are shown.
    """
    pictures = {
        "class means": to_levels(levels, people.mask),
        "nearest reference": nearest_copies(people),
        "seg2eye": paint(people.mask, people.gallery_image[people.subject, :references]),
    }
    ceiling = metrics.mean_iou(segment(people.image), people.mask)["miou"]
    table = {name: judge(images, people, segment, identify) for name, images in pictures.items()}
    table["real"] = {
        "miou": ceiling,
        "identity_top1": float(np.mean(identify(people.image) == people.subject)),
        "n": len(people.image),
    }
    for name, images in (("seg2eye", pictures["seg2eye"]), ("real", people.image)):
        table[name]["encoder_top1"] = encoder_top1(encode, images, people)
    table["seg2eye"]["miou_of_ceiling"] = table["seg2eye"]["miou"] / ceiling
    results = {
        "people": len(people.gallery_image),
        "gallery": people.gallery_image.shape[1],
        "references": references,
        "size": list(people.image.shape[1:3]),
        "table": table,
        "swap": swap_test(paint, people, references, segment, identify, ceiling),
    }
    return results, pictures


def to_levels(levels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Masks ``[N, H, W]`` painted with one gray level per class."""
    return np.round(levels).astype(np.uint8)[mask]


def style_grid(paint: Paint, people: People, rows: int, columns: int, references: int) -> np.ndarray:
    """The paper's figure, RGB ``[rows + 1, columns + 1, H, W, 3]`` in [-1, 1]: masks by row, people by
    column.

    The first row shows a picture of each person, the first column the masks, of people in turn.
    """
    columns = min(columns, len(people.gallery_image))
    rows_of = [
        np.flatnonzero(people.subject == person % len(people.gallery_image))[0] for person in range(rows)
    ]
    masks = people.mask[rows_of]
    height, width = masks.shape[1:]
    grid = np.ones((rows + 1, columns + 1, height, width, 3), np.float32)
    grid[1:, 0] = mask_to_rgb(masks)
    grid[0, 1:] = np.asarray(to_float(people.gallery_image[:columns, 0]))
    for column in range(columns):
        shown = np.repeat(people.gallery_image[column : column + 1, :references], rows, axis=0)
        grid[1:, column + 1] = np.asarray(to_float(paint(masks, shown)))
    return grid


def painter(model: Any, batch: int = 16) -> tuple[Paint, Callable[[np.ndarray], np.ndarray]]:
    """``(paint, encode)`` of a trained run, as functions of uint8 arrays; see :func:`measure`."""
    system, variables = systems.build_system(model.config), model.params["average"]

    @jax.jit
    def paint_batch(samples):
        mask, references = samples
        return to_uint8(system.synthesize(variables, mask, to_float(references)))

    encode_batch = jax.jit(lambda images: system.encode(variables, to_float(images)[:, None]))

    def paint(masks, references):
        parts = []
        for start in range(0, len(masks), batch):
            part = slice(start, start + batch)
            samples = (masks[part], references[part])
            missing = batch - len(masks[part])
            filled = jax.tree.map(
                lambda x, m=missing: np.concatenate([x, np.repeat(x[-1:], m, axis=0)]), samples
            )
            parts.append(np.asarray(paint_batch(filled))[: batch - missing])
        return np.concatenate(parts)

    return paint, partial(in_batches, encode_batch, size=batch)


def evaluate(config: ml_collections.ConfigDict, workdir: Path) -> Path:
    """Write ``workdir/report`` for a Seg2Eye run; ``config.evaluation`` sets people, sample sizes and
    budgets.
    """
    settings = config.evaluation
    model = load_model(workdir, ("average",))
    known = people_arrays(config, config.data.eyes, "eyes")
    people = split_people(
        people_arrays(config, config.data.held_out, "held_out"), settings.gallery, settings.targets
    )
    paint, encode = painter(model)
    segment = train_segmenter(
        known["image"], known["mask"], settings.segmenter_steps, settings.segmenter_width
    )
    identify = identity_classifier(people.gallery_image)
    levels = class_means(known["image"], known["mask"])
    results, pictures = measure(paint, encode, people, segment, identify, levels, settings.references)
    results["steps"] = model.step
    grid = style_grid(paint, people, settings.grid_rows, settings.grid_columns, settings.references)
    page = build_report(config, workdir, results, pictures, people, grid)
    return report.write_report(workdir, page)


COLUMNS = ("score", "rmse", "ssim", "kid", "miou", "identity_top1", "encoder_top1")


def build_report(config, workdir: Path, results, pictures, people: People, grid) -> report.Report:
    """The page: the table, the swap test, the figure of masks by people, and examples."""
    table, swap = results["table"], results["swap"]
    rows = [[name, *(figures.get(column) for column in COLUMNS)] for name, figures in table.items()]
    columns = ["", "OpenEDS score", "RMSE", "SSIM", "KID", "mIoU", "identity top-1", "encoder top-1"]
    height, width = results["size"]
    note = (
        f"{results['people']} unseen people, {results['references']} references of each, {height}x{width} "
        "pixels. The score is on the scale of 1,471 images and compares only at one size. mIoU: an independent "
        "segmenter's prediction on the painted image against the wanted mask; real images are its ceiling. "
        "Identity: a classifier on fixed features, fitted to real pictures of the same people."
    )
    chosen = np.linspace(0, len(people.image) - 1, 6).astype(int)
    shown: Sequence[Any] = [
        mask_to_rgb(people.mask[chosen]),
        *(
            np.repeat(np.asarray(to_float(images[chosen])), 3, axis=-1)
            for images in (*pictures.values(), people.image)
        ),
    ]
    sections = [
        report.Section("Figures", tables=[report.Table(columns, rows, note)]),
        report.Section(
            "Swap test",
            "Every mask in another person's style: the mask has to stay, the person to change.",
            tables=[report.Table(list(swap), [list(swap.values())])],
        ),
        report.Section("Masks by row, people by column", pictures=[report.grid(grid, "")]),
        report.Section(
            "Examples", pictures=[report.grid(np.stack(shown), "", row_labels=["mask", *pictures, "real"])]
        ),
    ]
    curves = report.loss_curves(workdir, ("loss/painter", "loss/discriminator", "loss/l2"), log_y=False)
    if curves:
        sections.append(report.Section("Training", pictures=[curves]))
    ours, copied, real = (table[name] for name in ("seg2eye", "nearest reference", "real"))
    return report.Report(
        title=f"Seg2Eye, {results['steps']} steps",
        metrics=results,
        sections=sections,
        headlines=[
            report.Headline(
                "RMSE", ours["rmse"], "gray levels", f"nearest copy {copied['rmse']['mean']:.1f}"
            ),
            report.Headline("content", ours["miou_of_ceiling"], "of the ceiling", "mIoU; 0.9 is wanted"),
            report.Headline("style", ours["identity_top1"], "top-1", f"real {real['identity_top1']:.2f}"),
            report.Headline("swap test", "passes" if swap["passes"] else "fails"),
        ],
        config=config.to_dict(),
        command=f"python evaluate.py --workdir={workdir}",
    )
