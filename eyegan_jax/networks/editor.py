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
from eyegan_jax.layers.resizing import bilinear, double, warp
from eyegan_jax.networks.text_encoder import ConditioningAugmentation, mean_of_words


def group_norm(x: jax.Array, dtype: Any) -> jax.Array:
    """Few groups: statistics over large groups keep brightness and contrast."""
    return nn.GroupNorm(num_groups=math.gcd(8, x.shape[-1]), dtype=dtype)(x)


class ResidualBlock(nn.Module):
    """``x + norm conv relu norm conv(x)``, ``[B, h, w, D]``."""

    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = Conv(x.shape[-1], 3, use_bias=False, dtype=self.dtype)(x)
        y = nn.relu(group_norm(y, self.dtype))
        return x + group_norm(Conv(x.shape[-1], 3, use_bias=False, dtype=self.dtype)(y), self.dtype)


class Editor(nn.Module):
    """Image ``[B, H, W, C]`` in [-1, 1] and words to edited images, a list from coarse to fine, the last of full size.

    Step 1, the encoder: convolutions down to 1/2^scales, beside the sentence as a vector from conditioning augmentation
    that is repeated over all positions. Step 2, residual blocks relate the two; their result is added to the image's
    own features, which keeps what the sentence does not mention. Step 3, the decoder: nearest-neighbour doubling and
    convolutions. Height and width must be multiples of 2^scales.

    width: channels at full size, doubled by every scale. code: length of the sentence's vector. blocks: residual ones.
    outputs: images at full size and at this many minus 1 halvings (3 at 256 pixels: 64, 128, 256).
    skips: features of the encoder join the decoder at every scale. moves: before anything is painted the source's
        pixels move along a smooth flow, which the residual blocks say: an eye that looks elsewhere keeps its texture.
        residual: what is painted is the difference to that. All three are ours, and off in the baseline of 2017.
    """

    width: int = 32
    scales: int = 3
    code: int = 128
    blocks: int = 4
    outputs: int = 1
    skips: bool = True
    moves: bool = True
    residual: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, words: jax.Array, present: jax.Array, noise: jax.Array | None = None):
        """``noise [B, code]``: standard normal for training, None for use. Also returns the Gaussian (see
        :class:`~eyegan_jax.networks.text_encoder.ConditioningAugmentation`)."""
        mean, log_deviation = ConditioningAugmentation(self.code, name="augmentation")(mean_of_words(words, present))
        code = mean if noise is None else mean + jnp.exp(log_deviation) * noise

        x = nn.relu(Conv(self.width, 3, dtype=self.dtype)(image.astype(self.dtype)))
        features = []
        for i in range(self.scales):
            features.append(x)
            x = Conv(self.width * 2 ** (i + 1), 4, 2, use_bias=False, dtype=self.dtype)(x)
            x = nn.relu(group_norm(x, self.dtype))

        repeated = jnp.broadcast_to(code[:, None, None], (*x.shape[:3], self.code)).astype(self.dtype)
        y = Conv(x.shape[-1], 3, use_bias=False, dtype=self.dtype)(jnp.concatenate([x, repeated], axis=-1))
        y = nn.relu(group_norm(y, self.dtype))
        for _ in range(self.blocks):
            y = ResidualBlock(self.dtype)(y)
        x = x + y

        moved = image
        if self.moves:
            # In units of one position of the residual blocks; zero at first.
            flow = Conv(2, 3, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="flow")(x).astype(jnp.float32)
            moved = warp(image, 2.0**self.scales * bilinear(flow, (image.shape[1], image.shape[2])))

        images = []
        for i in reversed(range(self.scales)):
            x = double(x)
            if self.skips:
                x = jnp.concatenate([x, features[i]], axis=-1)
            x = Conv(self.width * 2**i, 3, use_bias=False, dtype=self.dtype)(x)
            x = nn.relu(group_norm(x, self.dtype))
            if i < self.outputs:
                images.append(self._paint(x, shrink(moved, i)))
        return images, (mean, log_deviation)

    def _paint(self, x: jax.Array, source: jax.Array) -> jax.Array:
        painted = Conv(source.shape[-1], 3, dtype=self.dtype)(x).astype(jnp.float32)
        return source + painted if self.residual else jnp.tanh(painted)


def shrink(images: jax.Array, halvings: int) -> jax.Array:
    """Means over squares of 2^halvings pixels."""
    size = 2**halvings
    return nn.avg_pool(images, (size, size), (size, size)) if halvings else images
