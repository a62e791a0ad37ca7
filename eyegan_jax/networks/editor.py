"""The generator that edits a picture by a sentence, in the three steps of SIMGAN (Yu et al., ICIP 2019).

The paper's body has no public copy and no code: this is a reconstruction from its abstract, from secondary
descriptions, and from its open relatives (Dong et al. 2017; TAGAN, Nam et al. 2018; StackGAN++ for stacked outputs).
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.convolution import Conv
from eyegan_jax.layers.normalisation import GroupNorm
from eyegan_jax.layers.resizing import bilinear, double, warp
from eyegan_jax.networks.text_encoder import ConditioningAugmentation, mean_of_words


def group_norm(x: jax.Array, dtype: Any) -> jax.Array:
    """Few groups: statistics over large groups keep brightness and contrast."""
    return GroupNorm(math.gcd(8, x.shape[-1]), dtype=dtype)(x)


class Block(nn.Module):
    """``x + conv relu norm conv relu norm(x)``, ``[B, h, w, D]`` to ``[B, h, w, width]``; starts as the identity.

    What is added is computed from normalised values, what is kept is not: exact pixels pass. A ``code [B, n]`` scales
    and shifts the inner features.
    """

    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, code: jax.Array | None = None) -> jax.Array:
        y = Conv(self.width, 3, use_bias=False, dtype=self.dtype)(nn.relu(group_norm(x, self.dtype)))
        y = group_norm(y, self.dtype)
        if code is not None:
            wanted = nn.Dense(2 * self.width, dtype=self.dtype, name="code")(code)[:, None, None]
            scale, shift = jnp.split(wanted, 2, axis=-1)
            y = y * (1.0 + scale) + shift
        y = Conv(self.width, 3, dtype=self.dtype, kernel_init=nn.initializers.zeros)(nn.relu(y))
        if x.shape[-1] != self.width:
            x = Conv(self.width, 1, dtype=self.dtype)(x)
        return x + y


class Editor(nn.Module):
    """Image ``[B, H, W, C]`` in [-1, 1] and words to edited images, a list from coarse to fine, the last of full size.

    Step 1, the encoder: residual blocks and halvings down to 1/2^scales, beside the sentence as a vector from
    conditioning augmentation that is repeated over all positions. Step 2, residual blocks relate the two. Step 3, the
    decoder: nearest-neighbour doubling, convolutions and residual blocks. Height and width must be multiples of
    2^scales.

    width: channels at full size, doubled by every scale. code: length of the sentence's vector. blocks: residual ones
        of step 2. outputs: images at full size and at this many minus 1 halvings (3 at 256 pixels: 64, 128, 256).
    skips: features of the encoder join the decoder at every scale. modulated: the sentence's vector scales and shifts
        the features inside every block. moves: before anything is painted the source's pixels move along a flow, said
        at every scale but the finest: an eye that looks elsewhere keeps its texture. residual: what is painted is the
        difference to that. All four are ours, and off in the baseline of 2017.
    """

    width: int = 32
    scales: int = 3
    code: int = 128
    blocks: int = 4
    outputs: int = 1
    skips: bool = True
    moves: bool = True
    residual: bool = True
    modulated: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, words: jax.Array, present: jax.Array, noise: jax.Array | None = None):
        """``noise [B, code]``: standard normal for training, None for use. Also returns the Gaussian (see
        :class:`~eyegan_jax.networks.text_encoder.ConditioningAugmentation`) and the flow ``[B, H, W, 2]``, (down,
        right) in pixels: where each pixel of the result was read before anything was painted; None without ``moves``.
        """
        mean, log_deviation = ConditioningAugmentation(self.code, name="augmentation")(mean_of_words(words, present))
        code = mean if noise is None else mean + jnp.exp(log_deviation) * noise

        code = code.astype(self.dtype)
        wish = code if self.modulated else None
        x = Conv(self.width, 3, dtype=self.dtype)(image.astype(self.dtype))
        features = []
        for i in range(self.scales):
            x = Block(self.width * 2**i, self.dtype)(x, wish)
            features.append(x)
            x = Conv(self.width * 2 ** (i + 1), 4, 2, dtype=self.dtype)(x)

        repeated = jnp.broadcast_to(code[:, None, None], (*x.shape[:3], self.code))
        x = Conv(x.shape[-1], 3, dtype=self.dtype)(jnp.concatenate([x, repeated], axis=-1))
        for _ in range(self.blocks):
            x = Block(x.shape[-1], self.dtype)(x, wish)

        # In units of one position of the residual blocks; zero at first.
        flow = self._head(x, 2, "flow") if self.moves else None
        pixels = None
        images = []
        for i in reversed(range(self.scales)):
            x = Conv(self.width * 2**i, 3, dtype=self.dtype)(double(x))
            if self.skips:
                x = jnp.concatenate([x, features[i]], axis=-1)
            x = Block(self.width * 2**i, self.dtype)(x, wish)
            if flow is not None and i > 0:
                flow = bilinear(flow, x.shape[1:3]) + self._head(x, 2, f"flow{i}") / 2
            if i < self.outputs:
                if flow is not None:
                    pixels = 2.0**self.scales * bilinear(flow, (image.shape[1], image.shape[2]))
                source = shrink(image if pixels is None else warp(image, pixels), i)
                painted = self._head(x, image.shape[-1], f"paint{i}")
                images.append(source + painted if self.residual else jnp.tanh(painted))
        return images, (mean, log_deviation), pixels

    def _head(self, x: jax.Array, channels: int, name: str) -> jax.Array:
        """Zero at first."""
        x = nn.relu(group_norm(x, self.dtype))
        return Conv(channels, 3, kernel_init=nn.initializers.zeros, dtype=self.dtype, name=name)(x).astype(jnp.float32)


def shrink(images: jax.Array, halvings: int) -> jax.Array:
    """Means over squares of 2^halvings pixels."""
    size = 2**halvings
    return nn.avg_pool(images, (size, size), (size, size)) if halvings else images
