"""Does a picture look real, and does it show what a sentence says? The discriminators of text-guided editing.

The text-adaptive local discriminator of TAGAN (Nam et al., NeurIPS 2018): every word brings its own small classifiers
of the image's features at several scales. Published code of a successor rebuilds the word-level score as a constant, so
that nothing learns from it; here it is a plain function of image and words, and a test holds the gradient.
"""

from typing import Any, Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from eyegan_jax.errors import UserError
from eyegan_jax.layers.spectral import SpectralConv
from eyegan_jax.networks.text_encoder import mean_of_words

LARGEST_LOG = -1e-6
"""log D is kept this far below 0, where log(1 - D) is infinite."""


class Verdict(flax.struct.PyTreeNode):
    """What one discriminator says of images and sentences.

    patches: logits ``[B, h, w, 1]`` of "this patch is of a real picture", or None.
    fits, fits_not: ``log D`` and ``log(1 - D)`` of "the picture shows what the sentence says", ``[B]``, at most 0.
    """

    patches: jax.Array | None
    fits: jax.Array
    fits_not: jax.Array


def log_one_minus_exp(x: jax.Array) -> jax.Array:
    """``log(1 - e^x)`` for x < 0, exact near 0 and far from it (Maechler 2012)."""
    near = x > -0.693
    # Both branches are differentiated, so each has to be finite where the other is meant.
    return jnp.where(
        near, jnp.log(-jnp.expm1(jnp.where(near, x, -0.693))), jnp.log1p(-jnp.exp(jnp.where(near, -1.0, x)))
    )


def word_score(features: list[jax.Array], heads: jax.Array, levels: jax.Array, weights: jax.Array) -> jax.Array:
    """``log D = sum_w a_w log sum_i beta_wi sigmoid(W_wi . v_i + b_wi)``, ``[B]`` (TAGAN, section 3.2).

    The product over words of p^a, in log space throughout: no clamp of probabilities is needed.

    features: ``v_i [B, C_i]`` per level. heads: ``[B, L, sum_i (C_i + 1)]``, per word and level W, b. levels: logits
    of beta ``[B, L, levels]``. weights: ``a [B, L]``, summing to 1, 0 for padding.
    """
    scores, start = [], 0
    for v in features:
        size = v.shape[-1]
        kernel, bias = heads[..., start : start + size], heads[..., start + size]
        scores.append(jnp.einsum("blc,bc->bl", kernel, v) + bias)
        start += size + 1
    per_level = jax.nn.log_softmax(levels) + jax.nn.log_sigmoid(jnp.stack(scores, axis=-1))
    return jnp.sum(weights * jax.nn.logsumexp(per_level, axis=-1), axis=-1)


def word_attention(words: jax.Array, present: jax.Array) -> jax.Array:
    """``a_w = softmax_w(u_w . mean u)``, ``[B, L]``, over the words that are there; zeros without any."""
    sentence = mean_of_words(words, present)
    scores = jnp.einsum("bld,bd->bl", words, sentence) / jnp.sqrt(words.shape[-1])
    weights = jax.nn.softmax(jnp.where(present, scores, -1e9))
    return jnp.where(present, weights, 0.0)


class TextCritic(nn.Module):
    """Images ``[B, H, W, C]`` in [-1, 1] and words ``[B, L, D]``, ``present [B, L]``, to a :class:`Verdict`.

    width: channels after the first strided layer, doubled by each up to 8 times. layers: strided convolutions with
    spectral norm; the last three are the levels that words look at.
    conditional: "words" (TAGAN), or "sentence": the sentence's vector is repeated over the last map and joined to it
    (Dong et al. 2017). patches: judge patches of the picture without the sentence, too.
    """

    width: int = 32
    layers: int = 4
    conditional: Literal["words", "sentence"] = "words"
    patches: bool = True
    code: int = 128
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, words: jax.Array, present: jax.Array) -> Verdict:
        def conv(x, features, kernel, stride, padding, name):
            return SpectralConv(features, kernel, stride, padding, dtype=self.dtype, name=name)(x)

        x, maps = images.astype(self.dtype), []
        for i in range(self.layers):
            x = nn.leaky_relu(conv(x, self.width * min(2**i, 8), 4, 2, 1, f"down{i}"), 0.2)
            maps.append(x)
        patches = None
        if self.patches:
            # Judged at the scale before the last: patches, not the whole picture.
            patches = conv(maps[max(0, len(maps) - 2)], 1, 3, 1, 1, "real").astype(jnp.float32)
        if self.conditional == "words":
            return self._by_words(maps[-3:], words, present, patches)
        if self.conditional != "sentence":
            raise UserError(f"critic.conditional: expected 'words' or 'sentence', found {self.conditional!r}")
        sentence = nn.leaky_relu(nn.Dense(self.code, name="sentence")(mean_of_words(words, present)), 0.2)
        repeated = jnp.broadcast_to(sentence[:, None, None], (*x.shape[:3], self.code)).astype(self.dtype)
        joined = jnp.concatenate([x, repeated], axis=-1)
        joined = nn.leaky_relu(conv(joined, x.shape[-1], 1, 1, 0, "join"), 0.2)
        joined = nn.LayerNorm(epsilon=1e-8, name="norm")(joined.reshape(len(joined), -1).astype(jnp.float32))
        logits = nn.Dense(1, name="fits")(joined)[:, 0]
        return Verdict(patches, jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits))

    def _by_words(self, maps, words, present, patches) -> Verdict:
        """Every level is read once more by a convolution of its own, averaged over positions and normalised.

        Layers of spectral norm 1 shrink what passes through them: without the normalisation the words' classifiers
        would all say 1/2 for thousands of steps.
        """
        features = []
        for i, x in enumerate(maps):
            conv = SpectralConv(x.shape[-1], 3, 1, 1, dtype=self.dtype, name=f"local{i}")
            pooled = jnp.mean(nn.leaky_relu(conv(x), 0.2).astype(jnp.float32), axis=(1, 2))
            features.append(nn.LayerNorm(epsilon=1e-8, name=f"norm{i}")(pooled))
        heads = nn.Dense(sum(f.shape[-1] + 1 for f in features), name="heads")(words)
        levels = nn.Dense(len(features), name="levels")(words)
        score = jnp.minimum(word_score(features, heads, levels, word_attention(words, present)), LARGEST_LOG)
        return Verdict(patches, score, log_one_minus_exp(score))
