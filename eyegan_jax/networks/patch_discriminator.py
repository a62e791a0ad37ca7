"""Seg2Eye's discriminator: does every patch of this image, at two scales, look real and fit its mask?

The multi-scale PatchGAN of pix2pixHD (Wang et al. 2018) as SPADE and Seg2Eye use it.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.convolution import Conv
from eyegan_jax.layers.normalisation import instance_statistics, normalise
from eyegan_jax.layers.spectral import SpectralConv
from eyegan_jax.networks.style_generator import leaky, one_hot, xavier


def halve(x):
    """Mean over 3x3 windows, stride 2; positions outside of the image do not count."""
    return nn.avg_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)), count_include_pad=False)


class PatchCritic(nn.Module):
    """One scale: ``[N, H, W, C]`` to the list of all feature maps, the logits ``[N, h, w, 1]`` last."""

    width: int
    layers: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        features = []
        for i in range(self.layers):
            maps, stride = self.width * min(2**i, 8), 2 if i < self.layers - 1 else 1
            if i == 0:
                x = self._plain(x, maps, stride, "model0")
            else:
                x = SpectralConv(maps, 4, stride, 2, False, self.dtype, xavier, name=f"model{i}")(x)
                x = normalise(x, *instance_statistics(x))
            x = leaky(x)
            features.append(x)
        return [*features, self._plain(x, 1, 1, f"model{self.layers}").astype(jnp.float32)]

    def _plain(self, x, maps, stride, name):
        padding = ((2, 2), (2, 2))
        return Conv(maps, 4, stride, padding, kernel_init=xavier, dtype=self.dtype, name=name)(x)


class PatchDiscriminator(nn.Module):
    """Masks ``[N, H, W]`` and images ``[N, H, W, C]`` to one list of features per scale, logits last.

    The defaults are the paper's: conv4x4 64 s2, 128 s2, 256 s2, 512 s1, 1 s1 at the full and at half the
    size; spectral and instance norm on the inner three; 5,531,778 parameters for 4 labels and gray images.

    width: maps of the first layer. layers: hidden layers; all but the last halve the size. scales: of the
        image.
    labels: mask classes. dtype: of the computation; parameters, statistics and logits are float32.
    """

    width: int = 64
    layers: int = 4
    scales: int = 2
    labels: int = 4
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, mask: jax.Array, image: jax.Array) -> list[list[jax.Array]]:
        x = jnp.concatenate([one_hot(mask, self.labels), image], axis=-1).astype(self.dtype)
        results = []
        for i in range(self.scales):
            results.append(PatchCritic(self.width, self.layers, self.dtype, name=f"discriminator_{i}")(x))
            if i < self.scales - 1:
                x = halve(x)
        return results
