"""The gaze convention of the whole library, as pure functions of arrays.

Camera frame: right-handed, x right, y down, z away from the camera. A gaze vector ``g`` is a unit
vector; looking into the camera is ``(0, 0, -1)``. ``pitch = asin(-g_y)``, ``yaw = atan2(-g_x, -g_z)``
(MPIIGaze's convention): positive pitch looks up, positive yaw looks to the viewer's left.
Radians everywhere in code, degrees only in what people read.
"""

import jax.numpy as jnp


def vector_to_angles(vector):
    """Gaze vectors ``[..., 3]`` to ``[..., 2]`` (pitch, yaw) in radians; the length does not matter."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    pitch = jnp.arctan2(-y, jnp.sqrt(x * x + z * z))
    return jnp.stack([pitch, jnp.arctan2(-x, -z)], axis=-1)


def angles_to_vector(angles):
    """``[..., 2]`` (pitch, yaw) in radians to unit gaze vectors ``[..., 3]``."""
    pitch, yaw = angles[..., 0], angles[..., 1]
    cos_pitch = jnp.cos(pitch)
    return jnp.stack([-cos_pitch * jnp.sin(yaw), -jnp.sin(pitch), -cos_pitch * jnp.cos(yaw)], axis=-1)


def angular_error(a, b):
    """Angle in radians between vectors ``[..., 3]`` of any positive length.

    ``atan2`` of cross and dot product: exact near 0 and pi, where ``arccos`` loses all digits.
    """
    cross = jnp.linalg.norm(jnp.cross(a, b), axis=-1)
    return jnp.arctan2(cross, jnp.sum(a * b, axis=-1))


def mirror(vector):
    """The gaze after the image is flipped left to right: x, and with it yaw, changes sign."""
    return vector * jnp.array([-1.0, 1.0, 1.0], vector.dtype)


def from_unityeyes(look_vec):
    """UnityEyes' ``look_vec`` (x right, y up, z negative toward the camera) to this convention."""
    vector = look_vec[..., :3] * jnp.array([1.0, -1.0, 1.0])
    return vector / jnp.linalg.norm(vector, axis=-1, keepdims=True)


def to_unityeyes(vector):
    """Inverse of :func:`from_unityeyes`, without UnityEyes' fourth component."""
    return vector * jnp.array([1.0, -1.0, 1.0])
