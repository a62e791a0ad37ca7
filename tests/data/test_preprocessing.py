"""Preprocessing against OpenCV's published rule in NumPy loops, SciPy's distance transform and brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from eyegan_jax.data import geometry, preprocessing


def clahe_in_loops(image, clip_limit=1.5, tiles=8):
    """OpenCV's CLAHE, one tile and one pixel at a time; the interpolated values before they are rounded."""
    height, width = image.shape
    ragged = height % tiles or width % tiles
    grown = np.pad(image, [(0, (tiles - s % tiles) if ragged else 0) for s in image.shape], mode="reflect")
    th, tw = grown.shape[0] // tiles, grown.shape[1] // tiles
    tables = np.zeros((tiles, tiles, 256), np.float32)
    for i in range(tiles):
        for j in range(tiles):
            counts = np.bincount(grown[i * th : (i + 1) * th, j * tw : (j + 1) * tw].ravel(), minlength=256)
            limit = max(int(clip_limit * th * tw / 256), 1)
            excess = int(np.maximum(counts - limit, 0).sum())
            counts = np.minimum(counts, limit) + excess // 256
            residual = excess % 256
            step = max(256 // residual, 1) if residual else 1
            k = 0
            while residual > 0 and k < 256:
                counts[k] += 1
                k, residual = k + step, residual - 1
            tables[i, j] = np.floor(np.cumsum(counts) * 255 / (th * tw) + 0.5)
    result = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            fy, fx = y / th - 0.5, x / tw - 0.5
            y0, x0 = int(np.floor(fy)), int(np.floor(fx))
            wy, wx = fy - y0, fx - x0
            y1, x1 = min(y0 + 1, tiles - 1), min(x0 + 1, tiles - 1)
            y0, x0, v = max(y0, 0), max(x0, 0), image[y, x]
            top = tables[y0, x0, v] * (1 - wx) + tables[y0, x1, v] * wx
            bottom = tables[y1, x0, v] * (1 - wx) + tables[y1, x1, v] * wx
            result[y, x] = top * (1 - wy) + bottom * wy
    return result


def eye_like(shape, seed):
    smooth = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(64, 48), (35, 55), (41, 64)])
def test_clahe_follows_the_published_rule(shape):
    image = eye_like(shape, 0)
    np.testing.assert_allclose(preprocessing.clahe(image), clahe_in_loops(image), atol=0.5 + 1e-4, rtol=0)


def test_clahe_agrees_with_opencv_where_it_is_installed():
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    image = eye_like((128, 100), 1)
    difference = np.abs(np.asarray(preprocessing.clahe(image)).astype(int) - cv2.createCLAHE(1.5, (8, 8)).apply(image))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_gamma_is_the_table_and_brightens_the_middle():
    ramp = np.arange(256, dtype=np.uint8)
    expected = [int(255 * (i / 255) ** 0.8) for i in range(256)]
    np.testing.assert_array_equal(preprocessing.gamma(ramp), expected)


def test_equalise_treats_each_image_of_a_batch_alone():
    images = np.stack([eye_like((32, 40), seed) for seed in range(3)])[..., None]
    together = np.asarray(jax.jit(preprocessing.equalise)(images))
    assert together.shape == images.shape and together.dtype == np.uint8
    for image, result in zip(images, together, strict=True):
        np.testing.assert_array_equal(preprocessing.equalise(image), result)


distance_to = jax.jit(preprocessing.distance_to)


@given(st.integers(0, 2**32 - 1), st.sampled_from([(7, 12), (13, 2), (1, 9)]), st.floats(0.0, 1.0))
def test_distance_is_scipys(seed, shape, density):
    region = np.random.default_rng(seed).random(shape) < density
    got = np.asarray(distance_to(jnp.asarray(region)))
    if not region.any():
        assert np.isinf(got).all()
    else:
        np.testing.assert_allclose(got, scipy.ndimage.distance_transform_edt(~region), atol=1e-5)


def test_signed_distances_have_the_right_sign_and_unit():
    mask = np.zeros((30, 40), int)
    mask[10:20, 10:30] = 3
    signed = np.asarray(preprocessing.signed_distances(mask)) * 50  # the diagonal of 30x40
    outside, inside = (
        scipy.ndimage.distance_transform_edt(mask != 3),
        scipy.ndimage.distance_transform_edt(mask == 3),
    )
    np.testing.assert_allclose(signed[..., 3], np.where(mask == 3, 1 - inside, outside), atol=1e-4)
    assert (signed[..., 1] == 0).all() and (signed[..., 2] == 0).all(), "absent classes have no border"


def test_border_weights_mark_both_sides_of_a_border():
    mask = np.zeros((9, 12), int)
    mask[:, 6:] = 2
    weights = np.asarray(preprocessing.border_weights(mask))
    np.testing.assert_array_equal(weights[4], [1, 1, 1, 1, 21, 21, 21, 21, 1, 1, 1, 1])
    assert (np.asarray(preprocessing.border_weights(np.zeros_like(mask))) == 1).all()


@given(st.integers(0, 2**31 - 1), st.integers(0, 255), st.integers(1, 256))
def test_equalised_histograms_are_those_of_the_reader(seed, lowest, levels):
    """The device's rule against the NumPy one that crops are equalised by; a single gray level stays as it is."""
    image = np.random.default_rng(seed).integers(lowest, min(lowest + levels, 256), (7, 9), dtype=np.uint8)
    found = np.asarray(preprocessing.equalise_histogram(jnp.asarray(image)))
    expected = geometry.equalize(image[..., None])[..., 0]
    # A tie may be rounded the other way in float32; everything else is equal.
    counts = np.cumsum(np.bincount(image.ravel(), minlength=256))
    tie = (counts - counts[image.min()]) * 255 * 2 % (2 * max(image.size - counts[image.min()], 1)) == max(
        image.size - counts[image.min()], 1
    )
    np.testing.assert_array_equal(found[~tie[image]], expected[~tie[image]])
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
