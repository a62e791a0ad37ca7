"""Rectifiers that leave nothing behind but their result."""

from functools import partial

import jax
import jax.numpy as jnp


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def leaky_relu(x: jax.Array, slope: float = 0.01) -> jax.Array:
    """``max(x, slope x)`` of any shape, 0 <= slope <= 1; at 0 the gradient is that of the negative side, as in PyTorch.

    The gradient reads the result, whose sign is that of ``x``, so that a convolution's output need not be kept for it.
    A barrier holds XLA to that: on a CPU it would rather make the result anew in every reader, all the way back through
    a chain of residual blocks; on a GPU it asks for the sign of ``x`` instead, and then neither lets the convolution
    rectify its output itself nor forgets that output (docs/performance.md).
    """
    return jax.lax.optimization_barrier(jnp.maximum(x, _scaled(x, slope)))


def relu(x: jax.Array) -> jax.Array:
    """``max(x, 0)`` (Nair and Hinton 2010)."""
    return leaky_relu(x, 0.0)


def _forward(x, slope):
    result = leaky_relu(x, slope)
    return result, result


def _backward(slope, result, gradient):
    return (jnp.where(result > 0, gradient, _scaled(gradient, slope)),)


def _scaled(x, slope):
    return jnp.asarray(slope, x.dtype) * x if slope else jnp.zeros_like(x)  # infinity times 0 is not a number


leaky_relu.defvjp(_forward, _backward)
