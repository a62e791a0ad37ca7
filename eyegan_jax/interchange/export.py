"""A trained refiner as one file that runs without this library, by ``jax.export``."""

from functools import partial
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp

from eyegan_jax.models import load_model
from eyegan_jax.refining import refine_images

PLATFORMS = ("cpu", "cuda", "tpu")


def export_refiner(workdir: Path, file: Path) -> int:
    """Write the refiner in ``workdir`` to ``file``; its size in bytes.

    The artefact maps uint8 ``[n, H, W, C]`` to the same, for any ``n`` and the run's image shape. Read it with
    ``jax.export.deserialize(open(file, "rb").read()).call(images)``. Artefacts expire after some JAX releases: they
    deploy, checkpoints archive.
    """
    model = load_model(workdir, ("refiner_average",))
    (batch,) = jax.export.symbolic_shape("n")
    images = jax.ShapeDtypeStruct((batch, *model.config.image_shape), jnp.uint8)
    exported = jax.export.export(jax.jit(partial(refine_images, model)), platforms=PLATFORMS)(images)
    data = exported.serialize()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return len(data)
