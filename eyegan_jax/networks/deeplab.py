"""DeepLabv3+ on a dilated ResNet: the network of the OpenEDS synthesis winner, for residuals and for masks.

Source: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018;
the residual network is He et al., CVPR 2016.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.convolution import Conv, convolve, explicit_padding
from eyegan_jax.layers.dropout import Dropout
from eyegan_jax.layers.pooling import max_pool
from eyegan_jax.layers.resizing import bilinear

_he = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
# A residual that starts large saturates the clipped image, where there is no gradient.
_small = nn.initializers.variance_scaling(1e-4, "fan_in", "normal")


class DeepLab(nn.Module):
    """``__call__(image [B, H, W, C], train) -> [B, H, W, outputs]`` float32, of any H and W.

    The decoder works at a quarter of the resolution and is interpolated bilinearly with the corner pixels aligned: the
    output is smooth. With the defaults and 3 input channels 59,339,169 parameters for one output, 59,339,940 for four.

    stages: bottleneck blocks of the four stages; (3, 4, 23, 3) is ResNet-101.
    width: channels of the stem. pyramid: channels of the atrous pyramid and the decoder.
    axis_name: device axis over which batch statistics are averaged in training. Collections ``params``,
        ``batch_stats``; training needs a ``dropout`` key.
    """

    outputs: int = 1
    stages: Sequence[int] = (3, 4, 23, 3)
    width: int = 64
    pyramid: int = 256
    dropout: float = 0.5
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = False) -> jax.Array:
        height, width = image.shape[1:3]
        x = self._unit(image.astype(self.dtype), self.width, 7, "stem", train, stride=2)
        x = max_pool(x, 3, 2, ((1, 1), (1, 1)))
        # The last stage keeps the stride of 16 and widens its reach instead, by 1, 2 and 4 times two.
        details = None
        for stage, blocks in enumerate(self.stages):
            for block in range(blocks):
                stride = 2 if stage in (1, 2) and block == 0 else 1
                dilation = 2 * 2 ** min(block, 2) if stage == 3 else 1
                name = f"stage{stage + 1}_{block + 1}"
                x = self._bottleneck(x, self.width * 2**stage, stride, dilation, name, train)
            details = x if stage == 0 else details

        x = self._atrous_pyramid(x, train)
        details = self._unit(details, 3 * self.width // 4, 1, "details", train)
        quarter = (details.shape[1], details.shape[2])
        x = jnp.concatenate([bilinear(x, quarter, align_corners=True), details], axis=-1)
        x = self._drop(self._unit(x, self.pyramid, 3, "decoder1", train), self.dropout, train, "decoder1_dropout")
        x = self._drop(self._unit(x, self.pyramid, 3, "decoder2", train), self.dropout / 5, train, "decoder2_dropout")
        x = Conv(self.outputs, 1, dtype=self.dtype, kernel_init=_small, name="head")(x)
        return bilinear(x.astype(jnp.float32), (height, width), align_corners=True)

    def _unit(self, x, features, kernel, name, train, stride=1, dilation=1, active=True):
        """Convolution without bias, batch norm, ReLU."""
        padding = tuple((dilation * low, dilation * high) for low, high in explicit_padding("explicit", kernel))
        x = nn.Conv(
            features,
            (kernel, kernel),
            (stride, stride),
            padding,
            kernel_dilation=dilation,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=_he,
            conv_general_dilated=convolve,
            name=name,
        )(x)
        x = nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis_name, dtype=self.dtype, name=f"{name}_norm")(x)
        return nn.relu(x) if active else x

    def _bottleneck(self, x, features, stride, dilation, name, train):
        y = self._unit(x, features, 1, f"{name}_a", train)
        y = self._unit(y, features, 3, f"{name}_b", train, stride, dilation)
        y = self._unit(y, 4 * features, 1, f"{name}_c", train, active=False)
        if x.shape != y.shape:
            x = self._unit(x, 4 * features, 1, f"{name}_shortcut", train, stride, active=False)
        return nn.relu(x + y)

    def _atrous_pyramid(self, x, train):
        branches = [self._unit(x, self.pyramid, 1, "pyramid1", train)]
        for rate in (6, 12, 18):
            branches.append(self._unit(x, self.pyramid, 3, f"pyramid{rate}", train, dilation=rate))
        whole = self._unit(x.mean((1, 2), keepdims=True), self.pyramid, 1, "pyramid_image", train)
        branches.append(jnp.broadcast_to(whole, branches[0].shape))
        x = self._unit(jnp.concatenate(branches, axis=-1), self.pyramid, 1, "pyramid", train)
        return self._drop(x, self.dropout, train, "pyramid_dropout")

    def _drop(self, x, rate, train, name):
        return Dropout(rate, name=name)(x, not train)
