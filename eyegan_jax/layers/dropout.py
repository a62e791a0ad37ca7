"""Dropout from bytes: a quarter of the random numbers."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dropout(nn.Module):
    """Sets each number to 0 with probability ``rate`` and scales the others up, so that the mean stays.

    As ``flax.linen.Dropout``, with the rate in steps of 1/256: one random byte per number instead of 32 bits. Drawing
    them is most of dropout's time on a CPU. Training (``deterministic=False``) needs a ``dropout`` key.
    Source: Srivastava et al., JMLR 2014.
    """

    rate: float

    @nn.compact
    def __call__(self, x, deterministic: bool):
        kept = 256 - min(round(256 * self.rate), 255)
        if deterministic or kept == 256:
            return x
        words = jax.random.bits(self.make_rng("dropout"), (-(-x.size // 4),), jnp.uint32)
        each = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[: x.size].reshape(x.shape)
        return jnp.where(each < kept, x * jnp.asarray(256 / kept, x.dtype), jnp.zeros((), x.dtype))
