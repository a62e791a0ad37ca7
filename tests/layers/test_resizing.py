"""Resampling against the index rules written out pixel by pixel, and against PyTorch where it is
installed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from eyegan_jax.layers import resizing

sizes = st.integers(1, 9)


def image(height, width, seed=0):
    return np.random.default_rng(seed).normal(size=(2, height, width, 3)).astype(np.float32)


@settings(max_examples=15)
@given(sizes, sizes, sizes, sizes)
def test_nearest_takes_index_floor_of_i_in_over_out(height, width, new_height, new_width):
    x = image(height, width)
    result = np.asarray(resizing.nearest(x, (new_height, new_width)))
    for i in range(new_height):
        for j in range(new_width):
            np.testing.assert_array_equal(result[:, i, j], x[:, i * height // new_height, j * width // new_width])


def test_double_repeats_every_pixel():
    x = image(3, 4)
    np.testing.assert_array_equal(resizing.double(x), x.repeat(2, axis=1).repeat(2, axis=2))


def sampled(line, position):
    low = int(np.floor(position))
    high = min(low + 1, len(line) - 1)
    return line[low] * (1 - (position - low)) + line[high] * (position - low)


@settings(max_examples=15)
@given(sizes, sizes, st.booleans())
def test_bilinear_samples_between_the_two_neighbours(source, target, align_corners):
    x = image(source, 2)
    result = np.asarray(resizing.bilinear(x, (target, 2), align_corners))
    for i in range(target):
        if align_corners:
            position = i * (source - 1) / (target - 1) if target > 1 else 0.0
        else:
            position = min(max((i + 0.5) * source / target - 0.5, 0.0), source - 1)
        np.testing.assert_allclose(result[0, i, 1, 2], sampled(x[0, :, 1, 2], position), rtol=1e-5, atol=1e-5)


@settings(max_examples=15)
@given(sizes, sizes, sizes, sizes)
def test_bilinear_to_a_size_that_is_known_late(height, width, new_height, new_width):
    x = image(height, width)
    found = jax.jit(lambda x, size: resizing.bilinear_within(x, (12, 11), size))(x, (new_height, new_width))
    assert found.shape == (2, 12, 11, 3)
    expected = resizing.bilinear(x, (new_height, new_width))
    np.testing.assert_allclose(found[:, :new_height, :new_width], expected, atol=2e-6)


def test_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    interpolate = torch.nn.functional.interpolate
    x = image(20, 12)
    channels_first = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    for size in ((5, 3), (7, 7), (33, 31)):
        for ours, options in (
            (resizing.nearest(x, size), {"mode": "nearest"}),
            (resizing.bilinear(x, size), {"mode": "bilinear"}),
            (resizing.bilinear(x, size, align_corners=True), {"mode": "bilinear", "align_corners": True}),
        ):
            theirs = np.moveaxis(interpolate(channels_first, size=size, **options).numpy(), 1, -1)
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_warp_is_bilinear_reading_with_repeated_edges():
    rng = np.random.default_rng(2)
    image, flow = rng.normal(size=(9, 7)).astype(np.float32), rng.uniform(-5, 5, (9, 7, 2)).astype(np.float32)
    got = resizing.warp(jnp.asarray(image)[None, ..., None], jnp.asarray(flow)[None])[0, ..., 0]
    y, x = np.mgrid[:9, :7]
    expected = scipy.ndimage.map_coordinates(image, [y + flow[..., 0], x + flow[..., 1]], order=1, mode="nearest")
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_array_equal(resizing.warp(image[None, ..., None], np.zeros((1, 9, 7, 2)))[0, ..., 0], image)
