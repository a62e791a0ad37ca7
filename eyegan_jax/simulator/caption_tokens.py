"""Captions as tokens, made on the device: the grammar of :mod:`eyegan_jax.simulator.captions` as arrays.

Words, synonyms, order and the filling words between clauses are drawn inside the compiled step, so that training on the
simulator needs no work of the host. Every function is for one sentence; ``jax.vmap`` makes many.
"""

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.simulator.captions import ATTRIBUTES, BINS, GRAMMAR, UNSAID, VOCABULARY, mirror_text
from eyegan_jax.tokeniser import PAD, Tokeniser, words_of

LENGTH = 32
"""Tokens of a sentence: room for six clauses."""

TOKENISER = Tokeniser(VOCABULARY, LENGTH)
CLAUSES = 6
"""Most clauses of one sentence."""


def _phrase_table() -> tuple[np.ndarray, np.ndarray]:
    """Tokens ``[A, bins, synonyms, words]`` of every phrase, PAD where there is none, and synonyms ``[A, bins]``."""
    phrases = [[GRAMMAR[a][name] for name in names] for a, names in BINS.items()]
    most = [len(phrases), max(map(len, phrases)), max(len(s) for names in phrases for s in names)]
    longest = max(len(words_of(p)) for names in phrases for synonyms in names for p in synonyms)
    tokens = np.full((*most, longest), PAD, np.int32)
    counts = np.ones(most[:2], np.int32)
    known = Tokeniser(VOCABULARY, longest)
    for a, names in enumerate(phrases):
        for b, synonyms in enumerate(names):
            counts[a, b] = len(synonyms)
            for s, phrase in enumerate(synonyms):
                tokens[a, b, s] = known.encode(phrase)
    return tokens, counts


TOKENS, SYNONYMS = _phrase_table()
SIZES = np.array([len(names) for names in BINS.values()], np.int32)
"""Number of bins of every attribute."""


def _mirrored_bins() -> np.ndarray:
    """``[A, bins]``: the number of every bin in the picture flipped left to right, -1 where an attribute has fewer."""
    numbers = np.full((len(BINS), SIZES.max()), UNSAID, np.int32)
    for a, names in enumerate(BINS.values()):
        numbers[a, : len(names)] = [names.index(mirror_text(name)) for name in names]
    return numbers


MIRRORED_BINS = _mirrored_bins()

OPENINGS = np.stack([Tokeniser(VOCABULARY, 3).encode_known(t) for t in ("", "", "same eye", "same eye now", "now")])
SAME_EYE = OPENINGS[2]
JOINTS = np.concatenate([Tokeniser(VOCABULARY, 1).encode_known(text) for text in ("", "", "and", "with")])


# One draw of uniform numbers per function: a dozen small draws would take longer to compile than a network.


def choose_clauses(
    key: jax.Array, numbers: jax.Array, allowed: jax.Array, least: int | jax.Array, most: int | jax.Array
) -> jax.Array:
    """Which attributes to mention: bool ``[A]``, ``least`` to ``most`` of those that are said and ``allowed [A]``."""
    u = jax.random.uniform(key, (len(ATTRIBUTES) + 1,))
    count = least + (u[-1] * (most + 1 - least)).astype(int)
    return first_few(u[:-1], (numbers != UNSAID) & allowed, count)


def first_few(score: jax.Array, candidates: jax.Array, count) -> jax.Array:
    """The ``count`` of the ``candidates`` with the least ``score``, bool ``[A]``, or all of them if there are fewer."""
    rank = jnp.argsort(jnp.argsort(jnp.where(candidates, score, jnp.inf)))
    return candidates & (rank < count)


def sentence(key: jax.Array, numbers: jax.Array, mentioned: jax.Array) -> jax.Array:
    """A random sentence, int32 ``[LENGTH]``, that states the bins ``numbers [A]`` of the attributes ``mentioned [A]``.

    Up to CLAUSES of them are said, in random order; none gives "same eye". UNSAID attributes must not be mentioned.
    """
    u = jax.random.uniform(key, (len(ATTRIBUTES) + 2 * CLAUSES + 1,))
    score, for_phrase, for_joint, for_opening = jnp.split(u, np.cumsum([len(ATTRIBUTES), CLAUSES, CLAUSES]))
    order = jnp.argsort(jnp.where(mentioned, score, jnp.inf))[:CLAUSES]
    chosen = numbers[order]
    synonym = (for_phrase * jnp.asarray(SYNONYMS)[order, chosen]).astype(int)
    phrases = jnp.asarray(TOKENS)[order, chosen, synonym]
    joints = jnp.asarray(JOINTS)[(for_joint * len(JOINTS)).astype(int)]
    joints = jnp.where(jnp.arange(CLAUSES) == 0, PAD, joints)
    body = jnp.where(mentioned[order][:, None], jnp.concatenate([joints[:, None], phrases], axis=1), PAD)
    opening = jnp.asarray(OPENINGS)[(for_opening[0] * len(OPENINGS)).astype(int)]
    opening = jnp.where(mentioned.any(), opening, SAME_EYE)
    words = jnp.concatenate([opening, body.reshape(-1)])
    # The words together, padding behind them.
    return words[jnp.argsort(words == PAD, stable=True)][:LENGTH]


def falsify(key: jax.Array, numbers: jax.Array, mentioned: jax.Array) -> jax.Array:
    """``numbers [A]`` with another bin for one random attribute of those ``mentioned [A]``."""
    score, u = jax.random.uniform(key, (2, len(ATTRIBUTES)))
    # A shift by 1 to size - 1 is any other bin with the same probability.
    shift = 1 + (u * (SIZES - 1)).astype(int)
    return jnp.where(first_few(score, mentioned, 1), (numbers + shift) % jnp.asarray(SIZES), numbers)


def mirrored_bins(numbers: jax.Array) -> jax.Array:
    """Bin numbers ``[A]`` of the picture flipped left to right; UNSAID stays."""
    flipped = jnp.asarray(MIRRORED_BINS)[jnp.arange(len(ATTRIBUTES)), jnp.maximum(numbers, 0)]
    return jnp.where(numbers == UNSAID, UNSAID, flipped)


def mirrored_tokens(tokens: np.ndarray) -> np.ndarray:
    """:func:`~eyegan_jax.simulator.captions.mirror_text` of sentences as tokens of any shape."""
    left, right = TOKENISER.encode("left right")[:2]
    return np.where(tokens == left, right, np.where(tokens == right, left, tokens))


def attribute_mask(names) -> np.ndarray:
    """bool ``[A]``: which attributes are among ``names``."""
    return np.array([attribute in names for attribute in ATTRIBUTES])
