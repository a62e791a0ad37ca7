"""What a sentence says: words in context, and their common space with pictures.

The bidirectional GRU of TAGAN (Nam et al., NeurIPS 2018) over a learned embedding of a closed vocabulary, and the
visual-semantic embedding of Kiros et al. (2014) by which Dong et al. (ICCV 2017) pre-train their text encoder.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.convolution import Conv
from eyegan_jax.tokeniser import PAD


class TextEncoder(nn.Module):
    """Tokens int32 ``[B, L]`` to word features ``[B, L, features]`` and which of them are words, bool ``[B, L]``.

    A word's feature is the mean of a forward and a backward GRU's states at it; neither ever sees padding.

    vocabulary: number of different tokens. embedding: length of a word's vector before its context.
    """

    vocabulary: int
    embedding: int = 64
    features: int = 128

    @nn.compact
    def __call__(self, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        present = tokens != PAD
        lengths = present.sum(-1)
        x = nn.Embed(self.vocabulary, self.embedding, name="embed")(tokens)
        # Zeros that vary over devices as x does, which shard_map asks of a loop's start.
        start = jnp.zeros((len(tokens), self.features), x.dtype) + 0.0 * x[:, 0, :1]
        # An orthogonal recurrent kernel would put a QR decomposition per gate into the compiled initialisation.
        init = nn.initializers.glorot_normal()
        both = [
            nn.RNN(nn.GRUCell(self.features, recurrent_kernel_init=init), reverse=reverse, keep_order=True, name=name)(
                x, seq_lengths=lengths, initial_carry=start
            )
            for name, reverse in (("forward", False), ("backward", True))
        ]
        return jnp.where(present[..., None], (both[0] + both[1]) / 2, 0.0), present


def mean_of_words(words: jax.Array, present: jax.Array) -> jax.Array:
    """The sentence ``[B, D]``: the mean over its words ``[B, L, D]``; 0 for a sentence without any."""
    return words.sum(1) / jnp.maximum(present.sum(-1, keepdims=True), 1)


START = -3.0
"""Log deviation of the sentence's Gaussian when training starts."""


class ConditioningAugmentation(nn.Module):
    """Sentence ``[B, D]`` to a Gaussian's mean and log deviation, both ``[B, features]`` (StackGAN, section 3.2).

    The sentence is normalised first and the Gaussian starts narrow: sentences of one grammar differ by a few words of
    many, which would drown in noise of deviation 1, and the painter would learn to ignore them.
    """

    features: int

    @nn.compact
    def __call__(self, sentence: jax.Array) -> tuple[jax.Array, jax.Array]:
        both = nn.leaky_relu(nn.Dense(2 * self.features)(nn.LayerNorm()(sentence)), 0.2)
        mean, log_deviation = jnp.split(both, 2, axis=-1)
        return mean, log_deviation + START


class ImageEmbedding(nn.Module):
    """Images ``[B, H, W, C]`` in [-1, 1] to vectors ``[B, features]`` in the space of sentences.

    In place of the VGG16 of Dong et al., which would be a download: strided convolutions, trained from scratch. The
    last map is read position by position: where something is, is part of what a sentence about an eye says.
    """

    features: int
    width: int = 32
    layers: int = 4
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = images.astype(self.dtype)
        for i in range(self.layers):
            x = nn.leaky_relu(Conv(self.width * min(2**i, 8), 4, 2, dtype=self.dtype)(x), 0.2)
        x = nn.leaky_relu(Conv(self.features // 2, 1, dtype=self.dtype)(x), 0.2)
        return nn.Dense(self.features, dtype=self.dtype)(x.reshape(len(x), -1)).astype(jnp.float32)
