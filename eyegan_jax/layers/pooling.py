"""Max-pooling whose gradient is cheap: XLA's select-and-scatter is one of the slowest steps of a small network."""

from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp


def max_pool(x: jax.Array, window: int, stride: int, padding: Any = "VALID") -> jax.Array:
    """Maximum over square windows of NHWC images, ``[B, H, W, C]`` to ``[B, H', W', C]``.

    padding: "VALID", "SAME" or ((top, bottom), (left, right)); what is padded never wins. As ``nn.max_pool``, but rows
    first, then columns, by elementwise maxima of shifted slices, which fuse. Where several are largest the gradient
    is shared among them instead of going to the first.
    """
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], (window, window), (stride, stride), padding)
    for axis, pads in zip((1, 2), padding, strict=True):
        x = _along(x, axis, window, stride, pads)
    return x


def _along(x: jax.Array, axis: int, window: int, stride: int, pads: tuple[int, int]) -> jax.Array:
    if any(pads):
        around = [(0, 0)] * x.ndim
        around[axis] = pads
        x = jnp.pad(x, around, constant_values=-jnp.inf)
    last = x.shape[axis] - window  # where the last window may begin
    shifted = (jax.lax.slice_in_dim(x, k, k + last + 1, stride, axis) for k in range(window))
    return reduce(jnp.maximum, shifted)
