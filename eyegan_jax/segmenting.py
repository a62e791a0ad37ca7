"""``eyegan segment``: a trained segmenter over a folder of eye images."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax import systems
from eyegan_jax.bulk import Report, process_folder
from eyegan_jax.models import Model, load_model
from eyegan_jax.pictures import MASK_COLOURS
from eyegan_jax.systems.segmenter import PUPIL

STATE = ("average",)
"""What a segmenter's state holds for use after training."""

TALLEST = 3.0
"""Height over width of the tallest picture that keeps its proportions."""


def class_probabilities(model: Model) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 images ``[B, H, W, 1 or 3]`` of any size to class probabilities ``[B, H, W, 4]``."""
    system: Any = systems.build_system(model.config)
    apply = jax.jit(partial(system.segment, model.params["average"]))
    return lambda images: np.asarray(apply(images))


def segment_images(model: Model, images: jax.Array) -> jax.Array:
    """Masks uint8 ``[B, H, W]`` with OpenEDS ids of uint8 ``images [B, H, W, 1 or 3]`` of any size.

    The network sees the images at the width that it was trained at, its probabilities are brought back: a pupil of
    60 pixels means nothing to a network that has learned from pupils of 15. What is taller than :data:`TALLEST` is
    squeezed: no picture of an eye is, and a line of pixels would become one of thousands of rows.
    """
    system: Any = systems.build_system(model.config)
    height, width = images.shape[1:3]
    seen_width = model.config.image_shape[1]
    seen = (max(1, round(min(height * seen_width / width, TALLEST * seen_width))), seen_width)
    if seen != (height, width):
        small = jax.image.resize(images.astype(jnp.float32), (len(images), *seen, images.shape[-1]), "linear")
        images = jnp.round(small).astype(jnp.uint8)
    probability = system.segment(model.params["average"], images)
    if seen != (height, width):
        probability = jax.image.resize(probability, (len(images), height, width, probability.shape[-1]), "linear")
    mask = probability.argmax(-1).astype(jnp.uint8)
    return mask * PUPIL if probability.shape[-1] == 2 else mask


def segment_folder(source: Path, dest: Path, checkpoint: Path, *, batch: int = 32, overwrite: bool = False) -> Report:
    """Segment every image below ``source`` with the run or released model in ``checkpoint``.

    Writes ``dest/masks/NAME.png`` (pixel values are OpenEDS ids) and ``dest/overlays/NAME.png`` (the mask in colour
    over the image). Other files are carried over; see :func:`eyegan_jax.bulk.process_folder` for the rest.
    """
    model = load_model(checkpoint, STATE)
    apply = jax.jit(partial(segment_images, model))
    stamp = {"command": "segment", "checkpoint": str(Path(checkpoint).resolve()), "step": model.step}
    return process_folder(
        source,
        dest,
        lambda x: np.asarray(apply(x)),
        outputs=_mask_and_overlay,
        by_stem=True,
        stamp=stamp,
        channels=1,
        batch=batch,
        overwrite=overwrite,
    )


def _mask_and_overlay(name: str, image: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    name = Path(name).with_suffix(".png").as_posix()
    return {f"masks/{name}": mask, f"overlays/{name}": overlay(image, mask)}


def overlay(image: np.ndarray, mask: np.ndarray, strength: float = 0.35) -> np.ndarray:
    """uint8 RGB ``[..., H, W, 3]``: the classes' colours over gray ``image [..., H, W, 1]``; skin stays as it is."""
    gray = np.broadcast_to(image, (*mask.shape, 3)).astype(np.float32)
    tinted = (1 - strength) * gray + strength * MASK_COLOURS[mask]
    return np.where(mask[..., None] > 0, tinted, gray).round().astype(np.uint8)
