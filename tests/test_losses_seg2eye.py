"""Seg2Eye's losses against their equations in NumPy, and where their gradients may flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax import losses


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def maps():
    """Two lists of feature maps, as of two scales or layers."""
    return [normal(2, 3, 4, 5), normal(2, 2, 2, 3, seed=1)], [
        normal(2, 3, 4, 5, seed=2),
        normal(2, 2, 2, 3, seed=3),
    ]


def test_hinge(maps):
    real, fake = maps
    expected = np.mean(
        [np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean() for r, f in zip(real, fake, strict=True)]
    )
    np.testing.assert_allclose(losses.hinge_discriminator(real, fake), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.hinge_generator(fake), -np.mean([f.mean() for f in fake]), rtol=1e-5)
    sure = [np.full((1, 2, 2, 1), 2.0, np.float32)]
    assert losses.hinge_discriminator(sure, [-sure[0]]) == 0
    assert losses.hinge_discriminator([0 * sure[0]], [0 * sure[0]]) == 2


def test_feature_matching_sums_layers_and_averages_scales(maps):
    fake, real = maps
    layers = sum(np.abs(f - r).mean() for f, r in zip(fake, real, strict=True))
    np.testing.assert_allclose(losses.feature_matching([fake], [real]), layers, rtol=1e-5)
    np.testing.assert_allclose(losses.feature_matching([fake, real], [real, real]), layers / 2, rtol=1e-5)


@pytest.mark.parametrize("order", [1, 2])
def test_gram_style(maps, order):
    features, targets = maps
    expected = 0.0
    for f, t in zip(features, targets, strict=True):
        per_sample = []
        for a, b in zip(f, t, strict=True):
            a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
            per_sample.append(np.mean(np.abs(a.T @ a - b.T @ b) ** order / a.size**order))
        expected += np.mean(per_sample)
    np.testing.assert_allclose(losses.gram_style(features, targets, order), expected, rtol=1e-4)


def test_style_losses(maps):
    features, targets = maps
    expected = sum(((f - t) ** 2).mean() for f, t in zip(features, targets, strict=True))
    np.testing.assert_allclose(losses.style_features(features, targets), expected, rtol=1e-5)
    code, target = normal(3, 4), normal(3, 4, seed=1)
    np.testing.assert_allclose(losses.style_code(code, target), ((code - target) ** 2).mean(), rtol=1e-5)


@pytest.mark.parametrize(
    "loss", [losses.gram_style, losses.style_features, lambda a, b: losses.feature_matching([a], [b])]
)
def test_targets_get_no_gradient(maps, loss):
    to_features, to_targets = jax.grad(loss, argnums=(0, 1))(*maps)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(to_features))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(to_targets))


def test_openeds_score_of_one_gray_level_everywhere():
    """At 640x400 one gray level costs 1471 / sqrt(640 * 400) = 2.9073 points."""
    image = np.zeros((2, 640, 400, 1), np.float32)
    np.testing.assert_allclose(losses.openeds(image + 1 / 127.5, image), 2.9073, rtol=1e-4)


def test_openeds_takes_the_root_per_image():
    image, target = normal(3, 6, 7, 1) / 4, normal(3, 6, 7, 1, seed=1) / 4
    roots = [np.sqrt(((127.5 * (a - b)) ** 2).sum()) / 42 for a, b in zip(image, target, strict=True)]
    np.testing.assert_allclose(losses.openeds(image, target), 1471 * np.mean(roots), rtol=1e-5)


def test_openeds_of_identical_images_is_zero_with_a_finite_gradient():
    image = jnp.asarray(normal(1, 4, 4, 1))
    value, gradient = jax.value_and_grad(losses.openeds)(image, image)
    assert value == 0 and np.all(np.asarray(gradient) == 0)
