"""What was done to a small version of a picture, done to the picture itself, which keeps its detail."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.resizing import bilinear_within, warp


class Change(NamedTuple):
    """An edit at the model's size: ``flow [B, H, W, 2]``, (down, right) in units of the image's height and width, says
    where each pixel was read, ``share [B, H, W, 1]`` how much of it; the rest stayed where it was. ``moved [B, H, W,
    C]`` is what that gave (:func:`move`), ``edited`` what was made of it."""

    flow: jax.Array
    share: jax.Array
    moved: jax.Array
    edited: jax.Array


def move(images: jax.Array, flow: jax.Array, share: jax.Array, size=None) -> jax.Array:
    """Images ``[B, H, W, C]`` with a ``share`` of every pixel read along ``flow``, both as in :class:`Change`, of the
    images' size. Where moved and still parts meet one fades into the other. size: as of :func:`changed`."""
    return images + share * (warp(images, flow * jnp.array(images.shape[1:3] if size is None else size)) - images)


LITTLE = 2e-3
"""Variance of pixels in [-1, 1], over three channels, below which a picture is as good as plain: three gray levels."""


def changed(images: jax.Array, change: Change, size=None) -> jax.Array:
    """Images ``[B, H, W, C]`` in [-1, 1] of any size, edited as a coarse version of them was.

    The edit is enlarged, and the fine detail of the moved pixels is added where the edit kept the coarse detail: what
    was painted over leaves no trace (after the guided filter, He et al. 2013, which fits such shares). On images of
    the coarse size this is the edit itself.

    size: the images' own (height, width), int ``[2]``, which may be traced, where they fill the top left of their
        arrays and their last row and column are repeated beyond; None: they fill them.
    """
    shape = (images.shape[1], images.shape[2])

    def enlarged(x: jax.Array) -> jax.Array:
        return bilinear_within(x, shape, shape if size is None else size)

    moved = move(images, enlarged(change.flow), enlarged(change.share), size)
    detail = moved - enlarged(change.moved)
    kept = enlarged(kept_detail(change.moved, change.edited))
    return jnp.clip(enlarged(change.edited) + kept * detail, -1.0, 1.0)


@jax.jit
def kept_detail(before: jax.Array, after: jax.Array) -> jax.Array:
    """The share ``[B, H, W, 1]`` of the local contrast of ``before [B, H, W, C]`` that ``after`` still has, in [0, 1].

    ``cov(before, after) / var(before)`` over windows of 5x5 pixels and all channels; 1 where there is little to keep.
    """

    def local(x: jax.Array) -> jax.Array:
        return nn.avg_pool(x, (5, 5), padding="SAME", count_include_pad=False)

    def covariance(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.sum(local(x * y) - local(x) * local(y), axis=-1, keepdims=True)

    share = (covariance(before, after) + LITTLE) / (covariance(before, before) + LITTLE)
    return jnp.clip(share, 0.0, 1.0)
