"""Seg2Eye's style encoder: what a person's eye looks like, from any number of pictures of it.

Source: Buehler et al., ICCVW 2019. The released encoder is nearly blind to brightness and contrast (instance
normalisation right behind its first, bias-free convolution cancels both) and lost its activations in a
rewrite; the default here has neither defect, ``released=True`` both.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.errors import UserError
from eyegan_jax.layers.normalisation import instance_statistics, normalise
from eyegan_jax.layers.resizing import bilinear
from eyegan_jax.layers.spectral import SpectralConv
from eyegan_jax.networks.style_generator import leaky, xavier

FINAL = 4
"""Height and width of the last feature map."""


class StyleEncoder(nn.Module):
    """References ``[N, k, H, W, C]`` to a style ``[N, code]`` and aggregated features of every layer.

    Every reference is resized to ``size`` x ``size`` and passes conv3x3 s2 layers (spectral norm, instance
    norm) down to 4x4; a linear layer reads the code. References are aggregated over k independently of their
    order. Returns ``(style, features)`` with ``features`` a list of ``[N, h, w, c]``, from fine to coarse,
    float32.

    width: maps of the first layer, doubled up to 8 times in each of the next.
    code: length of the style code.
    size: a power of two, 8 or more; 256 gives the paper's six layers.
    aggregate: "max" (the paper's final runs), "mean", or "attention": weights by a learned score of each
        reference (softmax over k), so that a blink or a blurred picture can count less.
    released: the released code to the letter: no activations between the layers, and the unused variance
        head. 6,529,632 parameters at the default sizes. Otherwise the first layer is not normalised and the
        code also reads mu(r) and sigma(r) of its activations, which hold brightness and contrast.
    dtype: of the convolutions; parameters, statistics and results are float32.
    """

    width: int = 64
    code: int = 16
    size: int = 256
    aggregate: str = "max"
    released: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, references: jax.Array, present: jax.Array | None = None):
        """``present``: bool ``[N, k]``, which references exist (at least one each); all where it is None."""
        if self.size < 8 or self.size & (self.size - 1):
            raise UserError(f"encoder.size: expected a power of two, 8 or more, found {self.size}")
        batch, count, *_, channels = references.shape
        x = references.reshape(-1, *references.shape[2:4], channels)
        x = bilinear(x, (self.size, self.size))
        features, brightness = [], []
        layers = (self.size // FINAL).bit_length() - 1
        for i in range(layers):
            maps = self.width * min(2**i, 8)
            x = SpectralConv(maps, 3, 2, 1, False, self.dtype, xavier, name=f"layer{i}")(x)
            statistics = instance_statistics(x)
            if i == 0 and not self.released:
                brightness = [s.reshape(batch * count, -1) for s in statistics]
            else:
                x = normalise(x, *statistics)
            features.append(x.astype(jnp.float32))
            if i == layers - 1 or not self.released:
                x = leaky(x)
        flat = jnp.concatenate([x.reshape(batch * count, -1).astype(jnp.float32), *brightness], axis=-1)

        head = nn.Dense(self.code, kernel_init=xavier, name="fc_mu")
        codes = head(flat)
        if self.released:
            nn.Dense(self.code, kernel_init=xavier, name="fc_var")(flat)

        scores = nn.Dense(1, kernel_init=xavier, name="score")(flat) if self.aggregate == "attention" else None
        weights = self._weights(batch, count, present, scores)
        gather = self._maximum if self.aggregate == "max" else self._weighted_sum
        style, *features = (gather(f.reshape(batch, count, *f.shape[1:]), weights) for f in (codes, *features))
        return style, features

    def _weights(self, batch, count, present, scores):
        """Weights ``[N, k]`` that sum to 1 over the references that exist."""
        scores = jnp.zeros((batch, count)) if scores is None else scores.reshape(batch, count)
        if present is not None:
            scores = jnp.where(present, scores, -jnp.inf)
        return jax.nn.softmax(scores, axis=1)

    @staticmethod
    def _weighted_sum(values, weights):
        return jnp.einsum("nk,nk...->n...", weights, values)

    @staticmethod
    def _maximum(values, weights):
        exists = (weights > 0).reshape(weights.shape + (1,) * (values.ndim - 2))
        return jnp.max(jnp.where(exists, values, -jnp.inf), axis=1)
