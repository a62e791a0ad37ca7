"""The draft of a turned eye: what can be known of it before anything is painted."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.pooling import max_pool
from eyegan_jax.layers.resizing import warp


class Draft(NamedTuple):
    """``image [N, H, W, C]`` in [-1, 1]; ``known [N, H, W, 1]``, how much of it are pixels of the source, and ``arrived
    [N, H, W, 1]``, how much of it are those that came along the flow."""

    image: jax.Array
    known: jax.Array
    arrived: jax.Array


def draft(
    mask: jax.Array, image: jax.Array, image_mask: jax.Array, frame: jax.Array | None, flow: jax.Array | None
) -> Draft:
    """``image [N, H, W, C]`` roughly repainted for another ``mask [N, H, W, 4]``. Differentiable.

    Skin that stays skin is kept, but for the ``frame [N, H, W, 1]`` of glasses; pixels of the eyeball come along
    ``flow [N, H, W, 2]`` where they arrive as what they were. Elsewhere skin is filled with the skin around, and the
    eye with the picture's own mean tone of each class, as OpenEDS paints class means. So the eye looks where it should
    before anything is learnt.

    image_mask: the picture's own mask ``[N, H, W, 4]``. frame, flow: None where there are none.
    """
    skin = image_mask[..., :1]
    if frame is not None:
        # The border of a frame is dark, too.
        skin = skin * (1.0 - max_pool(frame, 3, 1, "SAME"))
    kept = mask[..., :1] * skin
    result = kept * image
    known, arrived = kept, jnp.zeros_like(kept)
    if flow is not None:
        then = warp(image_mask, flow)
        # What both masks have in common: a border between white and iris that arrives as one counts as well as they do.
        arrived = jnp.sum(jnp.minimum(mask[..., 1:], then[..., 1:]), axis=-1, keepdims=True)
        result += arrived * warp(image, flow)
        known = kept + arrived
    parts = jnp.concatenate([skin, image_mask[..., 1:]], axis=-1)
    total = jnp.einsum("nhwk,nhwc->nkc", parts, image)
    tones = total / jnp.maximum(parts.sum((1, 2))[..., None], 1e-3)
    around = _around(skin, image, tones[:, :1])
    filled = mask[..., :1] * around + jnp.einsum("nhwk,nkc->nhwc", mask[..., 1:], tones[:, 1:])
    return Draft(result + (1.0 - known) * filled, known, arrived)


def _around(skin, image, tone):
    """The mean of the skin near every pixel; ``tone [N, 1, C]``, that of all skin, where there is none."""
    size = 2 * (image.shape[1] // 8) + 1
    weights = jnp.concatenate([skin * image, skin], axis=-1)
    near = nn.avg_pool(weights, (size, size), padding="SAME")
    little = 1e-3
    return (near[..., :-1] + little * tone[:, None]) / (near[..., -1:] + little)


def smoothed(flow: jax.Array, weight: jax.Array) -> jax.Array:
    """Means of ``flow [N, H, W, 2]`` over windows of 5x5 pixels, weighted by ``weight [N, H, W, 1]``.

    The points of an eyeball move nearly alike, so what differs from pixel to pixel is error, which shows once a flow is
    enlarged.
    """
    little = 1e-3
    total = nn.avg_pool(jnp.concatenate([weight * flow, weight], axis=-1), (5, 5), padding="SAME")
    return (total[..., :2] + little * flow) / (total[..., 2:] + little)
