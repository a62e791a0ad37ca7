"""Resampling by explicit rules, because libraries disagree about where a pixel is.

``jax.image.resize`` takes pixel centres at ``i + 1/2`` for every method and smooths when it shrinks; PyTorch,
in which the released networks were trained, does neither for 'nearest'. All functions take ``[..., H, W,
C]``.
"""

import jax
import jax.numpy as jnp
import numpy as np


def nearest(x, size: tuple[int, int]):
    """PyTorch's 'nearest': the source index is ``floor(i in / out)``. For one-hot and integer masks."""
    height, width = size
    rows = np.arange(height) * x.shape[-3] // height
    columns = np.arange(width) * x.shape[-2] // width
    for axis, index in ((-3, rows), (-2, columns)):
        count = x.shape[axis]
        if len(index) == count:
            continue
        if count % len(index) == 0:  # a whole factor is a slice, which costs nothing
            x = jax.lax.slice_in_dim(x, 0, count, count // len(index), axis=x.ndim + axis)
        else:
            x = jnp.take(x, index, axis=axis)
    return x


def double(x):
    """Twice as high and wide, every pixel becoming four equal ones."""
    *batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[..., :, None, :, None, :], (*batch, height, 2, width, 2, channels))
    return x.reshape(*batch, 2 * height, 2 * width, channels)


def _positions(index, source: int, scale):
    """Where target pixels read: centres at ``i + 1/2``, the border repeated."""
    return ((index + 0.5) * scale - 0.5).clip(0.0, source - 1.0)


def _weights(position, source: int):
    """``[target, source]``: each row holds the two weights of linear interpolation; of NumPy or JAX like its input."""
    return (1.0 - abs(position[:, None] - np.arange(source))).clip(0.0)


def bilinear(x, size: tuple[int, int], align_corners: bool = False):
    """Bilinear interpolation between the four nearest pixels, without smoothing when it shrinks.

    Pixel centres at ``i + 1/2`` and the border repeated, or, with ``align_corners``, the centres of the corner pixels
    of both images on top of each other: position ``i (in - 1) / (out - 1)``.
    """
    for axis, target in zip((-3, -2), size, strict=True):
        source, index = x.shape[axis], np.arange(target, dtype=np.float64)
        if source == target:
            continue
        if align_corners:
            position = index * ((source - 1) / max(target - 1, 1))
        else:
            position = _positions(index, source, source / target)
        matrix = _weights(position, source).astype(x.dtype)
        x = jnp.moveaxis(jnp.tensordot(matrix, x, axes=(1, axis), precision="highest"), 0, axis)
    return x


def bilinear_within(x: jax.Array, shape: tuple[int, int], size) -> jax.Array:
    """:func:`bilinear` of ``[..., h, w, C]`` to ``size``, int ``[2]``, which may be traced: one program for all sizes.

    It fills the top left of an array of ``shape``; what lies beyond means nothing. float32.
    """
    for axis, length, target in zip((-3, -2), shape, size, strict=True):
        source = x.shape[axis]
        weights = _weights(_positions(jnp.arange(length), source, source / target), source)
        x = jnp.moveaxis(jnp.tensordot(weights, x, axes=(1, axis), precision="highest"), 0, axis)
    return x


def warp(images: jax.Array, flow: jax.Array) -> jax.Array:
    """``images [N, H, W, C]`` read at ``(y, x) + flow(y, x)``, bilinearly, the edge repeated; flow ``[N, H, W, 2]``."""
    count, height, width, channels = images.shape
    y = jnp.clip(jnp.arange(height, dtype=jnp.float32)[:, None] + flow[..., 0], 0.0, height - 1.0)
    x = jnp.clip(jnp.arange(width, dtype=jnp.float32)[None, :] + flow[..., 1], 0.0, width - 1.0)
    top, left = jnp.floor(y), jnp.floor(x)
    down, right = (y - top)[..., None], (x - left)[..., None]
    top, left = top.astype(jnp.int32), left.astype(jnp.int32)
    bottom, far = jnp.minimum(top + 1, height - 1), jnp.minimum(left + 1, width - 1)
    flat = images.reshape(count, height * width, channels)

    def pixels(rows, columns):
        index = (rows * width + columns).reshape(count, -1, 1)
        return jnp.take_along_axis(flat, index, axis=1).reshape(count, height, width, channels)

    upper = pixels(top, left) * (1 - right) + pixels(top, far) * right
    lower = pixels(bottom, left) * (1 - right) + pixels(bottom, far) * right
    return upper * (1 - down) + lower * down
