"""Words to numbers and back, and what is said of words that are not known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyegan_jax.errors import UserError
from eyegan_jax.tokeniser import PAD, Tokeniser, words_of

WORDS = ("blue", "iris", "left", "pupil")
TOKENS = Tokeniser(WORDS, 5)


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5))
def test_round_trip(words):
    tokens = TOKENS.encode(" ".join(words))
    assert tokens.shape == (5,) and tokens.dtype == np.int32
    assert TOKENS.decode(tokens) == " ".join(words)
    assert list(tokens[len(words) :]) == [PAD] * (5 - len(words))
    assert TOKENS.size == 1 + len(WORDS) > tokens.max()


def test_punctuation_case_and_articles_mean_nothing():
    assert words_of('The blue, blue IRIS; "a pupil".') == ["blue", "blue", "iris", "pupil"]
    assert list(TOKENS.encode("A blue pupil!")) == [1, 4, 0, 0, 0]


@pytest.mark.parametrize(
    "text, message",
    [("", "expected words"), ("blue iriz", "did you mean 'iris'"), ("blue " * 6, "at most 5 words, found 6")],
)
def test_what_cannot_be_said(text, message):
    with pytest.raises(UserError, match=message):
        TOKENS.encode(text)


def test_foreign_captions_lose_unknown_words_only():
    assert (
        TOKENS.decode(TOKENS.encode_known("this bird has a blue iris, blue blue blue blue"))
        == "blue iris blue blue blue"
    )
    assert not TOKENS.encode_known("nothing known").any()
