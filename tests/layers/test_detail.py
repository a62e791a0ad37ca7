"""Edits of small pictures done to finer ones: slopes in closed form, detail kept and painted over."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyegan_jax.layers.detail import Change, changed, kept_detail, move

LATE = jax.jit(changed)  # one program for all sizes


def slope(height, width, up=0.0, right=0.0):
    """Three slopes ``[1, H, W, 3]``, read so much of the height further up and of the width further to the right."""
    y = np.clip(np.arange(height) - up * height, 0, height - 1)[:, None] + 0.5
    x = np.clip(np.arange(width) + right * width, 0, width - 1)[None] + 0.5
    y, x = np.broadcast_arrays(y / height, x / width)
    return np.stack([0.4 * y + 0.2 * x - 0.5, x - 0.7, 0.3 - y], -1)[None].astype(np.float32)


@pytest.mark.parametrize("height, width", [(8, 12), (40, 60), (52, 78)])
def test_an_edit_is_done_to_the_pixels_of_a_picture_of_any_size(height, width):
    """Pixels are read a twentieth of the height up and a tenth of the width to the right, then painted over evenly."""
    tones = np.float32([0.1, 0.0, -0.2])
    flow = np.broadcast_to(np.float32([-0.05, 0.1]), (1, 8, 12, 2))
    moved = slope(8, 12, 0.05, 0.1)
    change = Change(flow, np.ones((1, 8, 12, 1), np.float32), moved, moved + tones)
    result = jax.jit(changed)(slope(height, width), change)
    inside = (slice(None), slice(height // 8, None), slice(None, -width // 6))  # the rest is read beyond the border
    np.testing.assert_allclose(result[inside], (slope(height, width, 0.05, 0.1) + tones)[inside], atol=1e-5)


def test_detail_stays_where_the_edit_left_it_and_goes_where_it_was_painted_over():
    rng = np.random.default_rng(3)
    coarse = rng.uniform(-0.5, 0.5, (1, 16, 24, 3)).astype(np.float32)
    fine = np.repeat(np.repeat(coarse, 4, 1), 4, 2) + rng.uniform(-0.3, 0.3, (1, 64, 96, 3)).astype(np.float32)
    edited = coarse.copy()
    edited[:, :, :12] = 0.25
    still = np.zeros((1, 16, 24, 3), np.float32)
    change = Change(still[..., :2], still[..., 2:], coarse, edited)
    result = np.asarray(jax.jit(changed)(fine, change))
    np.testing.assert_allclose(result[:, :, 64:], fine[:, :, 64:], atol=1e-5)
    assert np.abs(result[:, :, :32] - 0.25).max() < 0.02
    # At the model's own size the result is what the model said, whatever it kept.
    np.testing.assert_allclose(jax.jit(changed)(coarse, change), edited, atol=1e-6)
    faded = kept_detail(coarse, 0.4 * coarse - 0.1)
    np.testing.assert_allclose(faded, np.full((1, 16, 24, 1), 0.4), atol=0.02)  # contrast falls to two fifths


@settings(max_examples=15)
@given(st.integers(3, 40), st.integers(3, 40))
def test_a_picture_that_fills_a_part_of_its_array_is_edited_alike(height, width):
    rng = np.random.default_rng(height * 41 + width)
    fine = rng.uniform(-1, 1, (1, height, width, 3)).astype(np.float32)
    flow, share = rng.uniform(-0.3, 0.3, (1, 8, 12, 2)), rng.uniform(size=(1, 8, 12, 1))
    change = Change(*(x.astype(np.float32) for x in (flow, share, *rng.uniform(-1, 1, (2, 1, 8, 12, 3)))))
    padded = np.pad(fine, ((0, 0), (0, 40 - height), (0, 40 - width), (0, 0)), mode="edge")
    found = LATE(padded, change, (height, width))[:, :height, :width]
    np.testing.assert_allclose(found, changed(fine, change), atol=2e-5)


def test_a_share_of_each_pixel_is_read_along_the_flow():
    flow = np.broadcast_to(np.float32([-0.25, 0.5]), (1, 8, 12, 2))
    share = np.random.default_rng(0).uniform(size=(1, 8, 12, 1)).astype(np.float32)
    expected = (1 - share) * slope(8, 12) + share * slope(8, 12, 0.25, 0.5)
    np.testing.assert_allclose(move(slope(8, 12), flow, share), expected, atol=1e-6)
