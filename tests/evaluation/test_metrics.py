"""Metrics against brute force, closed forms and scikit-image."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyegan_jax.evaluation import metrics


def test_angular_errors_equal_the_angle_that_was_turned():
    for degrees in (0.0, 1e-7, 0.5, 7.0, 90.0, 179.999, 180.0):
        turned = [math.sin(math.radians(degrees)), 0.0, -math.cos(math.radians(degrees))]
        assert metrics.angular_errors([turned], [[0.0, 0.0, -3.0]])[0] == pytest.approx(degrees, abs=1e-12)


def test_percent_within_and_curve():
    errors = [1.0, 7.0, 7.1, 20.0]
    assert metrics.percent_within(errors) == 50.0
    np.testing.assert_array_equal(metrics.error_curve(errors, [0, 1, 7, 10, 20]), [0, 25, 50, 75, 100])


def test_openeds_score_of_one_gray_level():
    """One gray level of difference everywhere at 640 x 400: e = 1 / 505.96, score 2.9073."""
    image = np.full((2, 640, 400, 1), 100, np.uint8)
    assert metrics.openeds_score(image, image + 1) == pytest.approx(2.9073, abs=5e-5)
    assert metrics.openeds_score(image, image) == 0.0
    assert metrics.rmse(image, image + np.uint8(1))[0] == pytest.approx(1.0)


def test_openeds_score_takes_the_root_per_image_and_does_not_wrap_uint8():
    a = np.zeros((2, 4, 5), np.uint8)
    b = np.stack([np.full((4, 5), 250, np.uint8), np.full((4, 5), 10, np.uint8)])
    brute = 1471 * np.mean([math.sqrt(20 * 250**2) / 20, math.sqrt(20 * 10**2) / 20])
    assert metrics.openeds_score(a, b) == pytest.approx(brute)
    with pytest.raises(ValueError, match="integer"):
        metrics.openeds_score(a.astype(float), b)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_agrees_with_scikit_image(channels):
    skimage = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (3, 35, 55, channels), dtype=np.uint8)
    b = np.clip(a + rng.normal(0, 30, a.shape), 0, 255).astype(np.uint8)
    theirs = [
        skimage.structural_similarity(
            x,
            y,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
        for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(metrics.ssim(a, b), theirs, atol=1e-12)
    np.testing.assert_allclose(metrics.ssim(a, a), 1.0)


def test_sharpness_of_a_ramp_and_of_blur():
    ramp = np.broadcast_to(3.0 * np.arange(10.0)[None, None, :, None], (1, 8, 10, 1))
    assert metrics.gradient_energy(ramp)[0] == pytest.approx(9.0)
    assert metrics.laplacian_variance(ramp)[0] == pytest.approx(0.0)
    noise = np.random.default_rng(0).normal(size=(1, 32, 32, 1))
    blurred = (noise[:, 1:] + noise[:, :-1]) / 2
    assert metrics.gradient_energy(blurred) < metrics.gradient_energy(noise)
    # White noise: var of the 5-point Laplacian is (4^2 + 4) sigma^2.
    assert metrics.laplacian_variance(np.random.default_rng(1).normal(size=(1, 400, 400, 1)))[0] == pytest.approx(
        20, rel=0.05
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_iou_and_dice_equal_sets(seed):
    rng = np.random.default_rng(seed)
    predicted, true = rng.integers(0, 3, (2, 3, 4, 5))
    result = metrics.mean_iou(predicted, true, classes=4)
    for c in range(4):
        a, b = set(np.flatnonzero(predicted == c)), set(np.flatnonzero(true == c))
        expected = len(a & b) / len(a | b) if a | b else None
        assert result["per_class"][c] == (pytest.approx(expected) if expected is not None else None)
    assert result["miou"] == pytest.approx(np.mean([v for v in result["per_class"] if v is not None]))

    for p, t, value in zip(predicted == 1, true == 1, metrics.dice(predicted == 1, true == 1), strict=True):
        a, b = set(np.flatnonzero(p)), set(np.flatnonzero(t))
        assert value == pytest.approx(2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0)


def test_whole_set_and_per_image_miou_differ_as_they_should():
    true = np.array([[[0, 0, 0, 1]], [[0, 0, 0, 0]]])
    predicted = np.zeros_like(true)
    result = metrics.mean_iou(predicted, true, classes=2)
    assert result["miou"] == pytest.approx((7 / 8 + 0) / 2)
    assert result["miou_per_image"] == pytest.approx(((3 / 4 + 0) / 2 + 1) / 2)


def test_mask_centres():
    masks = np.zeros((2, 6, 8), bool)
    masks[0, 2:4, 3:6] = True
    centres = metrics.mask_centres(masks)
    np.testing.assert_allclose(centres[0], [4.0, 2.5])
    assert np.isnan(centres[1]).all()


def test_pupil_scores_count_blinks_and_misses():
    def disc(x, y, radius):
        rows, columns = np.mgrid[:40, :40]
        return np.hypot(columns - x, rows - y) <= radius

    nothing = np.zeros((40, 40), bool)
    true = np.stack([disc(20, 20, 6), disc(20, 20, 6), nothing, nothing])
    predicted = np.stack([disc(23, 24, 6), disc(5, 5, 1), disc(10, 10, 5), disc(10, 10, 1)])
    found = metrics.pupil_scores(predicted, true)
    assert found["centre_error"] == {"mean": pytest.approx(5.0), "std": None, "n": 1}
    assert found["missed"]["mean"] == 50 and found["missed"]["n"] == 2, "five pixels are no pupil"
    assert found["blink_false"]["mean"] == 50
    overlap = 2 * (predicted[0] & true[0]).sum() / (predicted[0].sum() + true[0].sum())
    assert found["dice"]["mean"] == pytest.approx((overlap + 0 + 0 + 1) / 4)


def test_discriminator_accuracy():
    refined = np.zeros((4, 3, 5, 2))
    real = np.zeros((2, 3, 5, 2))
    even = metrics.discriminator_accuracy(refined, real)
    assert even == {"patches": 50, "images": 50, "refined": 50, "real": 50}
    refined[..., 1] = 1.0
    real[0, ..., 0] = 1.0
    real[1, ..., 1] = 1.0
    found = metrics.discriminator_accuracy(refined, real)
    assert found == {"patches": 75, "images": 75, "refined": 100, "real": 50}
    assert metrics.discriminator_accuracy(np.ones((3, 1)), -np.ones((3, 1)))["images"] == 100


def test_binomial_test_gives_the_papers_p_values():
    """SimGAN: 517 of 1000 correct has p = 0.148; the control with raw images, 162 of 200, p <= 1e-8."""
    assert metrics.binomial_test(517, 1000)["p_value"] == pytest.approx(0.148, abs=5e-4)
    assert metrics.binomial_test(162, 200)["p_value"] < 1e-8
    brute = sum(math.comb(10, k) for k in range(7, 11)) / 2**10
    assert metrics.binomial_test(7, 10)["p_value"] == pytest.approx(brute)
    assert metrics.binomial_test(3, 10, "two-sided")["p_value"] == pytest.approx(2 * brute)


def test_mean_states_its_spread_and_number():
    values = [1.0, 2.0, 6.0]
    assert metrics.Mean([1.0, None, 2.0, 6.0]).result() == pytest.approx(
        {"mean": 3.0, "std": np.std(values, ddof=1), "n": 3}
    )
    assert metrics.Mean([4.0]).result() == {"mean": 4.0, "std": None, "n": 1}
    assert metrics.Mean().result() == {"mean": None, "std": None, "n": 0}


def test_a_path_leads_through_dicts_and_lists():
    figures = {"swap": {"per_class": [0.5, {"mean": 2.0}]}}
    assert metrics.at(figures, "swap.per_class.0") == 0.5 and metrics.at(figures, "swap.per_class.1.mean") == 2.0
    assert metrics.at(figures, "swap.per_class.2") is None and metrics.at(figures, "swap.miou") is None
