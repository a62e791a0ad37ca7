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
    HIDDEN,
    VOCABULARY,
    asked_in_turn,
    bins,
    caption,
    captions,
    delta_caption,
    mirror_text,
    parse,
    spelled_out,
)
from eyegan_jax.simulator.labels import parameters_by_name, picture_bins
from eyegan_jax.tokeniser import ARTICLES


def possible(found):
    """Without what the other bins hide."""
    hidden = {a for (cause, name), attributes in HIDDEN.items() if found[cause] == name for a in attributes}
    return {name: value for name, value in found.items() if name not in hidden}


any_bins = st.fixed_dictionaries({name: st.sampled_from(sorted(names)) for name, names in GRAMMAR.items()}).map(
    possible
)


@given(any_bins, st.integers(0, 2**31))
def test_every_stated_clause_is_recovered(found, seed):
    text = caption(found, seed)
    parsed = parse(text)
    assert len(parsed) >= 2
    assert all(found[name] == value for name, value in parsed.items())
    assert caption(found, seed) == text
    assert spelled_out(text).split() == [word for word in text.replace(",", "").split() if word not in ARTICLES]
    # The order of clauses carries no meaning.
    assert parse(", ".join(reversed(text.split(", ")))) == parsed
    assert parse(caption(found, seed, chance=1.0)) == found
    assert set(text.replace(",", "").split()) <= {*VOCABULARY, *ARTICLES}
    # Filling words and missing commas change nothing.
    assert parse("The same eye, now with " + text.replace(", ", " and ")) == parsed


@given(any_bins, st.integers(0, 2**31))
def test_what_is_asked_in_turn_states_what_the_sentence_states_and_turns_the_eye_before_it_sets_its_lids(found, seed):
    text = caption(found, seed)
    stated = parse(text)
    each = [parse(one) for one in asked_in_turn(text)]
    assert all(one.items() <= stated.items() for one in each)
    if len(each[0]) > 1:
        opened = each.pop(0)  # all that closed lids would hide, at once, for an eye that opens is invented
        assert opened.keys() == stated.keys() & {"lid", "gaze yaw", "gaze pitch", "iris", "pupil"}
        assert "lid" in opened
    else:
        assert "lid" not in stated or not stated.keys() & {"gaze yaw", "gaze pitch", "iris", "pupil"}
    assert all(len(one) == 1 for one in each)
    order = list(GRAMMAR)
    assert [name for one in each for name in one] == sorted(stated, key=order.index)
    assert order.index("gaze pitch") < order.index("lid")
    assert asked_in_turn("The same eye") == ["The same eye"]


@given(any_bins, any_bins, st.integers(0, 2**31))
def test_delta_states_exactly_what_changed(before, after, seed):
    text = delta_caption(before, after, seed)
    assert parse(text) == {name: after[name] for name in after if before.get(name) != after[name]}


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
    "text,message",
    [
        ("", "found no words"),
        (" , ", "found no words"),
        ("blu iris", "found 'blu' .did you mean 'blue'"),
        ("looking left and iris", "found 'iris'"),
        ("looking left, looking far right", "one gaze yaw, found 'left' and 'far right'"),
        ("closed eye with dilated pupil", "hides the pupil, with pupil 'dilated'"),
        ("infrared picture, blue iris", "hides the iris"),
    ],
)
def test_what_makes_no_sense_is_named(text, message):
    with pytest.raises(UserError, match=message):
        parse(text)


def test_plain_english_is_understood():
    assert parse("The same eye, now looking far left with a wide pupil.") == {
        "gaze yaw": "far left",
        "pupil": "dilated",
    }
    assert parse("Half closed eye and glasses with a thin frame") == {"lid": "half closed", "glasses": "thin"}
    assert parse("the same eye") == {}
    assert parse("gazing far right and slightly up, strong light from the left") == {
        "gaze yaw": "far right",
        "gaze pitch": "slightly up",
        "light from": "left",
    }
    assert spelled_out("Looking up, left, with a wide pupil") == "looking up looking left with wide pupil"
    with pytest.raises(UserError, match="found 'slightly up'"):
        parse("a wide pupil and slightly up")  # what a verb might join is too far away


def test_a_closed_eye_says_nothing_of_its_ball():
    subjects, captures, _ = eyes()
    values = parameters_by_name(one(subjects, 0), one(captures, 0))
    shut, opened = (bins(values | {"opening": opening}) for opening in (0.01, 0.3))
    assert shut["lid"] == "closed" and {"pupil", "iris", "gaze yaw", "gaze pitch"} == set(opened) - set(shut)


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
