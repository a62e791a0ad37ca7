"""Augmentation: masks move with their images, tone leaves masks alone, and every change is one of its key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax.data import augmentation
from eyegan_jax.data.augmentation import OTHER_CAMERA, WIDE, Augmentation

KEY = jax.random.key(3)


def disc(height=48, width=64, centre=(20, 40), radius=9):
    y, x = np.mgrid[:height, :width]
    mask = (np.hypot(y - centre[0], x - centre[1]) < radius).astype(np.int32) * 3
    return jnp.asarray(np.where(mask, -0.9, 0.5)[..., None], jnp.float32), jnp.asarray(mask)


@jax.jit
def many_moves(keys, image, mask):
    return jax.vmap(lambda k: augmentation.move(k, image, mask, 0.1, 0.3, 0.4))(keys)


def test_the_mask_moves_with_the_image():
    image, mask = disc()
    images, masks = many_moves(jax.random.split(KEY, 16), image, mask)
    dark = np.asarray(images[..., 0]) < -0.2
    # Interpolated and nearest borders differ by less than a pixel around a disc of radius 9.
    assert (dark != (np.asarray(masks) == 3)).mean() < 0.01
    areas = (np.asarray(masks) == 3).sum((1, 2))
    assert len(set(areas.tolist())) > 8, "zoom must change the area"


def test_a_pure_shift_is_exact_and_repeats_the_edge():
    image, mask = disc()
    moved, moved_mask = augmentation.move(KEY, image, mask, 0.0, 0.0, 0.0)
    np.testing.assert_allclose(moved, image, atol=1e-6)
    np.testing.assert_array_equal(moved_mask, mask)


def test_mirror_flips_both_and_nothing_else():
    image, mask = disc()
    only_mirror = Augmentation(mirror_chance=1.0, move_chance=0, starburst_chance=0, lines_chance=0, blur_chance=0)
    flipped, flipped_mask = jax.jit(lambda k: augmentation.augment(k, image, mask, only_mirror))(KEY)
    np.testing.assert_array_equal(flipped, image[:, ::-1])
    np.testing.assert_array_equal(flipped_mask, mask[:, ::-1])


def test_blur_is_a_normalised_gaussian():
    flat = jnp.full((20, 24, 1), 0.3)
    np.testing.assert_allclose(augmentation.blur(KEY, flat, 2.0, 2.0), flat, atol=1e-6)
    spike = jnp.zeros((21, 21, 1)).at[10, 10].set(1.0)
    row = np.asarray(augmentation.blur(KEY, spike, 2.0, 2.0))[10, 7:14, 0]
    taps = np.exp(-0.5 * (np.arange(-3, 4) / 2.0) ** 2)
    taps /= taps.sum()
    np.testing.assert_allclose(row, taps[3] * taps, atol=1e-6)


@pytest.mark.parametrize("change", [augmentation.starburst, augmentation.lines])
def test_overlays_change_a_small_part_and_stay_in_range(change):
    image = jnp.full((64, 48, 1), -0.5)
    results = np.stack([change(key, image) for key in jax.random.split(KEY, 4)])
    touched = (np.abs(results + 0.5) > 0.05).mean((1, 2, 3))
    assert (touched > 0).all() and (touched < 0.6).all()
    assert results.min() >= -1 and results.max() <= 1


def test_wide_augmentation_is_a_function_of_its_key_and_stays_in_range():
    image, mask = disc()
    run = jax.jit(jax.vmap(lambda k: augmentation.augment(k, image, mask, WIDE)))
    keys = jax.random.split(KEY, 8)
    images, masks = run(keys)
    again, _ = run(keys)
    np.testing.assert_array_equal(images, again)
    assert np.isfinite(images).all() and np.abs(images).max() <= 1.0
    assert set(np.unique(masks).tolist()) <= {0, 3}
    assert len({np.asarray(i).tobytes() for i in images}) == 8


def test_another_camera_changes_how_things_look_and_not_where_they_are():
    image, mask = disc()
    run = jax.jit(jax.vmap(lambda k: augmentation.augment(k, image, mask, OTHER_CAMERA)))
    images, masks = jax.device_get(run(jax.random.split(KEY, 16)))
    np.testing.assert_array_equal(masks, np.broadcast_to(mask, masks.shape))
    inside = np.asarray(mask) > 0
    darker = [float(i[inside].mean() < i[~inside].mean()) for i in images]
    assert np.mean(darker) == (image[inside].mean() < image[~inside].mean())
    assert len({i.tobytes() for i in images}) > 12
