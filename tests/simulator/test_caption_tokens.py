"""Sentences made on the device say what they should, and change what they should, in other words each time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax.errors import UserError
from eyegan_jax.simulator.caption_tokens import (
    CLAUSES,
    LENGTH,
    SIZES,
    TOKENISER,
    choose_clauses,
    falsify,
    mirrored_bins,
    mirrored_tokens,
    sentence,
)
from eyegan_jax.simulator.captions import ATTRIBUTES, UNSAID, drop_hidden, mirror_text, named, parse
from eyegan_jax.simulator.edits import EDITABLE, say_edit

COUNT = 200


def random_bins(seed, count=COUNT):
    rng = np.random.default_rng(seed)
    return np.asarray(drop_hidden(jnp.asarray(rng.integers(0, SIZES, (count, len(SIZES))))))


def keys(seed, count=COUNT):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(count))


def meaning(tokens):
    """What a sentence of tokens states, by the parser that knows nothing of tokens."""
    text = TOKENISER.decode(tokens)
    return parse(text)


@pytest.fixture(scope="module")
def sentences():
    numbers = random_bins(0)
    everything = jnp.ones(len(ATTRIBUTES), bool)

    @jax.jit
    @jax.vmap
    def make(key, numbers):
        mentioned = choose_clauses(key, numbers, everything, 1, CLAUSES)
        false = falsify(jax.random.fold_in(key, 1), numbers, mentioned)
        return mentioned, sentence(key, numbers, mentioned), false, sentence(key, false, mentioned)

    return numbers, *jax.device_get(make(keys(0), numbers))


def test_every_mentioned_clause_and_no_other_is_said(sentences):
    numbers, mentioned, tokens, _, _ = sentences
    assert tokens.shape == (COUNT, LENGTH)
    for bins, chosen, words in zip(numbers, mentioned, tokens, strict=True):
        said = named(bins)
        assert meaning(words) == {a: said[a] for a, m in zip(ATTRIBUTES, chosen, strict=True) if m}
        # Padding stands behind the words only.
        assert (np.diff((words != 0).astype(int)) <= 0).all()
    assert set(mentioned.sum(1)) == set(range(1, CLAUSES + 1))
    assert len({tuple(words) for words in tokens}) > 0.95 * COUNT


def test_numbers_and_tokens_in_a_mirror_say_what_words_do(sentences):
    numbers, _, tokens, _, _ = sentences
    flipped = jax.device_get(jax.vmap(mirrored_bins)(numbers))
    assert (flipped != numbers).any(0).sum() == 3  # yaw, the light's direction and the head's
    for bins, of_mirror, words, swapped in zip(numbers, flipped, tokens, mirrored_tokens(tokens), strict=True):
        assert named(of_mirror) == {a: mirror_text(said) for a, said in named(bins).items()}
        assert TOKENISER.decode(swapped) == mirror_text(TOKENISER.decode(words))


def test_a_wrong_sentence_differs_in_one_clause(sentences):
    numbers, mentioned, right, false, wrong = sentences
    different = false != numbers
    assert (different.sum(1) == 1).all() and (different & mentioned == different).all()
    assert ((false >= 0) & (false < SIZES))[mentioned].all()
    for i in range(COUNT):
        try:
            stated = meaning(wrong[i])
        except UserError as error:  # a falsehood may contradict the rest: a closed eye that looks left
            assert "true together" in str(error)
            continue
        own = meaning(right[i])
        assert stated.keys() == own.keys()
        assert sum(stated[a] != own[a] for a in own) == 1


def test_an_instruction_mentions_all_that_changes(sentences):
    before = random_bins(1)
    rng = np.random.default_rng(2)
    moved = rng.random(before.shape) < 0.12
    moved[:10] = False
    after = np.asarray(drop_hidden(jnp.asarray(np.where(moved, rng.integers(0, SIZES, before.shape), before))))
    said = jax.jit(jax.vmap(lambda k, b, a: say_edit(k, {"bins": b, "target_bins": a}, EDITABLE)))(
        keys(3), before, after
    )
    for i in range(COUNT):
        changed = {a: v for a, v in named(after[i]).items() if named(before[i]).get(a) != v and a in EDITABLE}
        stated = meaning(said["text"][i])
        assert len(changed) > CLAUSES or changed.items() <= stated.items()
        assert stated.items() <= named(after[i]).items()
        assert meaning(said["own"][i]).items() <= named(before[i]).items()
        told = named(said["text_bins"][i])
        assert len(told) > CLAUSES or told == stated
    assert UNSAID in before


def test_descriptions_are_as_long_as_requests_where_they_are_alike():
    """Otherwise the number of clauses tells which is which, and nobody needs to look at the picture."""
    before = random_bins(4)
    moved = np.random.default_rng(5).random(before.shape) < 0.08
    after = np.asarray(drop_hidden(jnp.asarray(np.where(moved, (before + 1) % SIZES, before))))

    def lengths(alike):
        say = jax.jit(jax.vmap(lambda k, b, a: say_edit(k, {"bins": b, "target_bins": a}, EDITABLE, alike)))
        said = say(keys(6), before, after)
        return [np.array([len(meaning(tokens)) for tokens in said[name]]) for name in ("text", "own")]

    asked, own = lengths(True)
    enough = np.array([len(set(named(b)) & set(EDITABLE)) for b in before]) >= asked
    assert enough.mean() > 0.9 and len(set(asked)) > 2
    np.testing.assert_array_equal(own[enough], asked[enough])
    asked, own = lengths(False)
    assert np.mean(own == asked) < 0.7 and own.max() == CLAUSES - 2
