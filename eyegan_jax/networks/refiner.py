"""SimGAN's refiner R: makes a simulated eye look real without moving anything (Shrivastava et al. 2017, 3.1)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.activation import leaky_relu, relu
from eyegan_jax.layers.convolution import Conv, Padding, explicit_padding
from eyegan_jax.layers.normalisation import GroupNorm

ACTIVATIONS = {"relu": relu, "leaky_relu": leaky_relu, "elu": nn.elu, "silu": nn.silu}
NORMS = {"none": None, "instance": 1, "group": 8}
"""Channels per group. No batch normalisation: the refiner keeps no statistics across samples."""
FEATURES = "features"
"""Flax collection whose ``maps`` are the hidden maps, after the stem and after each block, for who asks for them."""


def normalise(kind: str, x: jax.Array) -> jax.Array:
    """Instance or group normalisation in float32, or nothing; call inside a compact module."""
    if NORMS[kind] is None:
        return x
    return GroupNorm(size=NORMS[kind], dtype=x.dtype)(x)


class Refiner(nn.Module):
    """Fully convolutional residual network, ``[B, H, W, C]`` in [-1, 1] to the same shape and range.

    The defaults are the paper's: 64 maps, 3x3, 4 ResNet blocks, 1x1 output; 296,129 parameters for C = 1 and a
    receptive field of 19 pixels. The paper leaves activation placement and output nonlinearity open; here ReLU
    follows every convolution but the last and every residual addition, as in most re-implementations.

    width: feature maps of every hidden layer.
    blocks: ResNet blocks of two convolutions each (10 in the NYU-hand network).
    stem_kernel: size of the first filter (7 in the NYU-hand network).
    activation: a name in ACTIVATIONS.
    norm: "none" (paper), "instance" or "group", before each activation of the blocks.
    padding: "explicit" (the same pixels on both sides), "SAME" or "VALID". "VALID" is refused: it would shrink
        the image.
    output: "tanh" (re-implementations), "linear", or "residual": ``tanh(artanh(x) + net(x))``, which starts as the
        identity (the last kernel starts at zero) and can reach black and white but never leave the range.
    dtype: of the computation; parameters stay float32.
    """

    width: int = 64
    blocks: int = 4
    stem_kernel: int = 3
    activation: str = "relu"
    norm: str = "none"
    padding: Padding = "explicit"
    output: str = "tanh"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        if self.padding == "VALID":
            raise ValueError("the refiner keeps the image size: padding must be 'explicit' or 'SAME'")
        act = ACTIVATIONS[self.activation]

        def conv(x, features, kernel, name):
            return Conv(features, kernel, padding=explicit_padding(self.padding, kernel), dtype=self.dtype, name=name)(
                x
            )

        def keep(maps):
            # Not while initialising: maps are no parameters.
            if not self.is_initializing():
                self.sow(FEATURES, "maps", maps)

        x = act(conv(images.astype(self.dtype), self.width, self.stem_kernel, "stem"))
        keep(x)
        for block in range(self.blocks):
            hidden = act(normalise(self.norm, conv(x, self.width, 3, f"block{block}_conv0")))
            hidden = normalise(self.norm, conv(hidden, self.width, 3, f"block{block}_conv1"))
            x = act(x + hidden)
            keep(x)
        zero_start = self.output == "residual"
        head = Conv(
            images.shape[-1],
            1,
            dtype=self.dtype,
            kernel_init=nn.initializers.zeros if zero_start else nn.initializers.glorot_uniform(),
            name="head",
        )
        x = head(x).astype(jnp.float32)
        if self.output == "tanh":
            return jnp.tanh(x)
        if self.output == "residual":
            # Just inside the range, where artanh is finite; 8 bits do not see the difference.
            return jnp.tanh(jnp.arctanh(jnp.clip(images, -0.998, 0.998)) + x)
        return x
