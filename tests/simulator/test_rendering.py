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
    few = jax.tree.map(lambda leaf: leaf[:5], (subjects, captures))
    chunked = jax.jit(lambda s, c: render_batch(s, c, CROP, CLEAN, chunk=2).image)(*few)
    np.testing.assert_allclose(chunked, pictures.image[:5], atol=2e-3)


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


def test_gradient_with_respect_to_gaze_agrees_with_finite_differences():
    subjects, captures = drawn()
    for index in (0, 6):
        subject, capture = one(subjects, index), one(captures, index).replace(gaze=jnp.zeros(2))
        weights = jnp.asarray(np.random.default_rng(0).normal(size=(48, 72, 1)), jnp.float32)
        # A smooth functional of the picture: single pixels' edges are steep.
        weights = jax.scipy.signal.convolve(weights, jnp.ones((9, 9, 1)) / 81.0, mode="same")

        @jax.jit
        def value(gaze, subject=subject, capture=capture, weights=weights):
            image = render(subject, capture.replace(gaze=gaze), CROP, CLEAN).image
            return jnp.sum(weights * image)

        gaze = jnp.array([0.05, -0.08])
        gradient = np.asarray(jax.jit(jax.grad(value))(gaze))
        step = 2e-3
        for k in range(2):
            move = np.zeros(2, np.float32)
            move[k] = step
            difference = float(value(gaze + move) - value(gaze - move)) / (2 * step)
            assert gradient[k] == pytest.approx(difference, rel=0.1, abs=0.15)
        assert np.linalg.norm(gradient) > 0.5


def test_every_gradient_is_finite_and_the_parts_of_the_eye_are_felt():
    view, domain = View(24, 36), DOMAINS["captured"]
    subjects, captures = drawn(4, view, domain)

    @jax.jit
    @jax.vmap
    def gradients(subject, capture):
        def loss(floats):
            leaves = iter(floats)
            restored = jax.tree.map(
                lambda leaf: next(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
                (subject, capture),
            )
            return jnp.sum(jnp.square(render(*restored, view, domain).image))

        return jax.grad(loss)(
            [leaf for leaf in jax.tree.leaves((subject, capture)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        )

    found = gradients(subjects, captures)
    assert all(np.isfinite(leaf).all() for leaf in found)
    assert np.mean([np.abs(leaf).max() > 0 for leaf in found]) > 0.75
    # Looking exactly at the camera is no singular point.
    frontal = gradients(
        subjects, captures.replace(gaze=jnp.zeros((4, 2)), head=jnp.zeros((4, 3)), torsion=jnp.zeros(4))
    )
    assert all(np.isfinite(leaf).all() for leaf in frontal)


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
            [image[mask == k].mean() for k in range(4)]
            for image, mask in zip(pictures.image[..., 0], pictures.mask, strict=True)
            if min((mask == k).sum() for k in range(4)) > 10
        ]
    )
    assert len(means) > 6
    assert (means[:, 3] < means[:, [0, 1, 2]].min(axis=1)).mean() > 0.8
    assert (means[:, 1] > means[:, 2]).mean() > 0.8
    bright = np.where(pictures.glints > 0.8, pictures.image[..., 0], -1.0).max(axis=(1, 2))
    assert np.median(bright) > 0.5


def test_views_of_any_size_and_wrong_ones_are_refused():
    assert render(*(one(t, 0) for t in drawn(1, View(7, 11))), View(7, 11), CLEAN).image.shape == (7, 11, 1)
    for bad in ({"height": 0}, {"look": "thermal"}, {"channels": 2}, {"framing": "moon"}):
        with pytest.raises(UserError, match="expected"):
            View(**({"height": 4, "width": 4} | bad))
    with pytest.raises(UserError, match="population"):
        Domain("mine", "martians")
