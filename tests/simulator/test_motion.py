"""The known motion of an eyeball against two pictures of it and against the labels that come with them."""

import dataclasses

import eyes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax.simulator import render
from eyegan_jax.simulator.motion import ball_motion
from eyegan_jax.simulator.pairs import with_camera_of

RADIANS = np.pi / 180.0
COUNT = 6


def straight(capture):
    """Neither lids nor lamps and their reflections in the way of the ball."""
    still = {
        "reflection": 0.0,
        "light_intensity": 0.0,
        "ambient": 1.2,
        "lid_shadow": 0.0,
        "glasses": 0.0,
        "torsion": 0.0,
    }
    values = {name: jnp.full_like(getattr(capture, name), value) for name, value in still.items()}
    return dataclasses.replace(capture, gaze=jnp.zeros(2), head=jnp.zeros(3), aperture=jnp.ones(()) * 1.2, **values)


@pytest.fixture(scope="module")
def moved():
    """Per eye: the first and second rendering and the motion, for a turn and for a pupil that widens."""
    subjects, captures = eyes.drawn(COUNT)

    @jax.jit
    @jax.vmap
    def both(subject, capture, yaw, pitch, widen):
        subject = dataclasses.replace(subject, iris_color=jnp.full(3, 0.3))  # light enough to show its texture
        first = subject, straight(capture)
        changed = {"gaze": jnp.stack([pitch, yaw]), "pupil_radius": widen * first[1].pupil_radius}
        second = (
            subject,
            with_camera_of(first, (subject, dataclasses.replace(first[1], **changed)), eyes.CLEAN, eyes.CROP),
        )
        pictures = [render(*eye, eyes.CROP, eyes.CLEAN) for eye in (first, second)]
        masks = jnp.stack([picture.mask for picture in pictures])
        return pictures, ball_motion(first, second, masks, eyes.CROP, eyes.CLEAN)

    yaw = np.array([-20.0, -10.0, 8.0, 20.0, 0.0, 0.0]) * RADIANS
    pitch = np.array([0.0, 6.0, -6.0, 0.0, 0.0, 0.0]) * RADIANS
    widen = np.array([1.0, 1.0, 1.0, 1.0, 1.5, 0.7])
    return jax.device_get(both(subjects, captures, yaw, pitch, widen))


def read(image, motion):
    """``image [H, W, ...]`` read where the motion says, bilinearly, in NumPy."""
    height, width = motion.shape[:2]
    y = np.clip(np.arange(height)[:, None] + motion[..., 0], 0, height - 1.001)
    x = np.clip(np.arange(width)[None] + motion[..., 1], 0, width - 1.001)
    top, left = y.astype(int), x.astype(int)
    down, right = ((v - v.astype(int)).reshape(*v.shape, *[1] * (image.ndim - 2)) for v in (y, x))
    upper = image[top, left] * (1 - right) + image[top, left + 1] * right
    lower = image[top + 1, left] * (1 - right) + image[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


def test_the_moved_picture_is_the_other_picture(moved):
    """Textures land where the second picture has them: what is left is the light, which does not turn."""
    (first, second), motion = moved
    for i in range(COUNT):
        known = motion[i, ..., 2] > 0
        before = np.abs(first.image[i] - second.image[i])[known].mean()
        after = np.abs(read(first.image[i], motion[i]) - second.image[i])[known].mean()
        assert known.sum() > 100 and after < 0.5 * before, (i, before, after)


def test_the_pupil_comes_from_the_pupil(moved):
    """At the middle of the second pupil the motion is the difference between the labels' middles."""
    (first, second), motion = moved
    for i in range(COUNT):
        x, y = second.pupil[i, :2]
        column, row = round(float(x)), round(float(y))
        assert motion[i, row, column, 2] == 1
        down, right = motion[i, row, column, :2]
        np.testing.assert_allclose([column + right, row + down], first.pupil[i, :2] + [column - x, row - y], atol=0.2)


def test_nothing_is_known_of_skin_and_classes_agree(moved):
    (first, second), motion = moved
    known = motion[..., 2] > 0
    assert not np.any(known & (second.mask == 0)) and np.all(motion[~known] == 0)
    for i in range(COUNT):
        row, column = np.nonzero(known[i])
        then = first.mask[i][
            np.round(row + motion[i, row, column, 0]).astype(int),
            np.round(column + motion[i, row, column, 1]).astype(int),
        ]
        assert np.array_equal(then > 1, second.mask[i, row, column] > 1) and np.all(then > 0)


def test_an_eye_that_stays_does_not_move(moved):
    subjects, captures = eyes.drawn(1)
    subject, capture = (eyes.one(tree, 0) for tree in (subjects, captures))
    mask = eyes.eyes()[2].mask[0]
    still = jax.jit(
        lambda: ball_motion((subject, capture), (subject, capture), jnp.stack([mask, mask]), eyes.CROP, eyes.CLEAN)
    )()
    known = np.asarray(still[..., 2]) > 0
    assert known.mean() > 0.95 * (mask > 0).mean()
    np.testing.assert_allclose(np.asarray(still)[known][:, :2], 0.0, atol=0.02)
