"""The losses of text-guided editing against NumPy loops."""

import numpy as np

from eyegan_jax import losses

RNG = np.random.default_rng(0)


def test_visual_semantic_is_the_bidirectional_hinge():
    image, text, wrong = RNG.normal(size=(3, 5, 4))
    unit = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (image, text, wrong)]
    expected = 0.0
    for i in range(5):
        own = unit[0][i] @ unit[1][i]
        for j in set(range(5)) - {i}:
            expected += max(0, 0.2 - own + unit[0][i] @ unit[1][j]) / 20
            expected += max(0, 0.2 - own + unit[0][j] @ unit[1][i]) / 20
        expected += max(0, 0.2 - own + unit[0][i] @ unit[2][i]) / 5
    found = losses.visual_semantic(image, text, wrong, image, text, np.arange(5))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Two halves of a batch, each with all negatives, make the same mean.
    halves = [
        losses.visual_semantic(image[s], text[s], wrong[s], image[:4], text[:4], np.arange(4)[s])
        for s in (slice(0, 2), slice(2, 4))
    ]
    whole = losses.visual_semantic(image[:4], text[:4], wrong[:4], image[:4], text[:4], np.arange(4))
    np.testing.assert_allclose(np.mean(halves), whole, rtol=1e-5)


def test_gaussian_kl():
    assert losses.gaussian_kl(np.zeros((2, 3)), np.zeros((2, 3))) == 0
    # KL(N(1, e^2) || N(0, 1)) = (1 + e^2 - 1) / 2 - 1.
    np.testing.assert_allclose(losses.gaussian_kl(np.ones((2, 3)), np.ones((2, 3))), np.e**2 / 2 - 1, rtol=1e-6)


def test_changed_l1_is_the_mean_over_pixels_that_an_edit_changes():
    source, made = RNG.uniform(-1, 1, (2, 3, 12, 10, 3))
    wanted = source.copy()
    wanted[0, 2:5, 3:7] += RNG.uniform(0.1, 0.5, (3, 4, 3))  # seen
    wanted[1, 0, 0] += 0.3  # seen, but less than a hundredth of 120 pixels
    wanted[2] += 0.07  # too faint to be seen
    expected = (np.abs(made - wanted)[0, 2:5, 3:7].mean() + np.abs(made - wanted)[1, 0, 0].sum() / 3 / 1.2) / 3
    np.testing.assert_allclose(losses.changed_l1(made, wanted, source), expected, rtol=1e-5)


def test_motion_error_counts_known_pixels_alone():
    flow = RNG.normal(size=(2, 6, 5, 2))
    motion = np.concatenate([RNG.normal(size=(2, 6, 5, 2)), RNG.random((2, 6, 5, 1)) < 0.5], axis=-1)
    motion[1, ..., 2] = 0.0
    off = np.square(flow - motion[..., :2]).sum(-1)[0]
    known = motion[0, ..., 2] == 1
    np.testing.assert_allclose(losses.motion_error(flow, motion), off[known].mean() / 25 / 2, rtol=1e-5)


def test_stated_bins_is_the_mean_cross_entropy_with_a_class_for_nothing():
    sizes = (2, 3)
    logits, bins = RNG.normal(size=(4, 7)), np.array([[-1, 2], [0, -1], [1, 0], [-1, -1]])
    expected = []
    for row, (first, second) in zip(logits, bins, strict=True):
        for part, number in ((row[:3], first), (row[3:], second)):
            expected.append(np.log(np.exp(part).sum()) - part[number + 1])
    np.testing.assert_allclose(losses.stated_bins(logits, bins, sizes), np.mean(expected), rtol=1e-5)


def test_logistic():
    z = RNG.normal(size=(2, 3, 3, 1))
    np.testing.assert_allclose(losses.logistic(z, True), -np.log(1 / (1 + np.exp(-z))).mean(), rtol=1e-5)
    np.testing.assert_allclose(losses.logistic(z, False), -np.log(1 - 1 / (1 + np.exp(-z))).mean(), rtol=1e-5)
