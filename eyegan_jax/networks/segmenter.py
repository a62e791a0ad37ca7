"""RITnet: the eye segmenter that won OpenEDS 2019 with 248,900 parameters.

Source: Chaudhary et al., "RITnet: Real-time Semantic Segmentation of the Eye for Gaze Tracking", ICCVW 2019.
"""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from eyegan_jax.layers.convolution import Conv
from eyegan_jax.layers.dropout import Dropout

_scaled = nn.initializers.variance_scaling


class RITnet(nn.Module):
    """A U-Net of densely connected blocks with the same few channels everywhere.

    ``__call__(image [B, H, W, C] in [-1, 1], train) -> logits [B, H, W, classes]`` in float32, for any H and W:
    the image is padded to a multiple of 2^(levels - 1) by repeating its edge and the logits are cropped back.

    levels: resolutions, 5 as published.
    axis_name: device axis over which batch statistics are averaged in training (global-batch statistics); None for
        calls outside of such an axis. Collections: ``params``, ``batch_stats``; training needs a ``dropout`` key.
    initialisation: "fan_out" is the publication's, N(0, 2 / (k k c_out)). As concatenations feed most layers more
        channels than they give, logits then start in the hundreds; "fan_in" keeps the variance of the input.
    dtype: of the convolutions; statistics and logits stay float32.
    """

    classes: int = 4
    features: int = 32
    levels: int = 5
    dropout: float = 0.2
    initialisation: Literal["fan_in", "fan_out"] = "fan_in"
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image, train: bool = False):
        height, width = image.shape[1:3]
        scale = 2 ** (self.levels - 1)
        below, right = -height % scale, -width % scale
        x = jnp.pad(image, ((0, 0), (0, below), (0, right), (0, 0)), mode="edge").astype(self.dtype)

        skips = []
        for level in range(self.levels):
            if level:
                x = nn.avg_pool(x, (2, 2), (2, 2))
            x = self._down(x, level, train)
            skips.append(x)
        for level, skip in enumerate(reversed(skips[:-1])):
            x = x.repeat(2, axis=1).repeat(2, axis=2)
            x = self._up(jnp.concatenate([x, skip], axis=-1), level, train)

        x = Dropout(self.dropout, name="head_dropout")(x, not train)
        logits = self._conv(self.classes, 1, "head")(x)
        return logits[:, :height, :width].astype(jnp.float32)

    def _conv(self, features, size, name):
        if self.initialisation == "fan_out":
            init = _scaled(2.0, "fan_out", "normal")
        else:  # Only the 3x3 convolutions are followed by an activation that halves the variance.
            init = _scaled(2.0 if size == 3 else 1.0, "fan_in", "normal")
        return Conv(features, size, dtype=self.dtype, kernel_init=init, name=name)

    def _dense(self, x, reduce, name, train):
        """``lrelu(dropout(conv3x3(x)))``; with ``reduce`` a 1x1 convolution first, nothing between the two."""
        if reduce:
            x = self._conv(self.features, 1, f"{name}_reduce")(x)
        x = self._conv(self.features, 3, name)(x)
        return nn.leaky_relu(Dropout(self.dropout, name=f"{name}_dropout")(x, not train), 0.01)

    def _down(self, x, level, train):
        name = f"down{level + 1}"
        a = self._dense(x, False, f"{name}_a", train)
        b = self._dense(jnp.concatenate([x, a], -1), True, f"{name}_b", train)
        c = self._dense(jnp.concatenate([x, a, b], -1), True, f"{name}_c", train)
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            axis_name=self.axis_name,
            dtype=self.dtype,
            name=f"{name}_norm",
        )(c)

    def _up(self, x, level, train):
        name = f"up{level + 1}"
        a = self._dense(x, True, f"{name}_a", train)
        return self._dense(jnp.concatenate([x, a], -1), True, f"{name}_b", train)
