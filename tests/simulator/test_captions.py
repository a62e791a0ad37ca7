"""Captions say what the parameters are, and nothing is lost on the way back."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from eyes import eyes, one

from eyegan_jax.errors import UserError
from eyegan_jax.simulator import View
from eyegan_jax.simulator.captions import (
    GRAMMAR,
    VOCABULARY,
    bins,
    caption,
    captions,
    delta_caption,
    mirror_text,
    parse,
)
from eyegan_jax.simulator.labels import picture_bins

any_bins = st.fixed_dictionaries({name: st.sampled_from(sorted(names)) for name, names in GRAMMAR.items()})


@given(any_bins, st.integers(0, 2**31))
def test_every_stated_clause_is_recovered(found, seed):
    text = caption(found, seed)
    parsed = parse(text)
    assert len(parsed) >= 2
    assert all(found[name] == value for name, value in parsed.items())
    assert caption(found, seed) == text
    # The order of clauses carries no meaning.
    assert parse(", ".join(reversed(text.split(", ")))) == parsed
    assert parse(caption(found, seed, chance=1.0)) == found
    assert set(text.replace(",", "").split()) <= set(VOCABULARY)


@given(any_bins, any_bins, st.integers(0, 2**31))
def test_delta_states_exactly_what_changed(before, after, seed):
    text = delta_caption(before, after, seed)
    assert parse(text) == {name: after[name] for name in after if before[name] != after[name]}


@given(any_bins, st.integers(0, 2**31))
def test_mirroring_the_words_mirrors_the_bins(found, seed):
    text = caption(found, seed, chance=1.0)
    swapped = {name: mirror_text(value) for name, value in found.items()}
    assert parse(mirror_text(text)) == swapped
    assert mirror_text(mirror_text(text)) == text


def test_no_phrase_means_two_things():
    phrases = [p for names in GRAMMAR.values() for synonyms in names.values() for p in synonyms]
    assert len(phrases) == len(set(phrases))
    with pytest.raises(UserError, match="purple"):
        parse("purple iris")


@pytest.mark.parametrize(
    "pitch,yaw,expected",
    [
        (0, 3.9, ("level", "straight ahead")),
        (0, 4.1, ("level", "slightly left")),
        (0, -11.9, ("level", "slightly right")),
        (0, -12.1, ("level", "right")),
        (0, 22.1, ("level", "far left")),
        (4.1, 0, ("slightly up", "straight ahead")),
        (-10.1, 0, ("down", "straight ahead")),
        (18.1, 0, ("far up", "straight ahead")),
    ],
)
def test_gaze_thresholds_and_signs(pitch, yaw, expected):
    subjects, captures, pictures = eyes()
    capture = one(captures, 0).replace(gaze=np.deg2rad([pitch, yaw]))
    found = picture_bins(one(subjects, 0), capture, one(pictures, 0), View(48, 72))
    assert (found["gaze pitch"], found["gaze yaw"]) == expected


def test_infrared_says_nothing_of_colour():
    subjects, captures, pictures = eyes()
    view = View(48, 72, look="infrared")
    found = [picture_bins(one(subjects, k), one(captures, k), one(pictures, k), view) for k in range(16)]
    assert all(not {"iris", "skin", "tint", "light"} & set(f) and f["camera"] == "near infrared" for f in found)
    seen = [picture_bins(one(subjects, k), one(captures, k), one(pictures, k), View(48, 72)) for k in range(16)]
    assert len({f["iris"] for f in seen}) > 1
    assert {"pupil", "lid", "skin"} <= set(seen[0])
    assert bins.__doc__
    assert len(set(captions(seen[0], 3, 8))) > 4
