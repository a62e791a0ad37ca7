"""KID and Frechet distance against their definitions, and the fixed features against what they promise."""

import itertools

import numpy as np
import pytest
from scipy import linalg, ndimage

from eyegan_jax.evaluation import distances, features


def test_unbiased_mmd_equals_the_double_sums():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), rng.normal(1, 2, size=(5, 3))

    def k(a, b):
        return (a @ b / 3 + 1) ** 3

    xx = np.mean([k(a, b) for a, b in itertools.permutations(x, 2)])
    yy = np.mean([k(a, b) for a, b in itertools.permutations(y, 2)])
    xy = np.mean([k(a, b) for a in x for b in y])
    assert distances.unbiased_mmd(x, y) == pytest.approx(xx + yy - 2 * xy)


def test_kid_is_unbiased_on_equal_distributions_and_positive_on_unequal():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(400, 8)), rng.normal(size=(400, 8))
    same = distances.kid(x, y, subsets=50, subset_size=100)
    other = distances.kid(x, y + 1, subsets=50, subset_size=100)
    assert abs(same["mean"]) < 0.02 < 1 < other["mean"]
    assert same["n"] == 50 and same["subset_size"] == 100
    with pytest.raises(ValueError, match="at least 4"):
        distances.kid(x[:1], y)


def test_frechet_equals_the_matrix_square_root_form():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6))
    y = rng.normal(size=(150, 6)) @ rng.normal(size=(6, 6)) + 1
    cx, cy = np.cov(x.T), np.cov(y.T)
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(cx + cy - 2 * linalg.sqrtm(cx @ cy).real)
    assert distances.frechet(x, y) == pytest.approx(expected, rel=1e-9)
    assert distances.frechet(x, x) == pytest.approx(0, abs=1e-8)
    assert distances.frechet(x, x + np.array([3, 4, 0, 0, 0, 0])) == pytest.approx(25)


def test_gabor_filters_answer_their_own_grating_with_one_and_a_flat_field_with_zero():
    bank = features.gabor_bank()[:, :, 0].astype(np.float64)
    np.testing.assert_allclose(bank.sum((0, 1)), 0, atol=1e-5)
    radius = bank.shape[0] // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    for i in range(features.ORIENTATIONS):
        angle = np.pi * i / features.ORIENTATIONS
        grating = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / features.WAVELENGTH)
        answers = np.abs(np.einsum("yxf,yx->f", bank, grating))
        assert answers.argmax() == i and answers[i] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("shape", [(35, 55, 1), (48, 64, 3)])
def test_features_are_fixed_finite_and_independent_of_the_batch(shape):
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (5, *shape), dtype=np.uint8)
    images[0] = 128
    found = features.features(images, batch=4)
    assert found.shape == (5, 98) and np.isfinite(found).all()
    np.testing.assert_allclose(features.features(images[3:], batch=4), found[3:], atol=1e-5)
    with pytest.raises(ValueError, match="uint8"):
        features.features(images / 255.0)


def test_distances_order_degradations():
    """More noise is farther away; two draws of one distribution are near each other."""
    rng = np.random.default_rng(4)
    base = ndimage.gaussian_filter(rng.normal(size=(240, 35, 55, 1)), (0, 2, 2, 0)) * 250 + 128
    clean, reference = np.clip(base, 0, 255).astype(np.uint8).reshape(2, 120, 35, 55, 1)
    noisy = [np.clip(clean + rng.normal(0, s, clean.shape), 0, 255).astype(np.uint8) for s in (0, 5, 20)]
    results = [distances.image_distances(images, reference) for images in noisy]
    kids = [r["kid"]["mean"] for r in results]
    frechets = [r["frechet"]["value"] for r in results]
    assert 5 * abs(kids[0]) < kids[1] < kids[2], kids
    assert frechets[0] < frechets[1] < frechets[2]
    assert results[0]["features"] == "gabor-98" and results[0]["n"] == 120
