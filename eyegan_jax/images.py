"""Pixel conventions: uint8 on disk and in memory, float32 in [-1, 1] inside the networks, NHWC."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

Pictures = Sequence[np.ndarray] | np.ndarray
"""uint8 ``[H, W, C]`` each: of different heights and widths, or in one array."""


def to_float(image):
    """uint8 ``[..., H, W, C]`` to float32 in [-1, 1]: 0 -> -1, 255 -> 1."""
    return image.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(image):
    """Inverse of :func:`to_float`: clips to [-1, 1] and rounds to nearest, so it restores every uint8."""
    return jnp.round((jnp.clip(image, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def to_gray(image):
    """RGB ``[..., H, W, 3]`` to gray ``[..., H, W, 1]`` with the ITU-R BT.601 weights of PIL's mode L."""
    return (image @ jnp.array([0.299, 0.587, 0.114], jnp.float32))[..., None]
