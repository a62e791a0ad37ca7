"""A modern small residual network for gaze, beside the SimGAN paper's CNN of 2017."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.convolution import Conv
from eyegan_jax.layers.normalisation import GroupNorm


class ResidualStage(nn.Module):
    """Pre-activation block (He et al. 2016b) with group normalisation, stride 2, ``width`` channels out."""

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def normalised(y):
            # Few groups: statistics over large groups keep contrast differences within an image.
            return nn.relu(GroupNorm(8, dtype=self.dtype)(y))

        y = normalised(x)
        shortcut = Conv(self.width, 1, dtype=self.dtype)(nn.avg_pool(y, (2, 2), (2, 2), padding="SAME"))
        y = Conv(self.width, 3, 2, dtype=self.dtype, use_bias=False)(y)
        return shortcut + Conv(self.width, 3, dtype=self.dtype)(normalised(y))


class SmallResNet(nn.Module):
    """``[B, H, W, C]`` in [-1, 1] to ``[B, outputs]``; 5 MMAC at 35x55, where the paper's CNN has 91.

    The last map is flattened after a 1x1 convolution instead of averaged: gaze is where things are.
    """

    widths: tuple[int, ...] = (32, 64)
    outputs: int = 3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = Conv(32, 5, 2, dtype=self.dtype)(images.astype(self.dtype))
        for width in self.widths:
            x = ResidualStage(width, self.dtype)(x)
        x = nn.relu(GroupNorm(8, dtype=self.dtype)(x))
        x = nn.relu(Conv(32, 1, dtype=self.dtype)(x))
        x = nn.relu(nn.Dense(128, dtype=self.dtype)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.outputs, dtype=self.dtype)(x).astype(jnp.float32)
