"""Spectral normalisation (Miyato et al. 2018) with its state in plain sight.

The state of one kernel is the pair of unit vectors ``{"u": [out], "v": [..., in]}`` that the power iteration
pulls towards the first singular pair of the kernel seen as a matrix ``W [out, rest]``. Nothing advances
behind the caller's back: a training step calls :func:`advance` once on the whole tree, before the forward
pass, and a forward pass only reads. Because the iteration sees parameters alone, never data, its result is
the same on every device.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.errors import UserError
from eyegan_jax.layers.convolution import convolve

EPSILON = 1e-12


def _unit(x):
    return x / jnp.maximum(jnp.linalg.norm(x), EPSILON)


def _matrix(kernel):
    """``[..., in, out]`` as ``[rest, out]``, in float32."""
    return kernel.astype(jnp.float32).reshape(-1, kernel.shape[-1])


def power_iteration(kernel, u, iterations: int = 1) -> dict[str, jax.Array]:
    """``v <- W^T u / |W^T u|``, then ``u <- W v / |W v|``, ``iterations`` times; returns ``{"u", "v"}``."""
    matrix = _matrix(kernel)
    v = jnp.zeros(matrix.shape[0])
    for _ in range(iterations):
        v = _unit(matrix @ u)
        u = _unit(v @ matrix)
    return {"u": u, "v": v.reshape(kernel.shape[:-1])}


def initial_state(key: jax.Array, kernel, iterations: int = 1) -> dict[str, jax.Array]:
    """The state after ``iterations`` from a random direction."""
    return power_iteration(kernel, _unit(jax.random.normal(key, kernel.shape[-1:])), iterations)


def spectral_norm(kernel, u, v):
    """``sigma = u^T W v``, the estimate of the largest singular value; its gradient treats u, v as
    constant.
    """
    u, v = jax.lax.stop_gradient((u, v))
    return v.reshape(-1) @ _matrix(kernel) @ u


def advance(params: Mapping[str, Any], state: Mapping[str, Any], iterations: int = 1) -> dict[str, Any]:
    """The state of a whole network after ``iterations`` more; mirrors the tree of ``params``.

    Wherever ``state`` holds a pair ``{"u", "v"}``, ``params`` holds the ``kernel`` at the same path.
    """
    if "u" in state:
        if "kernel" not in params:
            raise UserError(f"spectral state without a kernel: expected 'kernel', found {sorted(params)}")
        return power_iteration(params["kernel"], state["u"], iterations)
    return {name: advance(params[name], state[name], iterations) for name in state}


class SpectralConv(nn.Module):
    """A square convolution, ``[N, H, W, C] -> [N, h, w, features]``, whose kernel has spectral norm 1.

    Collections: ``params`` (kernel ``[k, k, C, features]``, bias) and ``spectral`` (``u``, ``v``), only read
    here; the training step renews it with :func:`advance`.

    padding: zeros on every side.
    dtype: of the computation; parameters and sigma stay float32.
    """

    features: int
    kernel: int
    stride: int = 1
    padding: int = 0
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Any = nn.initializers.glorot_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        pair = {
            name: self.variable(
                "spectral", name, lambda name=name: initial_state(self.make_rng("params"), kernel)[name]
            ).value
            for name in ("u", "v")
        }
        x = convolve(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            (self.stride, self.stride),
            ((self.padding, self.padding),) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        # conv(x, W / sigma) = conv(x, W) / sigma: deep activations are smaller than their kernels. In
        # float32, because a sigma of 8 bits would scale the whole layer; it is fused with what follows.
        x = x.astype(jnp.float32) / spectral_norm(kernel, **pair)
        if self.use_bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.features,))
        return x.astype(self.dtype)
