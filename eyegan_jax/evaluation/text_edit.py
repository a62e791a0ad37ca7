"""Judging text-guided edits of unseen simulated people: was the sentence followed, and did the rest stay?"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from eyegan_jax.data.captioned import CAPTIONED
from eyegan_jax.data.streams import build_stream
from eyegan_jax.editing import STATE, editor, obey
from eyegan_jax.errors import UserError
from eyegan_jax.evaluation.batches import in_batches
from eyegan_jax.evaluation.distances import image_distances
from eyegan_jax.evaluation.metrics import Mean, rmse
from eyegan_jax.evaluation.real_pictures import real_eyes
from eyegan_jax.evaluation.report import Headline, Picture, Report, Section, Table, grid, loss_curves, write_report
from eyegan_jax.evaluation.text_edit_readers import Reader, train_reader
from eyegan_jax.models import Model, load_model
from eyegan_jax.simulator.caption_tokens import TOKENISER, mirrored_tokens
from eyegan_jax.simulator.captions import ATTRIBUTES, UNSAID, asked_in_turn
from eyegan_jax.tokeniser import PAD

log = logging.getLogger(__name__)

BATCH = 32

SENTENCES = (
    "looking far left",
    "looking far right",
    "a dilated pupil",
    "a blue iris",
    "lids half closed",
    "thick glasses",
    "very dark skin",
    "dim light",
    "warm tones",
)
"""Columns of the figure."""

SHOWN = 192
"""Pictures are shown this wide at least, in pixels: an edit is done to a picture's own, finer ones."""

EXAMPLES = 64
"""Unseen people of whom the figure shows the first that suit."""

STILL = 2
"""Gray levels by which a true edit changes pixels that it leaves alone, at most: the sensor's noise is the same."""

ALSO = ("success", "drift", "l1_truth", "still_l1", "success_by_attribute", "drift_by_attribute")
"""Figures that are also taken of edits by the whole sentence, and of right eyes."""

COLUMNS = (
    "success",
    "success_at_once",
    "success_mirrored",
    "drift",
    "drift_at_once",
    "drift_mirrored",
    "precision",
    "l1_truth",
    "still_l1",
    "kid",
    "as_is_l1",
    "as_is_median",
    "floor_l1",
)
"""Of the table; the root mean square and figures by attribute are in the record."""

Edit = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""uint8 images ``[N, H, W, C]`` and tokens ``[N, L]`` of sentences to edited images."""


def make_task(config: ml_collections.ConfigDict) -> dict[str, np.ndarray]:
    """The held-out pairs with one sentence each, as arrays: image, target_image, bins, target_bins, text, own.

    Sentences are tokens int32 ``[N, L]``; ``text_in_turn`` and ``own_in_turn`` what they ask in turn ``[N, K, L]``.
    """
    stream = config.data.held_out
    if stream.kind in CAPTIONED or not stream.pool:
        raise UserError("config.data.held_out: expected kind 'edits' with a pool, since truth is the simulator's")
    source: Any = build_stream(config, stream, "held_out")
    # The pool row by row, not by chance: every pair once, its sentences by its own key.
    key = jax.random.fold_in(jax.random.key(config.seed), 79)
    from eyegan_jax.simulator.edits import say_edit

    pool = source.resident
    say = jax.jit(
        jax.vmap(
            lambda i, before, after: say_edit(
                jax.random.fold_in(key, i), {"bins": before, "target_bins": after}, stream.attributes
            )
        )
    )
    said = jax.device_get(say(np.arange(stream.pool), pool["bins"], pool["target_bins"]))
    apart = {f"{name}_in_turn": tokens_in_turn(said[name]) for name in ("text", "own")}
    return {name: np.asarray(values) for name, values in {**pool, **said, **apart}.items()}


def tokens_in_turn(tokens: np.ndarray) -> np.ndarray:
    """Sentences ``[N, L]`` of the grammar to what each asks in turn ``[N, K, L]``; behind that, PAD alone."""
    each = [
        np.stack([TOKENISER.encode(one) for one in asked_in_turn(TOKENISER.decode(sentence))]) for sentence in tokens
    ]
    most = max(map(len, each))
    return np.stack([np.pad(one, ((0, most - len(one)), (0, 0)), constant_values=PAD) for one in each])


def edit_function(model: Model) -> Edit:
    """A run's edits, any number of them, compiled once."""
    from eyegan_jax import systems
    from eyegan_jax.images import to_float, to_uint8

    system: Any = systems.build_system(model.config)

    @jax.jit
    def some(images, tokens):
        return to_uint8(system.edit(model.params["average"], to_float(images), tokens))

    def edit(images: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return in_batches(lambda rows: some(images[rows], tokens[rows]), np.arange(len(images)), BATCH)

    return edit


def obeyed(edit: Edit, images: np.ndarray, whole: np.ndarray, each: np.ndarray) -> np.ndarray:
    """Images as ``eyegan edit`` makes them, see :func:`eyegan_jax.editing.obey`."""
    return np.stack(obey(lambda shown, tokens: edit(np.stack(shown), tokens), list(images), whole, each))


def changed(task: Mapping[str, np.ndarray], attributes: Sequence[str]) -> np.ndarray:
    """bool ``[N, A]``: what the sentence of each pair asks to change."""
    known = np.array([attribute in attributes for attribute in ATTRIBUTES])
    return (task["bins"] != task["target_bins"]) & (task["target_bins"] != UNSAID) & known


def judge(
    edited: np.ndarray, task: Mapping[str, np.ndarray], reader: Reader, attributes: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Every figure of edited pictures, uint8 ``[N, H, W, C]``, but those of :func:`as_is`.

    success: percent of pairs on which the reader finds the wanted bin, per attribute and, as their mean, over all.
    drift: percent on which it finds another bin than in the source, of attributes that both pictures show and that
        do not change. precision: ``(1 - mean |edited - source|) success``, differences as share of the range
        (manipulative precision, ManiGAN, with the reader's verdict in place of a text-image cosine).
    l1_truth, rmse_truth: gray levels to the true edited picture; kid: to the set of true edited pictures.
    still_l1: change in gray levels of pixels that the true edit leaves alone (:data:`STILL`). Both distances also by
        attribute, over pairs in which it alone is to change.
    """
    asked = changed(task, attributes)
    before, found = reader.read(task["image"]), reader.read(edited)
    known = np.array([attribute in attributes for attribute in ATTRIBUTES])
    stays = (task["bins"] == task["target_bins"]) & (task["bins"] != UNSAID) & known
    right, moved = found == task["target_bins"], found != before
    success = {a: _percent(right[:, i], asked[:, i]) for i, a in enumerate(ATTRIBUTES) if a in attributes}
    drift = {a: _percent(moved[:, i], stays[:, i]) for i, a in enumerate(ATTRIBUTES) if a in attributes}
    mean_success, mean_drift = (Mean(values.values()).result()["mean"] for values in (success, drift))
    alone = asked & (asked.sum(1, keepdims=True) == 1)
    change, error = (np.abs(edited.astype(np.float32) - task[name]) for name in ("image", "target_image"))
    share_kept = 1.0 - float(change.mean(dtype=np.float64)) / 255.0
    still = np.abs(task["target_image"].astype(int) - task["image"]).max(-1) <= STILL

    def by_attribute(distance: Callable[[np.ndarray], float | None]) -> dict[str, float | None]:
        return {a: distance(alone[:, i]) for i, a in enumerate(ATTRIBUTES) if a in attributes}

    def moved_of(rows: np.ndarray) -> float | None:
        return _mean(change[rows].mean(-1)[still[rows]])

    return {
        "success": mean_success,
        "drift": mean_drift,
        "precision": None if mean_success is None else share_kept * mean_success / 100.0,
        "l1_truth": float(error.mean(dtype=np.float64)),
        "still_l1": moved_of(np.ones(len(edited), bool)),
        "rmse_truth": float(rmse(edited, task["target_image"]).mean()),
        "kid": image_distances(edited, task["target_image"], seed)["kid"]["mean"],  # type: ignore[index]
        "success_by_attribute": success,
        "drift_by_attribute": drift,
        "l1_truth_by_attribute": by_attribute(lambda rows: _mean(error[rows])),
        "still_l1_by_attribute": by_attribute(moved_of),
        "pairs": len(edited),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean(dtype=np.float64)) if values.size else None


def _percent(values: np.ndarray, where: np.ndarray) -> float | None:
    return 100.0 * float(values[where].mean()) if where.any() else None


def as_is(edit: Edit, task: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Mean absolute change in gray levels under a sentence that describes the picture as it is, and the floor.

    The sentence is obeyed clause by clause (:func:`obeyed`); ``as_is_l1_at_once`` is the change by the whole sentence.

    The floor is the change under "same eye", which asks for nothing: what passing through the network costs. The
    median over pictures beside the mean tells rare misreadings from a change of all.
    """
    images = task["image"]
    nothing = np.tile(TOKENISER.encode("same eye"), (len(images), 1))
    by_clause = obeyed(edit, images, task["own"], task["own_in_turn"])
    results = by_clause, edit(images, nothing), edit(images, task["own"])
    own, none, whole = (np.abs(result.astype(np.float64) - images).mean((1, 2, 3)) for result in results)
    return {
        "as_is_l1": float(own.mean()),
        "as_is_median": float(np.median(own)),
        "floor_l1": float(none.mean()),
        "as_is_l1_at_once": float(whole.mean()),
    }


def baselines(task: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What needs no learning: the picture as it was, and the true edit (what the reader could find at best)."""
    return {"copy input": task["image"], "true edit": task["target_image"]}


REAL_SET = "mrgaze"
"""The real test images that show whole eyes."""


def shown_shape(config: ml_collections.ConfigDict) -> tuple[int, int, int]:
    """Height, width and channels of pictures in the figure: a multiple of the run's."""
    height, width, channels = config.image_shape
    times = max(1, -(-SHOWN // width))
    return times * height, times * width, channels


def example_eyes(config: ml_collections.ConfigDict, count: int) -> np.ndarray:
    """Unseen simulated people, uint8 ``[N, *shown_shape]``, at most ``count``.

    Eyes that show what the sentences speak of: open, without glasses.
    """
    finer = config.copy_and_resolve_references().unlock()
    finer.image_shape = shown_shape(config)
    finer.data.held_out.pool = min(EXAMPLES, config.data.held_out.pool)
    task = make_task(finer.lock())
    plain = (task["bins"][:, ATTRIBUTES.index("lid")] >= 3) & (task["bins"][:, ATTRIBUTES.index("glasses")] == 0)
    return task["image"][np.flatnonzero(plain)[:count]]


def sheet(model: Model, images: np.ndarray, caption: str = "") -> Picture:
    """One eye per row, one sentence per column."""
    cells = np.concatenate([images[:, None], editor(model, SENTENCES)(images)], axis=1)
    return grid(cells, caption, column_labels=["picture", *SENTENCES], scale=1)


def sheet_of_models(models: Mapping[str, Model], image: np.ndarray) -> Picture:
    """One model per row, one sentence per column, all of one eye: uint8 ``[H, W, C]``."""
    rows = [[image, *editor(model, SENTENCES)(image[None])[0]] for model in models.values()]
    return grid(np.array(rows), "", list(models), ["picture", *SENTENCES], scale=1)


def evaluate(config: ml_collections.ConfigDict, workdir: Path) -> Path:
    """Write ``workdir/report``: the table of the run and of what needs no learning, and the figure."""
    workdir = Path(workdir)
    task, model = make_task(config), load_model(workdir, STATE)
    reader = train_reader(config, workdir / "reader.msgpack")
    table = judge_arms({config.system: model}, task, reader, config)
    attributes = config.data.edits.attributes
    rows = [(name, *(row.get(c) for c in COLUMNS)) for name, row in table.items()]
    by_attribute = [
        (
            a,
            None if (share := reader.accuracy[a]) is None else 100.0 * share,
            *(row[f"{what}_by_attribute"][a] for row in table.values() for what in ("success", "drift")),
        )
        for a in attributes
    ]
    columns = ["attribute", "reader", *(f"{name}: {what}" for name in table for what in ("success", "drift"))]
    chosen = example_eyes(config, config.evaluation.rows)
    figures = [sheet(model, chosen, "unseen simulated people")] if len(chosen) else []
    real = real_eyes(REAL_SET, shown_shape(config), config.evaluation.rows)
    if real is None:
        log.warning("no real test images (EYEGAN_REALDATA): the report has simulated people only")
    else:
        figures.append(sheet(model, real, "real infrared eyes (mrgaze), which the model was not made for"))
    own = table[config.system]
    curves = loss_curves(
        workdir, ("loss/painter", "loss/critic", "loss/paired", "loss/changed", "score/own", "score/wrong")
    )
    report = Report(
        f"Text-guided editing, {model.step} steps",
        {"text_edit": table, "reader": reader.accuracy},
        [
            Section("One eye per row, one sentence per column", pictures=figures),
            Section("Unseen simulated people", tables=[Table(("arm", *COLUMNS), rows)]),
            Section(
                "By attribute, percent", tables=[Table(columns, by_attribute)], pictures=[curves] if curves else []
            ),
        ],
        [Headline("success, percent", own["success"]), Headline("drift, percent", own["drift"])],
        config=config,
        command=f"python evaluate.py --workdir={workdir}",
    )
    return write_report(workdir, report)


def judge_model(
    model: Model, task: Mapping[str, np.ndarray], reader: Reader, config: ml_collections.ConfigDict
) -> dict[str, Any]:
    """A model's row of the table: :func:`judge` and :func:`as_is` of edits clause by clause; some figures also of edits
    by the whole sentence, ``NAME_at_once``, and of right eyes, ``NAME_mirrored`` (:func:`in_a_mirror`).
    """
    edit, attributes = edit_function(model), config.data.edits.attributes
    figures = judge(obeyed(edit, task["image"], task["text"], task["text_in_turn"]), task, reader, attributes)
    figures |= as_is(edit, task)
    for how, edited in (("at_once", edit(task["image"], task["text"])), ("mirrored", in_a_mirror(edit, task))):
        found = judge(edited, task, reader, attributes)
        figures |= {f"{name}_{how}": found[name] for name in ALSO}
    return figures


def in_a_mirror(edit: Edit, task: Mapping[str, np.ndarray]) -> np.ndarray:
    """The task's edits of right eyes: its left ones and its sentences flipped, and the edited pictures flipped back."""
    sentences = (mirrored_tokens(task[name]) for name in ("text", "text_in_turn"))
    return obeyed(edit, task["image"][:, :, ::-1], *sentences)[:, :, ::-1]


def judge_arms(
    models: Mapping[str, Model], task: Mapping[str, np.ndarray], reader: Reader, config: ml_collections.ConfigDict
) -> dict[str, dict[str, Any]]:
    """The table: baselines, then every model."""
    attributes = config.data.edits.attributes
    table = {name: judge(images, task, reader, attributes) for name, images in baselines(task).items()}
    return table | {name: judge_model(model, task, reader, config) for name, model in models.items()}
