"""Judging a Seg2Eye run on people that it has never seen: score, realism, content, style, and the swap
test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from eyegan_jax import cache, systems
from eyegan_jax.data.streams import people_arrays
from eyegan_jax.evaluation import features, metrics, report, synthesis
from eyegan_jax.evaluation.batches import in_batches
from eyegan_jax.images import to_float, to_uint8
from eyegan_jax.models import load_model
from eyegan_jax.networks.segmenter import RITnet
from eyegan_jax.pictures import grid_png, mask_to_rgb
from eyegan_jax.systems.segmenter import Segmenter

Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Masks ``[N, H, W]`` and references ``[N, k, H, W, C]`` to images ``[N, H, W, C]``, all uint8."""
Encode = Callable[[np.ndarray], np.ndarray]
"""uint8 images ``[N, H, W, C]`` to style codes ``[N, D]``."""
Identify = Callable[[np.ndarray], np.ndarray]
"""uint8 images ``[N, H, W, C]`` to subjects ``[N]``."""
CONTENT_SHARE = 0.9
"""Content passes where the mIoU reaches this share of its ceiling."""


def train_segmenter(
    image: np.ndarray, mask: np.ndarray, steps: int, width: int, batch: int = 16, seed: int = 0
) -> synthesis.Segment:
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
    # The runs of a sweep have the same judge.
    settings = f"a judge of content: {(steps, width, batch, seed)} {cache.code(Segmenter.__module__)}"
    fit = partial(_fitted, system, image, mask, batch, seed)
    average = unflatten_dict(cache.kept(settings, (image, mask), fit), sep="/")
    predict = jax.jit(lambda images: system.segment(average, images).argmax(-1).astype(jnp.uint8))
    return partial(in_batches, predict, size=32)


def _fitted(system: Segmenter, image: np.ndarray, mask: np.ndarray, batch: int, seed: int) -> cache.Arrays:
    """The segmenter's averaged variables after its steps, by ``a/b/c`` names."""
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
    for i in tqdm(range(system.steps), desc="segmenter", unit="step", dynamic_ncols=True):
        state, _ = step(state, draw(), jax.random.fold_in(jax.random.key(seed), i))
        state = state.replace(step=state.step + 1)
    return flatten_dict(jax.device_get(state.average), sep="/")


def identity_classifier(task: synthesis.Task) -> Identify:
    """An independent judge of style: which of the task's people is in these pictures?

    Logistic regression on the library's fixed features, fitted to the pool of real pictures; no part of any
    Seg2Eye network.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    model.fit(features.features(task.pool_images), task.pool_subjects)
    return lambda images: model.predict(features.features(images))


def encoder_top1(encode: Encode, images: np.ndarray, task: synthesis.Task) -> float:
    """Share of images whose style code is nearest to the mean code of their own person's pool."""
    people, codes = np.unique(task.pool_subjects), encode(task.pool_images)
    known = np.stack([codes[task.pool_subjects == person].mean(0) for person in people])
    apart = np.linalg.norm(encode(images)[:, None] - known[None], axis=-1)
    return float(np.mean(people[apart.argmin(1)] == task.subjects))


def next_person(task: synthesis.Task) -> np.ndarray:
    """For every target another person of the task, ``[T]``: the next one, the first after the last."""
    people = np.unique(task.subjects)
    return people[(np.searchsorted(people, task.subjects) + 1) % len(people)]


def pictures_of(task: synthesis.Task, people: np.ndarray) -> np.ndarray:
    """The first pool pictures of each of ``people [P]``, as many as a target has references."""
    count = task.references.shape[1]
    first = {person: task.pool_images[task.pool_subjects == person][:count] for person in np.unique(people)}
    return np.stack([first[person] for person in people])


def swap_test(
    paint: Paint, task: synthesis.Task, segment: synthesis.Segment, identify: Identify, ceiling: float
) -> dict[str, Any]:
    """Every target's mask in the style of another person: the mask has to stay, the person to change.

    Passes where the content reaches ``CONTENT_SHARE`` of its ceiling and the style's person is recognised
    more often than the mask's person and than chance.
    """
    other = next_person(task)
    images = paint(task.masks, pictures_of(task, other))
    found = identify(images)
    result = {
        "miou": metrics.mean_iou(segment(images), task.masks)["miou"],
        "style_person_top1": float(np.mean(found == other)),
        "mask_person_top1": float(np.mean(found == task.subjects)),
        "chance": 1.0 / len(np.unique(task.subjects)),
        "n": len(images),
    }
    kept = result["miou"] >= CONTENT_SHARE * ceiling
    changed = result["style_person_top1"] > max(result["mask_person_top1"], result["chance"])
    return result | {"passes": bool(kept and changed)}


def measure(
    paint: Paint, encode: Encode, task: synthesis.Task, segment: synthesis.Segment, identify: Identify
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The whole table and the pictures behind it: what needs no learning, Seg2Eye, and the truth."""
    pictures = synthesis.baselines(task) | {"seg2eye": paint(task.masks, task.references)}
    table: dict[str, dict[str, Any]] = {
        name: synthesis.judge(images, task, segment)
        | {"identity_top1": float(np.mean(identify(images) == task.subjects))}
        for name, images in pictures.items()
    }
    ours = table["seg2eye"]
    ceiling = ours["content_miou_ceiling"]
    ours["encoder_top1"] = encoder_top1(encode, pictures["seg2eye"], task)
    ours["content_of_ceiling"] = ours["content_miou_whole_set"] / ceiling
    table["real"] = {
        "content_miou_whole_set": ceiling,
        "identity_top1": float(np.mean(identify(task.targets) == task.subjects)),
        "encoder_top1": encoder_top1(encode, task.targets, task),
        "images": len(task.targets),
    }
    results = {
        "size": list(task.masks.shape[1:]),
        "references": task.references.shape[1],
        "table": table,
        "swap": swap_test(paint, task, segment, identify, ceiling),
    }
    return results, pictures | {"real": task.targets}


def style_grid(paint: Paint, task: synthesis.Task, rows: int, columns: int) -> np.ndarray:
    """The paper's figure, RGB ``[rows + 1, columns + 1, H, W, 3]`` in [-1, 1]: masks by row, people by
    column.

    The first row shows a picture of each person, the first column the masks, of people in turn.
    """
    people = np.unique(task.subjects)
    masks = task.masks[[np.flatnonzero(task.subjects == people[row % len(people)])[0] for row in range(rows)]]
    shown = pictures_of(task, people[:columns])
    grid = np.ones((rows + 1, len(shown) + 1, *masks.shape[1:], 3), np.float32)
    grid[1:, 0] = mask_to_rgb(masks)
    grid[0, 1:] = np.asarray(to_float(shown[:, 0]))
    for column, references in enumerate(shown):
        grid[1:, column + 1] = np.asarray(to_float(paint(masks, np.repeat(references[None], rows, axis=0))))
    return grid


def painter(model: Any, batch: int = 16) -> tuple[Paint, Encode]:
    """``(paint, encode)`` of a trained run; see :func:`measure`."""
    system: Any = systems.build_system(model.config)
    variables = model.params["average"]

    @jax.jit
    def paint_batch(masks, references):
        return to_uint8(system.synthesize(variables, masks, to_float(references)))

    encode_batch = jax.jit(lambda images: system.encode(variables, to_float(images)[:, None]))

    def paint(masks, references):
        return in_batches(lambda rows: paint_batch(masks[rows], references[rows]), np.arange(len(masks)), batch)

    return paint, partial(in_batches, encode_batch, size=batch)


@dataclass(frozen=True)
class Bench:
    """Unseen people and the two judges of their pictures; the same for every run that is to be compared."""

    task: synthesis.Task
    segment: synthesis.Segment
    identify: Identify


def prepare(config: ml_collections.ConfigDict) -> Bench:
    """The people of ``config.data.held_out``, and a segmenter trained on the pictures of
    ``config.data.eyes``.
    """
    settings = config.evaluation
    known = people_arrays(config, config.data.eyes, "eyes")
    task = unseen_task(config)
    segment = train_segmenter(known["image"], known["mask"], settings.segmenter_steps, settings.segmenter_width)
    return Bench(task, segment, identity_classifier(task))


def unseen_task(config: ml_collections.ConfigDict) -> synthesis.Task:
    """What the people of ``config.data.held_out`` are asked for."""
    unseen = people_arrays(config, config.data.held_out, "held_out")
    return synthesis.make_task(unseen, config.evaluation.targets, config.evaluation.references, segment=None)


def evaluate(config: ml_collections.ConfigDict, workdir: Path) -> Path:
    """Write ``workdir/report`` for a Seg2Eye run, with the figure of masks by people also as ``styles.png``.

    ``config.evaluation`` sets sample sizes and budgets.
    """
    model = load_model(workdir, ("average",))
    bench = prepare(config)
    paint, encode = painter(model)
    results, pictures = measure(paint, encode, bench.task, bench.segment, bench.identify)
    results["steps"] = model.step
    figure = style_grid(paint, bench.task, config.evaluation.grid_rows, config.evaluation.grid_columns)
    grid_png(figure, workdir / "report" / "styles.png")
    return report.write_report(workdir, build_report(config, workdir, results, pictures, bench.task, figure))


COLUMNS = {
    "score": "OpenEDS score",
    "rmse": "RMSE",
    "ssim": "SSIM",
    "kid": "KID",
    "content_miou_whole_set": "mIoU",
    "identity_top1": "identity top-1",
    "encoder_top1": "encoder top-1",
}


def build_report(config, workdir: Path, results, pictures, task: synthesis.Task, figure) -> report.Report:
    """The page: the table, the swap test, the figure of masks by people, and examples."""
    table, swap = results["table"], results["swap"]
    rows = [[name, *(figures.get(column) for column in COLUMNS)] for name, figures in table.items()]
    height, width = results["size"]
    note = (
        f"{len(np.unique(task.subjects))} unseen people, {results['references']} references each, "
        f"{height}x{width} pixels; means and spreads over people. The score is on the scale of 1,471 images "
        "and compares only at one size. mIoU: an independent segmenter on the painted image against the "
        "wanted mask; real images are its ceiling. Identity: a classifier on fixed features, fitted to real "
        "pictures of the same people."
    )
    chosen = np.linspace(0, len(task.masks) - 1, 6).astype(int)
    gray = [np.repeat(np.asarray(to_float(images[chosen])), 3, axis=-1) for images in pictures.values()]
    examples = np.stack([mask_to_rgb(task.masks[chosen]), *gray])
    sections = [
        report.Section("Figures", tables=[report.Table(["", *COLUMNS.values()], rows, note)]),
        report.Section(
            "Swap test",
            "Every mask in another person's style: the mask has to stay, the person to change.",
            tables=[report.Table(list(swap), [list(swap.values())])],
        ),
        report.Section("Masks by row, people by column", pictures=[report.grid(figure, "")]),
        report.Section("Examples", pictures=[report.grid(examples, "", row_labels=["mask", *pictures])]),
    ]
    curves = report.loss_curves(workdir, ("loss/painter", "loss/discriminator", "loss/l2"))
    if curves:
        sections.append(report.Section("Training", pictures=[curves]))
    ours, copied, real = (table[name] for name in ("seg2eye", "nearest copy", "real"))
    near, known = f"nearest copy {copied['rmse']['mean']:.1f}", f"real {real['identity_top1']:.2f}"
    return report.Report(
        title=f"Seg2Eye, {results['steps']} steps",
        metrics=results,
        sections=sections,
        headlines=[
            report.Headline("RMSE", ours["rmse"], "gray levels", near),
            report.Headline("content", ours["content_of_ceiling"], "of the ceiling", "mIoU; 0.9 is wanted"),
            report.Headline("style", ours["identity_top1"], "top-1", known),
            report.Headline("swap test", "passes" if swap["passes"] else "fails"),
        ],
        config=config.to_dict(),
        command=f"python evaluate.py --workdir={workdir}",
    )
