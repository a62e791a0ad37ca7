"""Crops, resizes and mirrors against brute force, with landmarks that must stay on what they mark."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyegan_jax.data.geometry import crop_resize, equalize, mirror, resample, resize


def dot_example(height, width, x, y):
    """A soft white dot at (x, y) on black, marked by a landmark and by mask class 3."""
    rows, columns = np.indices((height, width))
    distance = np.hypot(columns - x, rows - y)
    image = np.rint(255 * np.exp(-((distance / 2.5) ** 2))).astype(np.uint8)[..., None]
    mask = np.where(distance < 2.5, 3, 0).astype(np.uint8)
    return {
        "name": "dot",
        "image": image,
        "mask": mask,
        "gaze": np.array([0.6, 0.0, -0.8], np.float32),
        "head": np.array([0.1, 0.2], np.float32),
        "landmarks": np.array([[x, y]], np.float32),
    }


def centroid(image):
    weights = image[..., 0].astype(float)
    y, x = np.indices(weights.shape)
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


@pytest.mark.parametrize(("height", "width"), [(4, 5), (5, 7), (11, 19), (1, 1)])
def test_shrinking_averages_the_area(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    fine = pixels.repeat(height, axis=0).repeat(width, axis=1)  # Divisible by both sizes.
    means = fine.reshape(height, 12, width, 20, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resample(pixels, (0, 0, 20, 12), height, width), means, atol=0.501)


def test_growing_interpolates_between_pixel_centres():
    pixels = np.array([[0, 200]], np.uint8)
    np.testing.assert_allclose(resample(pixels, (0, 0, 2, 1), 1, 4)[0], [0, 50, 150, 200], atol=1)


def test_one_axis_may_shrink_while_the_other_grows():
    pixels = np.tile(np.array([[0, 100, 100, 200]], np.uint8), (2, 1))
    np.testing.assert_allclose(resample(pixels, (0, 0, 4, 2), 6, 2), [[50, 150]] * 6, atol=1)


def test_same_size_is_the_same_image():
    pixels = np.random.default_rng(1).integers(0, 256, (7, 9, 1), np.uint8)
    np.testing.assert_array_equal(resample(pixels, (0, 0, 9, 7), 7, 9), pixels)


def test_beyond_the_border_the_edge_goes_on():
    pixels = np.array([[10, 20], [30, 40]], np.uint8)
    np.testing.assert_array_equal(
        resample(pixels, (-1, -1, 3, 3), 4, 4),
        [[10, 10, 20, 20], [10, 10, 20, 20], [30, 30, 40, 40], [30, 30, 40, 40]],
    )


@given(st.integers(12, 27), st.integers(12, 17), st.sampled_from([0.5, 1.0, 2.0, 3.0]))
def test_landmarks_and_masks_follow_the_pixels_through_a_crop(x, y, zoom):
    example = dot_example(30, 40, x, y)
    box = (2.5, 1.25, 38.5, 28.25)
    height, width = round(27 * zoom), round(36 * zoom)
    cropped = crop_resize(example, box, height, width)
    np.testing.assert_allclose(centroid(cropped["image"]), cropped["landmarks"][0], atol=0.03 + 0.02 * zoom)
    marked = np.argwhere(cropped["mask"] == 3).mean(axis=0)[::-1]
    np.testing.assert_allclose(marked, cropped["landmarks"][0], atol=0.51)
    np.testing.assert_array_equal(cropped["gaze"], example["gaze"])


@given(st.integers(8, 31), st.integers(8, 21))
def test_mirroring_twice_is_nothing_and_once_turns_gaze(x, y):
    example = dot_example(30, 40, x, y)
    once = mirror(example)
    np.testing.assert_allclose(centroid(once["image"]), once["landmarks"][0], atol=0.01)
    np.testing.assert_array_equal(once["landmarks"], [[39 - x, y]])
    np.testing.assert_allclose(once["gaze"], [-0.6, 0, -0.8])
    np.testing.assert_allclose(once["head"], [0.1, -0.2])
    assert once["mask"][y, 39 - x] == 3
    for key, value in mirror(once).items():
        np.testing.assert_array_equal(value, example[key])


def test_fit_crop_keeps_circles_round():
    y, x = np.indices((40, 100))
    disc = (np.hypot(x - 49.5, y - 19.5) < 12).astype(np.uint8)[..., None] * 255
    example = {"name": "disc", "image": disc}
    cropped = resize(example, 20, 20, fit="crop")["image"][..., 0] > 127
    assert np.ptp(np.argwhere(cropped)[:, 0]) == np.ptp(np.argwhere(cropped)[:, 1]) == 11
    stretched = resize(example, 20, 20)["image"][..., 0] > 127
    assert np.ptp(np.argwhere(stretched)[:, 0]) > 2 * np.ptp(np.argwhere(stretched)[:, 1])
    with pytest.raises(ValueError, match="fit"):
        resize(example, 20, 20, fit="pad")


def test_equalize_against_the_cumulative_histogram():
    gray = np.random.default_rng(2).integers(60, 120, (20, 30, 1), np.uint8)
    flat = np.sort(gray.reshape(-1))
    lowest = np.searchsorted(flat, flat[0], "right")
    expected = (np.searchsorted(flat, gray, "right") - lowest) * 255 / (flat.size - lowest)
    np.testing.assert_allclose(equalize(gray), expected, atol=0.5)
    plain = np.full((4, 4, 1), 9, np.uint8)
    np.testing.assert_array_equal(equalize(plain), plain)
