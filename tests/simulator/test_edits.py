"""Edits reach the bin that they aim at and touch nothing else; by the parameters, without a picture."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from eyegan_jax.errors import UserError
from eyegan_jax.simulator import DOMAINS, View, fixed_subject, sample_capture
from eyegan_jax.simulator.caption_tokens import SIZES
from eyegan_jax.simulator.captions import ATTRIBUTES, BINS, UNSAID, bin_numbers, bins, named
from eyegan_jax.simulator.edits import EDITABLE, Editor, edit_source, other_bins
from eyegan_jax.simulator.labels import parameters_by_name
from eyegan_jax.simulator.render import render

COUNT = 96
DOMAIN, VIEW = DOMAINS["simulated"], View(64, 96, channels=3, framing="wide")
EDITOR = Editor(DOMAIN, VIEW)

# What may move along: lids follow the gaze and hide it, a stronger lamp makes more light.
FOLLOWS = {
    "gaze pitch": {"lid"},
    "gaze yaw": {"lid"},
    "lid": {"gaze yaw", "gaze pitch", "iris", "pupil"},
    "light": {"light from"},
    "light from": {"light"},
}


@pytest.fixture(scope="module")
def edits():
    """Per eye one attribute that is set to a bin: (attribute, bin, numbers before and after, openings, eyes after)."""

    @jax.jit
    @jax.vmap
    def make(index):
        key = jax.random.fold_in(jax.random.key(0), index)
        subject = fixed_subject(0, index, DOMAIN)
        capture = sample_capture(key, subject, DOMAIN, VIEW)
        before = EDITOR.numbers(subject, capture, EDITOR.opening(subject, capture))
        wanted = other_bins(jax.random.fold_in(key, 1), before)
        places = jnp.array([ATTRIBUTES.index(a) for a in EDITABLE])
        chosen = places[index % len(EDITABLE)]
        only = jnp.where(jnp.arange(len(ATTRIBUTES)) == chosen, wanted, UNSAID)
        subject, capture = EDITOR.set_bins(jax.random.fold_in(key, 2), only, subject, capture)
        opening = EDITOR.opening(subject, capture)
        return chosen, wanted[chosen], before, EDITOR.numbers(subject, capture, opening), opening, (subject, capture)

    return jax.device_get(make(jnp.arange(COUNT)))


def test_an_attribute_is_moved_to_its_bin_and_nothing_else_is(edits):
    chosen, wanted, before, after, _, _ = edits
    reached = 0
    for i in range(COUNT):
        attribute = ATTRIBUTES[chosen[i]]
        assert after[i, chosen[i]] == wanted[i], (attribute, wanted[i], named(before[i]), named(after[i]))
        reached += before[i, chosen[i]] != wanted[i]
        moved = {a for a, b, n in zip(ATTRIBUTES, before[i], after[i], strict=True) if b != n}
        assert moved <= {attribute} | FOLLOWS.get(attribute, set()), (attribute, moved)
    assert reached == COUNT


def test_numbers_are_the_names_of_the_host(edits):
    """The traced bins equal those that the label files get, on values far from any rounding."""
    *_, after, opening, (subjects, captures) = edits
    for i in range(0, COUNT, 7):
        subject, capture = jax.tree.map(lambda leaf, i=i: leaf[i], (subjects, captures))
        values = parameters_by_name(subject, capture) | {"opening": opening[i]}
        assert bins(values) == named(after[i])
        assert "iris" not in bins(values, "infrared")
    assert bin_numbers.__doc__ and set(BINS) == set(ATTRIBUTES)


def test_light_is_what_the_picture_shows(edits):
    """More light and a longer exposure show the same; an exposure that adapts fully shows no light at all."""
    *_, (subjects, captures) = edits
    subject, capture = jax.tree.map(lambda leaf: leaf[0], (subjects, captures))
    values = parameters_by_name(subject, capture) | {"opening": 0.3, "light_intensity": np.array([0.0, 0.0])}

    def light(**changed):
        return bins(values | changed)["light"]

    assert light(ambient=0.4, exposure=0.0, adaptation=0.0) == "dim"
    assert (
        light(ambient=0.8, exposure=0.0, adaptation=0.0) == light(ambient=0.4, exposure=1.0, adaptation=0.0) == "even"
    )
    assert light(ambient=1.6, exposure=0.0, adaptation=0.0) == light(ambient=0.1, exposure=1.0, adaptation=1.0)
    assert (
        light(ambient=1.6, exposure=0.0, adaptation=1.0) == light(ambient=0.1, exposure=0.0, adaptation=1.0) == "even"
    )


def test_another_skin_is_exposed_as_the_skin_before_it_was():
    """An edit of skin leaves the eye alone, and skin darkens by melanin's absorption (Beer and Lambert)."""
    clean, view = dataclasses.replace(DOMAIN, sensor=False), View(48, 72, channels=3, framing="crop")
    editor, index = Editor(clean, view), ATTRIBUTES.index("skin")

    @jax.jit
    def seen(number):
        subject = fixed_subject(0, 3, clean).replace(oiliness=jnp.zeros(()))
        capture = sample_capture(jax.random.key(1), subject, clean, view).replace(exposure=jnp.array(-1.0))
        subject, capture = editor.prepare(("skin",), 1.0)(jax.random.key(4), subject, capture)
        wanted = jnp.full(len(ATTRIBUTES), UNSAID).at[index].set(number)
        subject, capture = editor.set_bins(jax.random.key(2), wanted, subject, capture)
        return subject.melanin, render(subject, capture, view, clean), capture

    (light, before, _), (dark, after, capture) = jax.device_get([seen(1), seen(5)])
    np.testing.assert_array_equal(before.mask, after.mask)
    ball = scipy.ndimage.binary_erosion(before.mask > 0, iterations=4)
    assert ball.sum() > 50
    np.testing.assert_allclose(after.image[ball], before.image[ball], atol=2e-3)

    def radiance(picture):
        return (0.5 + 0.5 * picture.image / capture.contrast) ** capture.gamma

    skin = (before.mask == 0) & (np.minimum(before.image, after.image).min(-1) > -0.9) & (before.image.max(-1) < 0.9)
    assert skin.sum() > 500 and dark - light > 0.4
    ratio = np.median(radiance(after)[skin] / radiance(before)[skin], axis=0)
    np.testing.assert_allclose(ratio, np.exp(-(dark - light) * np.array([1.25, 1.85, 2.25])), rtol=0.08)


def test_any_other_bin_may_be_drawn():
    now = jnp.zeros(len(ATTRIBUTES), int)
    drawn = np.asarray(
        jax.jit(jax.vmap(lambda i: other_bins(jax.random.fold_in(jax.random.key(1), i), now)))(jnp.arange(400))
    )
    for i, size in enumerate(SIZES):
        assert set(drawn[:, i]) == set(range(1, size))


def test_wrong_attributes_are_named():
    with pytest.raises(UserError, match=r"expected some of gaze yaw, .*, found camera"):
        edit_source("simulated", VIEW, attributes=("iris", "camera"))
    with pytest.raises(UserError, match="found none"):
        edit_source("simulated", VIEW, attributes=())
