"""``eyegan edit``: pictures as one or several sentences ask for them."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from eyegan_jax import pictures, systems
from eyegan_jax.bulk import Report, expect_pictures, process_folder, process_picture, warn_by_name
from eyegan_jax.data.captioned import CAPTIONED
from eyegan_jax.data.decode import SUFFIXES, decode_image
from eyegan_jax.data.geometry import middle_box, resample
from eyegan_jax.errors import UserError
from eyegan_jax.evaluation.batches import in_batches
from eyegan_jax.images import Pictures, to_float
from eyegan_jax.layers.detail import Change
from eyegan_jax.models import Model, load_model
from eyegan_jax.own_resolution import changed_picture
from eyegan_jax.photos import Box, check_box, eye_finder, fitted, put_back, shown_by
from eyegan_jax.simulator.captions import asked_in_turn, parse, spelled_out
from eyegan_jax.systems.text_edit import build_tokeniser
from eyegan_jax.tokeniser import PAD

STATE = ("average",)
"""What a text-editing state holds for use after training."""

SHEET, SHEET_ROWS, SHEET_WIDTH = "sheet.png", 12, 150
"""The contact sheet of several sentences, the most pictures on it, and the least width of each in pixels."""


UNCHANGED = 0.1
"""Mean change, in gray levels, below which a sentence has asked for nothing that a picture does not show already."""


def unchanged(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether an edit by a whole sentence of several clauses says that it describes the picture ``before``."""
    return float(np.abs(after.astype(np.float32) - before).mean()) < UNCHANGED


def in_turn(config: ml_collections.ConfigDict, text: str) -> list[str]:
    """The sentences that a run of this config follows one after the other to do what ``text`` asks.

    A run on pictures that somebody else captioned knows no clauses and follows the text itself. Raises UserError for an
    empty sentence, clauses that contradict each other, and clauses about what the run never learnt to edit.
    """
    edits = config.data.edits
    if edits.kind in CAPTIONED:
        return [text]
    strange = [attribute for attribute in parse(text) if attribute not in edits.attributes]
    if strange:
        known = ", ".join(edits.attributes)
        raise UserError(f"text: expected clauses on what this model edits ({known}), found {strange[0]}")
    return asked_in_turn(text)


def encode_texts(config: ml_collections.ConfigDict, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each sentence its tokens int32 ``[L]`` and those of what it asks :func:`in_turn` ``[K, L]``.

    Raises UserError as that, for unknown words, and where there is no sentence.
    """
    if not texts:
        raise UserError("--text: expected at least one sentence, found none")
    tokeniser, encoded = build_tokeniser(config), []
    for text in texts:
        each = in_turn(config, text)
        whole = text if config.data.edits.kind in CAPTIONED else spelled_out(text)
        encoded.append((tokeniser.encode(whole), np.stack([tokeniser.encode(one) for one in each])))
    return encoded


Edit = Callable[[list[np.ndarray], np.ndarray], Iterable[np.ndarray]]
"""Pictures and the tokens ``[N, L]`` of a sentence for each to edited pictures."""


def obey(edit: Edit, shown: Sequence[np.ndarray], whole: np.ndarray, each: np.ndarray) -> list[np.ndarray]:
    """Pictures as sentences ask, one for each, whose tokens are ``whole [N, L]``.

    They follow what the sentence asks in turn, ``each [N, K, L]`` with PAD alone behind it. A picture that the whole
    sentence leaves :func:`unchanged` is left as it is, for the sentence describes it.
    """
    result, told = list(shown), np.zeros(len(shown), bool)
    if len(several := np.flatnonzero((each[:, 1:] != PAD).any((1, 2)))):
        at_once = edit([result[n] for n in several], whole[several])
        told[several] = [unchanged(result[n], after) for n, after in zip(several, at_once, strict=True)]
    for request in each.swapaxes(0, 1):
        if len(rows := np.flatnonzero((request != PAD).any(-1) & ~told)):
            edited = edit([result[n] for n in rows], request[rows])
            for n, one in zip(rows, edited, strict=True):
                result[n] = one
    return result


def editor(model: Model, texts: Sequence[str], batch: int = 16) -> Callable[..., list[np.ndarray]]:
    """A function from pictures, uint8 ``[H, W, C]`` of any sizes, to one uint8 ``[T, h, w, C]`` for each: its middle,
    in the model's proportions and at its own resolution, as each of the sentences asks; or instead of the middles what
    a second argument says, boxes of these proportions.

    Clauses are followed one after the other (:func:`in_turn`, :func:`obey`): of two at once the painter sees to what
    covers more pixels (docs/text_edit.md). What moves and what is painted is found at the model's size, ``batch``
    pictures at a time, and done to each picture's own pixels. Raises UserError for sentences that are refused, see
    :func:`encode_texts`.
    """
    system: Any = systems.build_system(model.config)
    sentences, shape = encode_texts(model.config, texts), model.config.image_shape

    @jax.jit
    def find(seen, tokens):
        return system.change(model.params["average"], to_float(seen), tokens)

    def follow(shown: list[np.ndarray], tokens: np.ndarray) -> list[np.ndarray]:
        seen = np.stack([resample(one, (0, 0, one.shape[1], one.shape[0]), *shape[:2]) for one in shown])
        found = in_batches(lambda rows: find(seen[rows], tokens[rows]), np.arange(len(seen)), batch)
        changes = zip(*found, strict=True)  # of one picture each
        return [changed_picture(one, Change(*change)) for one, change in zip(shown, changes, strict=True)]

    def edit(images: Pictures, boxes: Sequence[Box] | None = None) -> list[np.ndarray]:
        boxes = boxes or [middle_box(image.shape[0], image.shape[1], shape) for image in images]
        middles = [shown_by(box, image) for image, box in zip(images, boxes, strict=True)]
        edited = [
            obey(follow, middles, *(np.stack([tokens] * len(middles)) for tokens in sentence)) for sentence in sentences
        ]
        return [np.stack(of_one) for of_one in zip(*edited, strict=True)]

    return edit


def folder_names(texts: Sequence[str]) -> list[str]:
    """A folder's name for each sentence: its words; raises UserError where two would be the same."""
    names = ["_".join(re.findall(r"[\w-]+", text.lower())) for text in texts]
    if len(set(names)) < len(names):
        raise UserError(f"--text: expected different sentences, found {', '.join(map(repr, texts))}")
    return names


def edit_folder(
    source: Path,
    dest: Path,
    texts: Sequence[str],
    checkpoint: Path,
    *,
    paste: bool = False,
    box: Box | None = None,
    batch: int = 32,
    overwrite: bool = False,
) -> Report:
    """Edit the picture ``source``, or every picture below it, with the run or released model in ``checkpoint``.

    One sentence: ``dest/NAME.png``. Several: ``dest/WORDS_OF_THE_SENTENCE/NAME.png``, and a contact sheet of the first
    pictures, ``dest/sheet.png``. Pictures are cut to the model's proportions in their middle and keep their own
    resolution; see :func:`editor`, and :func:`eyegan_jax.bulk.process_folder` for the rest.

    paste: pictures are larger photos, which stay whole; the eye is looked for in them, or known to be in ``box``
    (pixels). Where none is found the middle is edited, and a warning logged. Raises UserError for a box outside of a
    picture.
    """
    source, dest = expect_pictures(source), Path(dest)
    model = load_model(checkpoint, STATE)
    edit, names = editor(model, texts, 1 if source.is_file() else batch), folder_names(texts)
    shape, missed = model.config.image_shape, dict[str, str]()
    stays_whole, find = paste or box is not None, eye_finder(shape) if paste and box is None else None

    def locate(picture: np.ndarray) -> tuple[Box, bool]:
        """Where the eye is, in the model's proportions, and whether that is known."""
        check_box(box, picture.shape[:2])
        found = find(picture) if find else box
        return fitted(found or (0, 0, picture.shape[1], picture.shape[0]), shape), found is not None

    def apply(pictures: Pictures) -> list[tuple[np.ndarray, bool]]:
        boxes, known = zip(*map(locate, pictures), strict=True)
        edited = edit(pictures, boxes)
        if stays_whole:
            edited = [
                np.stack([put_back(picture, where, one) for one in of_one])
                for picture, where, of_one in zip(pictures, boxes, edited, strict=True)
            ]
        return list(zip(edited, known, strict=True))

    def places(name: str) -> list[Path]:
        file = Path(name).with_suffix(".png")
        return [Path(folder) / file for folder in names] if len(names) > 1 else [file]

    def outputs(name: str, image: np.ndarray, result: tuple[np.ndarray, bool]) -> dict[str, np.ndarray]:
        del image
        edited, known = result
        if find and not known:
            missed[name] = "found no eye, edited the middle"
        return {place.as_posix(): one for place, one in zip(places(name), edited, strict=True)}

    if source.is_file():
        report = process_picture(source, dest, apply, outputs=outputs, channels=shape[2], overwrite=overwrite)
    else:
        stamp = {
            "command": "edit",
            "checkpoint": str(Path(checkpoint).resolve()),
            "step": model.step,
            "texts": {text: in_turn(model.config, text) for text in texts},
        }
        if stays_whole:
            stamp |= {"paste": paste, "box": box and list(box)}
        options: dict[str, Any] = {"by_stem": True, "channels": shape[2], "batch": batch, "overwrite": overwrite}
        report = process_folder(source, dest, apply, outputs=outputs, mixed=True, stamp=stamp, **options)
    if len(texts) > 1 and jax.process_index() == 0:
        root = source.parent if source.is_file() else source
        files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES)
        found = [(file, [dest / place for place in places(file.relative_to(root).as_posix())]) for file in files]
        written = [row for row in found if all(path.exists() for path in row[1])]
        write_sheet(dest / SHEET, written[:SHEET_ROWS], texts, shape, locate if stays_whole else None)
    warn_by_name(missed)
    return report


def write_sheet(
    path: Path,
    rows: Sequence[tuple[Path, Sequence[Path]]],
    texts: Sequence[str],
    shape: Sequence[int],
    locate: Callable[[np.ndarray], tuple[Box, bool]] | None = None,
) -> None:
    """One picture per row, its edits beside it, all cut to the proportions of ``shape`` and of one size.

    locate: of larger photos what of the picture is shown, and of its edits, which are as large.
    """
    labels = ["picture", *texts]
    # Cells are wide enough for the longest sentence.
    width = max(SHEET_WIDTH, 8 * max(map(len, labels)))
    height = round(width * shape[0] / shape[1])

    def cells(files: Sequence[Path]) -> np.ndarray:
        photos = [decode_image(file, file.name, shape[2]) for file in files]
        boxes = [middle_box(photo.shape[0], photo.shape[1], shape) for photo in photos]
        if locate:
            boxes = [locate(photos[0])[0]] * len(photos)
        return np.stack([resample(photo, box, height, width) for photo, box in zip(photos, boxes, strict=True)])

    table = np.stack([cells([picture, *edited]) for picture, edited in rows])
    pictures.grid_png(table, path, column_labels=labels, scale=1)
