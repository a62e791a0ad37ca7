"""SimGAN's discriminator D: is this patch refined or real? (Shrivastava et al. 2017, 2.2 and 3.1)"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.convolution import Conv, Padding, explicit_padding
from eyegan_jax.layers.pooling import max_pool
from eyegan_jax.networks.refiner import ACTIVATIONS, normalise

LayerSpec = tuple[int, int, int]
"""(feature maps, kernel size, stride)"""

GAZE = ((96, 3, 2), (64, 3, 2))
HAND = ((96, 7, 4), (64, 5, 2))


class Discriminator(nn.Module):
    """Local discriminator: ``[B, H, W, C]`` to logits ``[B, h, w, 2]``, one pair per patch.

    Logit 1 says "refined" (synthetic, target 1), logit 0 says "real" (target 0), as in the paper. The logits are
    linear. The defaults are the paper's gaze network: conv3x3 s2 96, conv3x3 s2 64, max-pool 3x3 s1, conv3x3 32,
    conv1x1 32, conv1x1 2: 75,906 parameters for C = 1, 9x14 = 126 patches for 35x55, receptive field 23 pixels.

    stem: layers before the pooling, (maps, kernel, stride) each.
    pool_stride: stride of the 3x3 max-pooling (2 in the NYU-hand network).
    neck: the 3x3 layer behind the pooling (stride 2 in the NYU-hand network).
    padding: "explicit" (PyTorch's symmetric padding; what the paper's 9x14 map needs), "SAME" (Keras) or "VALID"
        (5x5 = 25 patches of the NYU-hand network at 224x224).
    decision: "local" (the paper) or "global" (one pair of logits for the whole image, the paper's ablation).
    """

    stem: tuple[LayerSpec, ...] = GAZE
    pool_stride: int = 1
    neck: LayerSpec = (32, 3, 1)
    activation: str = "relu"
    norm: str = "none"
    padding: Padding = "explicit"
    decision: str = "local"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        act = ACTIVATIONS[self.activation]

        def layer(x, spec, name):
            features, kernel, stride = spec
            conv = Conv(features, kernel, stride, explicit_padding(self.padding, kernel), dtype=self.dtype, name=name)
            return act(normalise(self.norm, conv(x)))

        x = images.astype(self.dtype)
        for i, spec in enumerate(self.stem):
            x = layer(x, spec, f"stem{i}")
        x = max_pool(x, 3, self.pool_stride, explicit_padding(self.padding, 3))
        x = layer(x, self.neck, "neck")
        x = act(Conv(32, 1, dtype=self.dtype, name="mix")(x))
        if self.decision == "global":
            logits = nn.Dense(2, dtype=self.dtype, name="logit")(x.reshape(x.shape[0], -1))
            return logits.astype(jnp.float32)[:, None, None, :]
        return Conv(2, 1, dtype=self.dtype, name="logits")(x).astype(jnp.float32)
