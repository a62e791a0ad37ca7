"""The gaze redirector: from the mask of an eye to the mask of the same eye looking elsewhere.

A reconstruction after Kaur and Manduchi (WACV 2021), whose code and layer sizes are not public. It sees masks alone,
which look alike in simulated and real pictures, so that what it learns from simulated gaze labels holds for both.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.convolution import Conv
from eyegan_jax.layers.normalisation import GroupNorm
from eyegan_jax.networks.small_resnet import SmallResNet
from eyegan_jax.networks.style_generator import one_hot

FLOOR = 1e-3
"""Least probability of a class in a mask: keeps logarithms finite."""


def coordinates(height: int, width: int) -> jax.Array:
    """x and y of every pixel from -1 to 1, ``[H, W, 2]``."""
    y, x = jnp.meshgrid(jnp.linspace(-1.0, 1.0, height), jnp.linspace(-1.0, 1.0, width), indexing="ij")
    return jnp.stack([x, y], axis=-1)


class Modulated(nn.Module):
    """Two conv3x3, each with group normalisation and a scale and shift read from the wish (FiLM, Perez et al. 2018)."""

    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, wish: jax.Array) -> jax.Array:
        for _ in range(2):
            x = Conv(self.width, 3, dtype=self.dtype)(x)
            x = GroupNorm(size=8, dtype=self.dtype)(x)
            scale, shift = jnp.split(nn.Dense(2 * self.width, dtype=self.dtype)(wish)[:, None, None], 2, axis=-1)
            x = nn.leaky_relu(x * (1 + scale) + shift, 0.1)
        return x


class Redirector(nn.Module):
    """``(mask [N, H, W] or [N, H, W, labels], gaze [N, 2])`` to logits ``[N, H, W, labels]`` and flow ``[N, H, W, 2]``.

    gaze: the wanted (pitch, yaw) in radians, :mod:`eyegan_jax.gaze`. A U-Net is told the wish and how far it is from
    the gaze that :meth:`read` finds in the mask; a gate per pixel decides where the given mask stays as it is. The
    flow, (down, right) in pixels, says where each pixel of the turned eye was. Both are float32.

    width: channels at full size, a multiple of 8; doubled at each of ``levels - 1`` steps down, at most four times.
    reader: widths of the stages of the gaze reader, whose last map is flattened: H and W are those of the training.
    moves: whether there is a flow; without, it is zero.
    """

    width: int = 32
    levels: int = 4
    labels: int = 4
    reader: tuple[int, ...] = (32, 64, 64)
    moves: bool = False
    dtype: Any = jnp.float32

    def setup(self):
        widths = [self.width * min(2**i, 4) for i in range(self.levels)]
        self.gaze = SmallResNet(self.reader, outputs=2, dtype=self.dtype)
        self.wish = nn.Dense(64, dtype=self.dtype)
        self.down = [Modulated(w, self.dtype) for w in widths]
        self.up = [Modulated(w, self.dtype) for w in widths[:-1]]
        # The last map says what to draw and where to leave things as they are.
        self.head = Conv(2 * self.labels, 1, dtype=self.dtype)
        if self.moves:
            self.flow = Conv(2, 1, dtype=self.dtype, kernel_init=nn.initializers.zeros)

    def read(self, mask: jax.Array) -> jax.Array:
        """(pitch, yaw) ``[N, 2]`` in radians of the eye in a mask."""
        mask = one_hot(mask, self.labels)
        place = jnp.broadcast_to(coordinates(*mask.shape[1:3]), (*mask.shape[:3], 2))
        return self.gaze(jnp.concatenate([mask, place], axis=-1))

    def __call__(self, mask: jax.Array, gaze: jax.Array, seen: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """``seen``: what :meth:`read` finds in the mask, where that is known already."""
        mask = one_hot(mask, self.labels)
        turn = gaze - jax.lax.stop_gradient(self.read(mask) if seen is None else seen)
        wish = nn.leaky_relu(self.wish(3.0 * jnp.concatenate([gaze, turn], axis=-1)), 0.1)
        height, width = mask.shape[1:3]
        unit = 2 ** (self.levels - 1)
        x = jnp.concatenate([mask, jnp.broadcast_to(coordinates(height, width), (*mask.shape[:3], 2))], axis=-1)
        x = jnp.pad(x, ((0, 0), (0, -height % unit), (0, -width % unit), (0, 0)), mode="edge").astype(self.dtype)
        skips = []
        for level, block in enumerate(self.down):
            x = nn.avg_pool(x, (2, 2), (2, 2)) if level else x
            x = block(x, wish)
            skips.append(x)
        for block, skip in zip(reversed(self.up), reversed(skips[:-1]), strict=True):
            x = x.repeat(2, axis=1).repeat(2, axis=2)
            x = block(jnp.concatenate([x, skip], axis=-1), wish)
        x = x[:, :height, :width]
        drawn, gate = jnp.split(self.head(x).astype(jnp.float32), 2, axis=-1)
        logits = drawn + nn.sigmoid(gate) * jnp.log(jnp.clip(mask, FLOOR, 1.0))
        # In units of a position of the coarsest features; zero at first.
        flow = unit * self.flow(x).astype(jnp.float32) if self.moves else jnp.zeros((*mask.shape[:3], 2))
        return logits, flow
