"""The renderer as a function: its bits, its derivatives, and which pixels each parameter reaches."""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from eyes import CLEAN, CROP, drawn, eyes, one, program

from eyegan_jax.errors import UserError
from eyegan_jax.simulator import (
    DOMAINS,
    VIEWS,
    Domain,
    View,
    render,
    render_batch,
    sample_captures,
    sample_subjects,
)
from eyegan_jax.simulator.populations import capture_table
from eyegan_jax.simulator.sensor import sense


def test_same_key_same_bits_and_other_key_other_picture():
    view, domain = View(20, 30), DOMAINS["captured"]

    @jax.jit
    def draw(key):
        subjects = sample_subjects(jax.random.fold_in(key, 0), 4, domain)
        captures = sample_captures(jax.random.fold_in(key, 1), subjects, domain, view)
        return jax.vmap(lambda s, c: render(s, c, view, domain))(subjects, captures)

    first, again, other = (draw(jax.random.key(k)) for k in (5, 5, 6))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert np.abs(first.image - other.image).max() > 0.1
    assert np.isfinite(first.image).all()
    assert first.image.min() >= -1.0 and first.image.max() <= 1.0


def test_vmap_jit_and_chunks_agree():
    subjects, captures, pictures = eyes()
    single = program(CROP, CLEAN, vmapped=False)(one(subjects, 5), one(captures, 5))
    np.testing.assert_allclose(single.image, pictures.image[5], atol=2e-3)
    assert np.mean(single.mask != pictures.mask[5]) < 1e-3
    few = jax.tree.map(lambda leaf: leaf[:4], (subjects, captures))
    chunked = jax.jit(lambda s, c: render_batch(s, c, CROP, CLEAN, chunk=2).image)(*few)
    np.testing.assert_allclose(chunked, pictures.image[:4], atol=2e-3)


def changed_pixels(field, value, index=0, part="subject"):
    """Mask of the pixels that change with one field, and the mask of classes before and after."""
    subjects, captures = drawn()
    subject, capture = one(subjects, index), one(captures, index)
    run = program(CROP, CLEAN, vmapped=False)
    before = run(subject, capture)
    if part == "subject":
        subject = subject.replace(**{field: jnp.asarray(value, getattr(subject, field).dtype)})
    else:
        capture = capture.replace(**{field: jnp.asarray(value, getattr(capture, field).dtype)})
    after = run(subject, capture)
    return (
        np.any(np.asarray(before.image) != np.asarray(after.image), axis=-1),
        np.asarray(before.mask),
        np.asarray(after.mask),
    )


def grown(mask, steps=2):
    for _ in range(steps):
        padded = np.pad(mask, 1)
        mask = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return mask


@pytest.mark.parametrize(
    "field,value,classes",
    [
        ("iris_color", [0.3, 0.1, 0.02], (2, 3)),
        ("iris_fibers", 0.9, (2, 3)),
        ("iris_seed", 123, (1, 2, 3)),  # the vessels' seed too
        ("limbal_ring", 0.1, (2, 3)),
        ("collarette_contrast", 0.9, (2, 3)),
        ("sclera_yellow", 0.95, (1, 2)),
        ("veins", 0.9, (1, 2)),
        ("pores", 2.0, (0,)),
        ("wrinkles", 1.5, (0,)),
        ("skin_seed", 9, (0, 1, 2, 3)),
        ("brow_density", 0.05, (0,)),
        ("bag", 0.9, (0,)),
    ],
)
def test_a_subject_parameter_changes_its_region_only(field, value, classes):
    changed, mask, after = changed_pixels(field, value, index=7)
    assert changed.any()
    np.testing.assert_array_equal(mask, after)
    # One pixel's blending at the borders belongs to both sides.
    assert not (changed & ~grown(np.isin(mask, classes))).any()


def test_the_pupil_leaves_sclera_and_skin_alone():
    changed, mask, after = changed_pixels("pupil_radius", 3.4, part="capture", index=7)
    assert changed.any()
    assert ((mask == 3) != (after == 3)).any()
    assert not (changed & ~grown(mask >= 2)).any()


@pytest.fixture(scope="module")
def picture_gradients():
    """``f(subject, capture)``: a smooth functional of the picture and its gradient in every float parameter."""
    weights = np.random.default_rng(0).normal(size=(48, 72))
    kernel = np.ones(9) / 9.0
    for axis in (0, 1):  # Single pixels' edges are too steep for finite differences.
        weights = np.apply_along_axis(np.convolve, axis, weights, kernel, "same")
    weights = jnp.asarray(10.0 * weights[..., None], jnp.float32)

    def split(parameters):
        leaves, structure = jax.tree.flatten(parameters)
        floats = [leaf for leaf in leaves if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating)]
        return leaves, structure, floats

    @jax.jit
    def run(subject, capture):
        leaves, structure, floats = split((subject, capture))

        def value(floats):
            rest = iter(floats)
            filled = [next(rest) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf for leaf in leaves]
            image = render(*jax.tree.unflatten(structure, filled), CROP, CLEAN).image
            return jnp.sum(weights * image)

        result, gradient = jax.value_and_grad(value)(floats)
        rest = iter(gradient)
        named = [next(rest) if jnp.issubdtype(leaf.dtype, jnp.floating) else None for leaf in leaves]
        return result, jax.tree.unflatten(structure, named)

    return run


def test_gradient_with_respect_to_gaze_agrees_with_finite_differences(picture_gradients):
    subjects, captures = drawn()
    for index in (0, 6):
        subject, capture = one(subjects, index), one(captures, index)
        gradient = np.asarray(picture_gradients(subject, capture)[1][1].gaze)
        step = 1e-3  # rad, 0.02 pixels: edges bend over half a pixel
        for k in range(2):
            move = np.zeros(2, np.float32)
            move[k] = step
            after, before = (
                float(picture_gradients(subject, capture.replace(gaze=capture.gaze + sign * move))[0])
                for sign in (1, -1)
            )
            assert gradient[k] == pytest.approx((after - before) / (2 * step), rel=0.05, abs=1.0)
        assert np.linalg.norm(gradient) > 5.0


def test_every_gradient_is_finite_and_the_parts_of_the_eye_are_felt(picture_gradients):
    subjects, captures = drawn()
    found = jax.tree.leaves(picture_gradients(one(subjects, 0), one(captures, 0))[1])
    assert all(np.isfinite(leaf).all() for leaf in found)
    assert np.mean([np.abs(leaf).max() > 0 for leaf in found]) > 0.6
    # Looking exactly at the camera is no singular point.
    frontal = one(captures, 1).replace(gaze=jnp.zeros(2), head=jnp.zeros(3), torsion=jnp.zeros(()))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(picture_gradients(one(subjects, 1), frontal)[1]))


def test_the_sensor_passes_gradients_and_equalises():
    view = View(16, 24)
    table = capture_table("captured", "visible", "crop")
    _, captures = drawn(1, view, DOMAINS["captured"])
    radiance = jnp.linspace(0.02, 0.6, 16 * 24).reshape(16, 24, 1)

    def picture(radiance, capture):
        return sense(capture, radiance, jnp.ones(1), jnp.ones(1), view, table)

    capture = one(captures, 0).replace(equalization=jnp.float32(1.0), noise=jnp.float32(0.0), grain=jnp.float32(0.0))
    image = jax.jit(picture)(radiance, capture)
    # A flat histogram: every tenth of the range holds about a tenth of the pixels.
    share = np.histogram(image, bins=10, range=(0, 1))[0] / image.size
    assert share.max() < 0.2 and share.min() > 0.03
    gradient = jax.jit(jax.grad(lambda r: picture(r, capture).std()))(radiance)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_edges_follow_size_not_pixels():
    """The same eye at another size: downsampling the large picture gives the small one."""
    subjects, captures, small = eyes()
    large = jax.device_get(program(View(144, 216), CLEAN)(subjects, captures))
    np.testing.assert_allclose((large.margin + 0.5) / 3 - 0.5, small.margin, atol=0.02)
    pooled = large.image.reshape(16, 48, 3, 72, 3, 1).mean(axis=(2, 4))
    correlation = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(pooled, small.image, strict=True)]
    assert np.mean(correlation) > 0.96


def test_infrared_pupil_is_darkest_and_glints_brightest():
    view = dataclasses.replace(VIEWS["openeds_160x100"])
    _, _, pictures = eyes(12, view, DOMAINS["simulated"])
    means = np.array(
        [
            [np.median(image[mask == k]) for k in range(4)]
            for image, mask in zip(pictures.image[..., 0], pictures.mask, strict=True)
            if min((mask == k).sum() for k in range(4)) > 10
        ]
    )
    assert len(means) > 6
    assert (means[:, 3] < means[:, [0, 1, 2]].min(axis=1)).mean() > 0.8
    assert (means[:, 1] > means[:, 2]).mean() > 0.5
    shining = [k for k in range(12) if pictures.glints[k].max() > 0.4]
    assert len(shining) > 4
    for k in shining:
        image, spot = pictures.image[k, ..., 0], np.unravel_index(pictures.glints[k].argmax(), (160, 100))
        assert image[spot] > np.quantile(image[pictures.mask[k] > 0], 0.9)


def test_views_of_any_size_and_wrong_ones_are_refused():
    shape = jax.eval_shape(lambda s, c: render(s, c, View(7, 11), CLEAN).image, *(one(t, 0) for t in drawn())).shape
    assert shape == (7, 11, 1)
    for bad in ({"height": 0}, {"look": "thermal"}, {"channels": 2}, {"framing": "moon"}):
        with pytest.raises(UserError, match="expected"):
            View(**({"height": 4, "width": 4} | bad))
    with pytest.raises(UserError, match="population"):
        Domain("mine", "martians")
