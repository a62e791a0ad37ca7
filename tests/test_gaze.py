"""The gaze convention against worked cases and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyegan_jax import gaze
from eyegan_jax.images import to_float, to_gray, to_uint8

HALF = np.sqrt(0.5)
CASES = [  # UnityEyes' look_vec, our vector, pitch and yaw in degrees
    ((0, 0, -1), (0, 0, -1), (0, 0)),
    ((HALF, 0, -HALF), (HALF, 0, -HALF), (0, -45)),
    ((-HALF, 0, -HALF), (-HALF, 0, -HALF), (0, 45)),
    ((0, 0.5, -np.sqrt(0.75)), (0, -0.5, -np.sqrt(0.75)), (30, 0)),
    ((0, -0.5, -np.sqrt(0.75)), (0, 0.5, -np.sqrt(0.75)), (-30, 0)),
]


@pytest.mark.parametrize(("look", "vector", "degrees"), CASES)
def test_worked_cases(look, vector, degrees):
    ours = gaze.from_unityeyes(jnp.array(look, jnp.float32))
    np.testing.assert_allclose(ours, vector, atol=1e-6)
    np.testing.assert_allclose(np.degrees(gaze.vector_to_angles(ours)), degrees, atol=1e-4)
    np.testing.assert_allclose(gaze.to_unityeyes(ours), look, atol=1e-6)


@given(pitch=st.floats(-80, 80), yaw=st.floats(-170, 170))
def test_angles_round_trip_and_mirror(pitch, yaw):
    angles = jnp.radians(jnp.array([pitch, yaw], jnp.float32))
    vector = gaze.angles_to_vector(angles)
    np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-6)
    np.testing.assert_allclose(gaze.vector_to_angles(vector), angles, atol=2e-6)
    np.testing.assert_allclose(gaze.vector_to_angles(gaze.mirror(vector)), angles * np.array([1, -1]), atol=2e-6)


def test_angular_error_and_its_gradient():
    a = jnp.array([0.0, 0.0, -1.0])
    b = gaze.angles_to_vector(jnp.array([0.0, 0.3]))
    np.testing.assert_allclose(gaze.angular_error(a, b), 0.3, atol=1e-6)
    np.testing.assert_allclose(gaze.angular_error(a, -a), np.pi, atol=1e-6)
    assert np.isfinite(jax.grad(lambda v: gaze.angular_error(a, v))(b)).all()


def test_every_byte_survives_the_scaling():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(to_float(levels)), levels)
    np.testing.assert_allclose(to_float(levels)[[0, 255]], [-1, 1])
    np.testing.assert_array_equal(to_uint8(jnp.array([-7.0, 7.0])), [0, 255])


def test_gray_keeps_white_and_black():
    np.testing.assert_allclose(to_gray(jnp.array([[1.0, 1, 1], [-1, -1, -1]])), [[1], [-1]], atol=1e-6)
