"""Feature statistics; group normalisation; and the two ways Seg2Eye injects information: AdaIN and SPADE.

Activations are ``[N, H, W, C]``. Statistics are computed and returned in float32 whatever the type of the
activations: a mean over 10^5 bfloat16 pixels would keep two digits. Equations: Buehler et al. 2019 (Seg2Eye),
after Huang and Belongie 2017 (AdaIN) and Park et al. 2019 (SPADE).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

EPSILON = 1e-5


class GroupNorm(nn.Module):
    """``scale (x - mu) / sqrt(sigma^2 + 1e-6) + bias`` of ``[N, H, W, C]``, mu and sigma per sample and group of
    neighbouring channels (Wu and He 2018); ``sigma^2 = E[x^2] - mu^2`` in float32.

    ``nn.GroupNorm`` in values and parameters. On CPU it is several times as fast: that one reduces along the few
    channels of a group, this one along positions, and then over channels (docs/performance.md).

    groups: how many, or size: channels of one; a divisor of C. dtype: of the result.
    """

    groups: int | None = None
    size: int | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        given = [count for count in (self.groups, self.size) if count is not None]
        if len(given) != 1 or given[0] < 1 or channels % given[0]:
            raise ValueError(f"GroupNorm: expected groups or size, a divisor of {channels} channels, found {given}")
        groups = self.groups or channels // given[0]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        x = x.astype(jnp.float32)

        def of_groups(values):
            each = values.reshape(values.shape[0], groups, -1)
            return jnp.broadcast_to(each.mean(-1, keepdims=True), each.shape).reshape(values.shape)[:, None, None]

        mean, square = (of_groups(jnp.mean(values, axis=(1, 2))) for values in (x, jnp.square(x)))
        factor = scale * jax.lax.rsqrt(jnp.maximum(square - jnp.square(mean), 0.0) + 1e-6)
        return (x * factor + (bias - mean * factor)).astype(self.dtype)


def instance_statistics(x, epsilon: float = EPSILON):
    """Mean and deviation of every sample and channel, both ``[N, 1, 1, C]``.

    ``mu_nc = mean_hw x``, ``sigma_nc = sqrt(mean_hw (x - mu_nc)^2 + epsilon)``.
    """
    x = x.astype(jnp.float32)
    mean = jnp.mean(x, axis=(1, 2), keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), axis=(1, 2), keepdims=True)
    return mean, jnp.sqrt(variance + epsilon)


def batch_moments(x, axis_name: str | None = None):
    """Mean and biased variance of every channel over samples, height and width, both ``[1, 1, 1, C]``.

    With ``axis_name`` the samples are those of all devices of that axis (each holding equally many), so the
    result does not depend on how the global batch is spread.
    """
    x = x.astype(jnp.float32)

    def average(values):
        local = jnp.mean(values, axis=(0, 1, 2), keepdims=True)
        return local if axis_name is None else jax.lax.pmean(local, axis_name)

    mean = average(x)
    # Two passes: E[x^2] - E[x]^2 cancels where the mean is large against the spread.
    return mean, average(jnp.square(x - mean))


def batch_statistics(x, epsilon: float = EPSILON, axis_name: str | None = None):
    """Mean and deviation of every channel over the (global) batch, both ``[1, 1, 1, C]``.

    ``mu_c = mean_nhw x``, ``sigma_c = sqrt(mean_nhw (x - mu_c)^2 + epsilon)``.
    """
    mean, variance = batch_moments(x, axis_name)
    return mean, jnp.sqrt(variance + epsilon)


def normalise(x, mean, deviation):
    """``(x - mu) / sigma`` in the type of ``x``."""
    return ((x.astype(jnp.float32) - mean) / deviation).astype(x.dtype)


def adain(x, reference, epsilon: float = EPSILON):
    """``AdaIN(x, r) = sigma(r) (x - mu(x)) / sigma(x) + mu(r)``, statistics per sample and channel.

    ``x`` and ``reference`` share N and C; their heights and widths are free.
    """
    mean, deviation = instance_statistics(reference, epsilon)
    return modulate(normalise(x, *instance_statistics(x, epsilon)), deviation, mean)


def spade(x, gamma, beta, statistics=None):
    """``SPADE(x, m) = gamma_hwc(m) (x - mu) / sigma + beta_hwc(m)``.

    gamma, beta: ``[N, H, W, C]``, computed from the mask by the caller.
    statistics: ``(mu, sigma)``; the seed's choice, :func:`batch_statistics` of ``x``, where it is None.
    """
    return modulate(normalise(x, *(statistics or batch_statistics(x))), gamma, beta)


def modulate(x, scale, shift):
    """``scale x + shift`` in the type of ``x``; scale and shift broadcast over ``x``."""
    return x * scale.astype(x.dtype) + shift.astype(x.dtype)
