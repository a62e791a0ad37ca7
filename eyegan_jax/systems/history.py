"""The history of refined images that keeps SimGAN's discriminator from forgetting (Shrivastava et al. 2017, 2.3).

The buffer is part of the training state: uint8, on the device, checkpointed. It is divided into strata; each
stratum serves a fixed stretch of the global batch and draws from its own rows with its own key. Strata never look
at each other, so the result does not depend on how many devices share them: 8 strata on one device are the same
8 strata on eight.
"""

import math

import flax.struct
import jax
import jax.numpy as jnp

from eyegan_jax.images import to_float, to_uint8


class History(flax.struct.PyTreeNode):
    """images: uint8 ``[devices, strata / devices, rows, H W C]`` (without the first axis inside a step).
    filled: int32 scalar, valid rows of every stratum; all strata fill alike.

    An image is one row of numbers: XLA lays a scatter of whole images out in another order where C = 1, and copies the
    whole history there and back in every step.
    """

    images: jax.Array
    filled: jax.Array


def create(size: int, strata: int, devices: int, image_shape: tuple[int, int, int]) -> History:
    """An empty history of ``size`` images in all."""
    images = jnp.zeros((devices, strata // devices, size // strata, math.prod(image_shape)), jnp.uint8)
    return History(images=images, filled=jnp.zeros((), jnp.int32))


def sample(history: History, keys: jax.Array, fresh: jax.Array) -> jax.Array:
    """Old images in place of as many fresh ones, float32 in [-1, 1].

    fresh: ``[strata, n, H, W, C]`` newly refined images, returned as they are while the history is empty.
    keys: ``[strata]``. Draws ``n`` distinct valid rows per stratum (with repetition only while fewer are valid).
    """
    count = fresh.shape[1]

    def draw(images, key):
        rows = images.shape[0]
        order = jax.random.uniform(key, (rows,)) - 2.0 * (jnp.arange(rows) >= history.filled)
        chosen = jax.lax.top_k(order, count)[1]
        # Fewer valid rows than wanted: go round through the valid ones again.
        chosen = chosen[jnp.arange(count) % jnp.clip(history.filled, 1, count)]
        return to_float(images[chosen]).reshape(fresh.shape[1:])

    return jnp.where(history.filled > 0, jax.vmap(draw)(history.images, keys), fresh)


def push(history: History, keys: jax.Array, refined: jax.Array) -> History:
    """Append ``refined [strata, n, H, W, C]``; once full, overwrite ``n`` distinct random rows per stratum."""
    rows, count = history.images.shape[1], refined.shape[1]

    def write(images, key, new):
        anywhere = jax.lax.top_k(jax.random.uniform(key, (rows,)), count)[1]
        place = jnp.where(history.filled >= rows, anywhere, (history.filled + jnp.arange(count)) % rows)
        return images.at[place].set(to_uint8(new).reshape(count, -1))

    images = jax.vmap(write)(history.images, keys, refined)
    return History(images=images, filled=jnp.minimum(history.filled + count, rows))
