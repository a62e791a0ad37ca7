"""``eyegan edit``: pictures as one or several sentences ask for them."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from eyegan_jax import pictures, systems
from eyegan_jax.bulk import Report, process_folder, process_picture
from eyegan_jax.data.captioned import CAPTIONED
from eyegan_jax.data.decode import SUFFIXES, decode_image
from eyegan_jax.data.geometry import resize
from eyegan_jax.errors import UserError
from eyegan_jax.images import to_float, to_uint8
from eyegan_jax.models import Model, load_model
from eyegan_jax.simulator.captions import parse
from eyegan_jax.systems.text_edit import build_tokeniser

STATE = ("average",)
"""What a text-editing state holds for use after training."""

SHEET, SHEET_ROWS = "sheet.png", 12
"""The contact sheet of several sentences, and the most pictures on it."""


def encode_texts(config: ml_collections.ConfigDict, texts: Sequence[str]) -> np.ndarray:
    """Tokens int32 ``[T, L]`` of sentences for a run of this config.

    Raises UserError for an empty sentence, unknown words, clauses that contradict each other, and clauses about what
    the run never learnt to edit.
    """
    edits = config.data.edits
    if not texts:
        raise UserError("--text: expected at least one sentence, found none")
    for text in texts:
        if edits.kind not in CAPTIONED:
            strange = [attribute for attribute in parse(text) if attribute not in edits.attributes]
            if strange:
                known = ", ".join(edits.attributes)
                raise UserError(f"text: expected clauses on what this model edits ({known}), found {strange[0]}")
    tokeniser = build_tokeniser(config)
    return np.stack([tokeniser.encode(text) for text in texts])


def edit_images(model: Model, images: np.ndarray, tokens: np.ndarray) -> jax.Array:
    """uint8 ``[N, T, H, W, C]``: ``images`` uint8 ``[N, H, W, C]`` as each of the sentences ``tokens [T, L]`` asks."""
    system: Any = systems.build_system(model.config)
    source = to_float(jnp.asarray(images))

    def edit(sentence):
        return system.edit(model.params["average"], source, jnp.broadcast_to(sentence, (len(source), len(sentence))))

    return jnp.moveaxis(to_uint8(jax.lax.map(edit, jnp.asarray(tokens))), 0, 1)


def folder_names(texts: Sequence[str]) -> list[str]:
    """A folder's name for each sentence: its words; raises UserError where two would be the same."""
    names = ["_".join(re.findall(r"[\w-]+", text.lower())) for text in texts]
    if len(set(names)) < len(names):
        raise UserError(f"--text: expected different sentences, found {', '.join(map(repr, texts))}")
    return names


def edit_folder(
    source: Path, dest: Path, texts: Sequence[str], checkpoint: Path, *, batch: int = 32, overwrite: bool = False
) -> Report:
    """Edit the picture ``source``, or every picture below it, with the run or released model in ``checkpoint``.

    One sentence: ``dest/NAME.png``. Several: ``dest/WORDS_OF_THE_SENTENCE/NAME.png``, and a contact sheet of the first
    pictures, ``dest/sheet.png``. Pictures are brought to the model's size (in the middle, proportions kept) and colour.
    See :func:`eyegan_jax.bulk.process_folder` for the rest, :func:`encode_texts` for sentences that are refused.
    """
    source, dest = Path(source), Path(dest)
    model = load_model(checkpoint, STATE)
    tokens, names = encode_texts(model.config, texts), folder_names(texts)
    height, width, channels = model.config.image_shape
    edit = jax.jit(partial(edit_images, model, tokens=tokens))

    def fit(pixels: np.ndarray) -> np.ndarray:
        return resize({"image": pixels, "name": ""}, height, width, "crop")["image"]

    def apply(images: np.ndarray) -> np.ndarray:
        return np.asarray(edit(np.stack([fit(image) for image in images])))

    def places(name: str) -> list[Path]:
        file = Path(name).with_suffix(".png")
        return [Path(folder) / file for folder in names] if len(names) > 1 else [file]

    def outputs(name: str, image: np.ndarray, edited: np.ndarray) -> dict[str, np.ndarray]:
        del image
        return {place.as_posix(): result for place, result in zip(places(name), edited, strict=True)}

    if source.is_file():
        report = process_picture(source, dest, apply, outputs=outputs, channels=channels, overwrite=overwrite)
    else:
        stamp = {
            "command": "edit",
            "checkpoint": str(Path(checkpoint).resolve()),
            "step": model.step,
            "texts": list(texts),
        }
        options: dict[str, Any] = {"channels": channels, "batch": batch, "overwrite": overwrite}
        report = process_folder(source, dest, apply, outputs=outputs, stamp=stamp, **options)
    if len(texts) > 1 and jax.process_index() == 0:
        root = source.parent if source.is_file() else source
        files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES)
        rows: list[np.ndarray] = []
        for file in files:
            edited = [dest / place for place in places(file.relative_to(root).as_posix())]
            if all(path.exists() for path in edited) and len(rows) < SHEET_ROWS:
                shown = [fit(decode_image(file, file.name, channels))]
                rows.append(np.stack(shown + [decode_image(path, path.name, channels) for path in edited]))
        labels = ["picture", *texts]
        # Cells are wide enough for the longest sentence.
        scale = max(1, -(-8 * max(map(len, labels)) // width))
        pictures.grid_png(np.stack(rows), dest / SHEET, column_labels=labels, scale=scale)
    return report
