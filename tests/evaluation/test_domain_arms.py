"""Histogram matching, Fourier adaptation and strong augmentation against independent truth."""

import jax
import numpy as np
import pytest

from eyegan_jax.evaluation import domain_arms


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    dark = rng.normal(80, 20, (6, 35, 55, 1)).clip(0, 255).astype(np.uint8)
    bright = rng.gamma(4, 40, (5, 35, 55, 1)).clip(0, 255).astype(np.uint8)
    return dark, bright


@pytest.mark.parametrize("channels", [1, 3])
def test_match_histogram_agrees_with_scikit_image(channels):
    exposure = pytest.importorskip("skimage.exposure")
    rng = np.random.default_rng(1)
    image = rng.integers(20, 120, (35, 55, channels), dtype=np.uint8)
    reference = (rng.beta(2, 5, (40, 44, channels)) * 255).astype(np.uint8)
    theirs = exposure.match_histograms(image, reference, channel_axis=-1)
    ours = domain_arms.match_histogram(image, reference)
    assert np.abs(ours.astype(float) - theirs).max() <= 1.0  # rounding against whatever they return


def test_histogram_matching_keeps_order_and_reaches_the_real_distribution(pair):
    dark, bright = pair
    matched = domain_arms.histogram_matching(dark, bright, seed=3)
    np.testing.assert_array_equal(matched, domain_arms.histogram_matching(dark, bright, seed=3))
    quantiles = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(np.quantile(matched, quantiles), np.quantile(bright, quantiles), atol=8)
    for before, after in zip(dark, matched, strict=True):
        order = np.argsort(before.ravel(), kind="stable")
        assert (np.diff(after.ravel()[order].astype(int)) >= 0).all(), "a gray-level map is monotonic"


def test_fourier_adaptation_swaps_exactly_the_low_amplitudes():
    rng = np.random.default_rng(2)
    image, reference = rng.normal(100, 10, (2, 2, 16, 20, 1))
    beta, half = 0.13, 2
    out = domain_arms.swap_amplitude(image, reference, beta)
    spectra = [np.fft.fft2(x, axes=(1, 2)) for x in (image, reference, out)]
    for fy in range(-8, 8):
        for fx in range(-10, 10):
            before, other, after = (s[:, fy, fx, 0] for s in spectra)
            low = max(abs(fy), abs(fx)) <= half
            np.testing.assert_allclose(np.abs(after), np.abs(other if low else before), rtol=1e-6)
            np.testing.assert_allclose(after / np.abs(after), before / np.abs(before), atol=1e-6)


def test_fourier_adaptation_of_beta_zero_takes_the_mean_only(pair):
    dark, bright = pair
    out = domain_arms.fourier_adaptation(dark, bright[:1], beta=0.0)
    difference = out.astype(float) - dark
    expected = bright[0].mean() - dark.mean(axis=(1, 2, 3))
    unclipped = (out > 0) & (out < 255)
    for d, u, e in zip(difference, unclipped, expected, strict=True):
        np.testing.assert_allclose(d[u], e, atol=0.51)


def test_strong_augmentation_changes_looks_but_moves_nothing():
    image = np.full((8, 35, 55, 1), 0.4, np.float32)
    image[:, 10:20, 20:30] = -0.6
    keys = [jax.random.key(0), jax.random.key(1)]
    augmentation = jax.jit(domain_arms.strong_augmentation)
    a, b = (np.asarray(augmentation(key, image)) for key in keys)
    assert a.shape == image.shape and np.abs(a).max() <= 1 and not np.allclose(a, b)
    centre = np.array([14.5, 24.5])
    y, x = np.mgrid[:35, :55]
    found = []
    for one in np.concatenate([a, b])[..., 0]:
        dark = one < np.median(one) - 0.3
        if dark[12:18, 22:28].all():
            found.append([y[dark].mean(), x[dark].mean()])
    assert len(found) >= 4
    np.testing.assert_allclose(np.median(found, axis=0), centre, atol=1.0)
