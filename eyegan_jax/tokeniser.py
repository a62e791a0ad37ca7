"""Sentences as numbers, over a closed vocabulary."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eyegan_jax.errors import UserError

PAD = 0
"""Token behind the last word of a sentence; words count from 1."""

ARTICLES = ("a", "an", "the")


def words_of(text: str) -> list[str]:
    """The words that carry meaning: lower case, without punctuation and articles."""
    return [word for word in re.findall(r"[^\s,.;:!?\"()]+", text.lower()) if word not in ARTICLES]


@dataclass(frozen=True)
class Tokeniser:
    """Words to tokens and back; hashable.

    words: the vocabulary, in the order of its tokens 1, 2, ... length: tokens of every sentence.
    """

    words: tuple[str, ...]
    length: int

    @property
    def size(self) -> int:
        """Number of different tokens, with PAD."""
        return len(self.words) + 1

    def encode(self, text: str) -> np.ndarray:
        """int32 ``[length]``. Raises UserError for no words, an unknown one (with the nearest), and too many."""
        words, index = words_of(text), {word: i for i, word in enumerate(self.words, start=1)}
        if not words:
            raise UserError(f"text: expected words, found {text!r}")
        unknown = next((word for word in words if word not in index), None)
        if unknown is not None:
            near = difflib.get_close_matches(unknown, self.words, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise UserError(f"text: expected words of the {len(self.words)} known ones, found {unknown!r}{hint}")
        if len(words) > self.length:
            raise UserError(f"text: expected at most {self.length} words, found {len(words)}")
        tokens = np.full(self.length, PAD, np.int32)
        tokens[: len(words)] = [index[word] for word in words]
        return tokens

    def encode_known(self, text: str) -> np.ndarray:
        """int32 ``[length]`` of whatever words are known, cut to length: for captions that somebody else wrote."""
        known = set(self.words)
        words = [word for word in words_of(text) if word in known][: self.length]
        return self.encode(" ".join(words)) if words else np.full(self.length, PAD, np.int32)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The words of one sentence, without padding."""
        return " ".join(self.words[int(token) - 1] for token in np.asarray(tokens) if token != PAD)
