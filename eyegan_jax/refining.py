"""``eyegan refine``: a trained SimGAN refiner over a folder of simulated eyes."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax import systems
from eyegan_jax.bulk import Report, process_folder
from eyegan_jax.images import to_float, to_gray, to_uint8
from eyegan_jax.models import Model, load_model


def refine_images(model: Model, images: jax.Array) -> jax.Array:
    """uint8 ``[B, H, W, C]`` of any size to refined uint8 of the same shape.

    A gray refiner refines the luminance of colour images and leaves their colour differences alone.
    """
    system: Any = systems.build_system(model.config)
    x = to_float(images)
    channels = model.config.image_shape[2]
    if x.shape[-1] == channels:
        return to_uint8(system.refine(model.params["refiner_average"], x))
    luminance = to_gray(x) if x.shape[-1] == 3 else jnp.repeat(x, 3, axis=-1)
    change = system.refine(model.params["refiner_average"], luminance) - luminance
    return to_uint8(x + (change if x.shape[-1] == 3 else jnp.mean(change, axis=-1, keepdims=True)))


def refine_folder(source: Path, dest: Path, checkpoint: Path, *, batch: int = 64, overwrite: bool = False) -> Report:
    """Refine every image below ``source`` into ``dest`` with the run or released model in ``checkpoint``.

    Labels, JSON and masks are carried over; see :func:`eyegan_jax.bulk.process_folder` for the rest.
    """
    model = load_model(checkpoint, ("refiner_average",))
    apply = jax.jit(partial(refine_images, model))
    stamp = {"command": "refine", "checkpoint": str(Path(checkpoint).resolve()), "step": model.step}
    return process_folder(source, dest, lambda x: np.asarray(apply(x)), stamp=stamp, batch=batch, overwrite=overwrite)
