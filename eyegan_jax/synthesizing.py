"""``eyegan synthesize``: a folder of masks painted in the style of a person, of several, or on the way
between two.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax import systems
from eyegan_jax.bulk import Report, process_folder
from eyegan_jax.data.decode import SUFFIXES, decode_image
from eyegan_jax.data.geometry import resize
from eyegan_jax.errors import UserError
from eyegan_jax.files import is_hidden
from eyegan_jax.images import to_float, to_uint8
from eyegan_jax.models import Model, load_model

STATE = ("average",)
"""What a Seg2Eye state holds for use after training."""


def encode_folder(model: Model, style: Path, most: int = 32) -> np.ndarray:
    """The style code ``[1, D]`` of the person in ``style``: a picture, or a folder of pictures of one person.

    The first ``most`` pictures in order of their names are used. Raises UserError where there is none.
    """
    style = Path(style)
    found = [style] if style.is_file() else sorted(p for p in style.rglob("*") if p.suffix.lower() in SUFFIXES)
    names = {path: path.relative_to(style) for path in found}
    found = [path for path, name in names.items() if "masks" not in name.parts[:-1] and not is_hidden(name)]
    if not found:
        raise UserError(f"--style: expected a picture or a folder of pictures of one person, found none in {style}")
    height, width, channels = model.config.image_shape
    pictures = [
        resize({"image": decode_image(path, path.name, channels), "name": path.name}, height, width)["image"]
        for path in found[:most]
    ]
    system: Any = systems.build_system(model.config)
    references = to_float(jnp.asarray(np.stack(pictures)))[None]
    return np.asarray(jax.jit(system.encode)(model.params["average"], references))


def paint_masks(model: Model, styles: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """uint8 ``[N, S, H, W, C]``: integer ``masks [N, H, W]`` in every one of ``styles [S, D]``."""
    system: Any = systems.build_system(model.config)
    return to_uint8(system.paint_styles(model.params["average"], masks, styles))


def synthesize_folder(
    masks: Path,
    styles: Sequence[Path],
    dest: Path,
    checkpoint: Path,
    *,
    between: int = 0,
    batch: int = 8,
    overwrite: bool = False,
) -> Report:
    """Paint every mask below ``masks`` (pixel values are OpenEDS ids) with the run or released model in
    ``checkpoint``.

    styles: pictures, or folders of pictures, one per person. One person: ``dest/NAME.png``; several:
        ``dest/PERSON/NAME.png``, with the name of the person's folder.
    between: with two people, so many steps from the first to the second instead: ``dest/between_00/NAME.png``
        to ...

    Masks are painted at their own size. See :func:`eyegan_jax.bulk.process_folder` for the rest. Raises
    UserError for values that are no class, styles of the same name and ``between`` without two people.
    """
    model = load_model(checkpoint, STATE)
    names = [Path(style).stem for style in styles]
    if len(set(names)) < len(names):
        raise UserError(f"--style: expected folders of different names, found {', '.join(names)}")
    codes = np.concatenate([encode_folder(model, Path(style)) for style in styles])
    if between:
        if len(styles) != 2 or between < 2:
            raise UserError(f"--between: expected two styles and at least 2 steps, found {len(styles)} and {between}")
        weights = np.linspace(0.0, 1.0, between, dtype=np.float32)[:, None]
        codes = (1 - weights) * codes[:1] + weights * codes[1:]
        names = [f"between_{i:02d}" for i in range(between)]
    labels = model.config.seg2eye.generator.labels
    paint = jax.jit(partial(paint_masks, model, codes))

    def apply(pixels: np.ndarray) -> np.ndarray:
        if pixels.max() >= labels:
            raise UserError(f"--masks: expected class ids 0 to {labels - 1}, found {pixels.max()} in {masks}")
        return np.asarray(paint(pixels[..., 0]))

    def outputs(name: str, mask: np.ndarray, painted: np.ndarray) -> dict[str, np.ndarray]:
        del mask
        file = Path(name).with_suffix(".png")
        folders = [Path(person) for person in names] if len(names) > 1 else [Path()]
        return {(folder / file).as_posix(): image for folder, image in zip(folders, painted, strict=True)}

    stamp = {
        "command": "synthesize",
        "checkpoint": str(Path(checkpoint).resolve()),
        "step": model.step,
        "styles": [str(Path(style).resolve()) for style in styles],
        "between": between,
    }
    return process_folder(
        masks, dest, apply, outputs=outputs, by_stem=True, stamp=stamp, channels=1, batch=batch, overwrite=overwrite
    )
