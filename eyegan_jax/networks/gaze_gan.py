"""Generator and discriminator of "Photo-Realistic Monocular Gaze Redirection" (He et al., ICCV 2019).

The sizes are those of the publication: 8.4 and 11.2 million parameters for colour patches of 64x64.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.convolution import Conv
from eyegan_jax.layers.normalisation import instance_statistics, normalise

ANGLE_UNIT = 0.5
"""Radians that are 1 inside the networks: inputs of the size of the pixels'."""

small = nn.initializers.normal(0.02)


class InstanceNorm(nn.Module):
    """Normalisation per sample and channel with a learned scale and shift."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return normalise(x, *instance_statistics(x)) * scale.astype(x.dtype) + bias.astype(x.dtype)


class GazeGenerator(nn.Module):
    """Images ``[N, H, W, C]`` in [-1, 1] and wanted (pitch, yaw) ``[N, 2]`` in radians to images like those.

    The angles are tiled beside the pixels; conv7 64, two conv4 s2 (128, 256), ``blocks`` residual blocks, two
    transposed conv4 s2, conv7, tanh; instance norm and ReLU, no biases. 8,421,120 parameters at the defaults in
    colour. H and W are multiples of 4.
    """

    width: int = 64
    blocks: int = 6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, gaze: jax.Array) -> jax.Array:
        def conv(features, kernel, stride=1):
            pad = (kernel - 1) // 2
            settings = {"use_bias": False, "kernel_init": small, "dtype": self.dtype}
            return Conv(features, kernel, stride, ((pad, pad),) * 2, **settings)

        def up(features):
            settings = {"use_bias": False, "kernel_init": small, "dtype": self.dtype}
            return nn.ConvTranspose(features, (4, 4), (2, 2), **settings)

        angles = jnp.broadcast_to((gaze / ANGLE_UNIT)[:, None, None], (*images.shape[:3], 2))
        x = jnp.concatenate([images, angles], axis=-1).astype(self.dtype)
        x = nn.relu(InstanceNorm()(conv(self.width, 7)(x)))
        for i in (2, 4):
            x = nn.relu(InstanceNorm()(conv(self.width * i, 4, 2)(x)))
        for _ in range(self.blocks):
            y = nn.relu(InstanceNorm()(conv(x.shape[-1], 3)(x)))
            x = x + InstanceNorm()(conv(x.shape[-1], 3)(y))
        for i in (2, 1):
            x = nn.relu(InstanceNorm()(up(self.width * i)(x)))
        return jnp.tanh(conv(images.shape[-1], 7)(x).astype(jnp.float32))


class GazeDiscriminator(nn.Module):
    """Images ``[N, H, W, C]`` to patch scores ``[N, h, w, 1]`` (no probabilities) and (pitch, yaw) ``[N, 2]``.

    ``layers`` conv4 s2 from ``width`` maps on, doubled each time, LeakyReLU 0.01; two heads. 11,163,584 parameters at
    the defaults for colour patches of 64x64.
    """

    width: int = 64
    layers: int = 5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = images.astype(self.dtype)
        for i in range(self.layers):
            x = Conv(self.width * 2**i, 4, 2, ((1, 1), (1, 1)), kernel_init=small, dtype=self.dtype)(x)
            x = nn.leaky_relu(x, 0.01)
        score = Conv(1, 3, padding=((1, 1), (1, 1)), use_bias=False, kernel_init=small, dtype=self.dtype)(x)
        # A kernel as large as the map: a linear layer over all positions.
        flat = x.reshape(x.shape[0], -1)
        gaze = nn.Dense(2, use_bias=False, kernel_init=small, dtype=self.dtype)(flat)
        return score.astype(jnp.float32), gaze.astype(jnp.float32) * ANGLE_UNIT
