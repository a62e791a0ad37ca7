"""Vectors as three separate planes: on every device this fuses better than a trailing axis of length 3."""

import jax
import jax.numpy as jnp
from flax import struct


class Vec(struct.PyTreeNode):
    """A field of 3-D vectors: three arrays of any one shape, with the arithmetic of vectors."""

    x: jax.Array
    y: jax.Array
    z: jax.Array

    def __add__(self, other: "Vec") -> "Vec":
        return Vec(self.x + other.x, self.y + other.y, self.z + other.z)

    def __sub__(self, other: "Vec") -> "Vec":
        return Vec(self.x - other.x, self.y - other.y, self.z - other.z)

    def __mul__(self, factor) -> "Vec":
        return Vec(self.x * factor, self.y * factor, self.z * factor)

    __rmul__ = __mul__

    def dot(self, other: "Vec"):
        return self.x * other.x + self.y * other.y + self.z * other.z

    def cross(self, other: "Vec") -> "Vec":
        return Vec(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )

    def unit(self) -> "Vec":
        return self * jax.lax.rsqrt(jnp.maximum(self.dot(self), 1e-12))

    def turned(self, matrix) -> "Vec":
        """``matrix`` ``[3, 3]`` times the vectors."""
        return Vec(*(row[0] * self.x + row[1] * self.y + row[2] * self.z for row in matrix))

    def array(self):
        """``[..., 3]``"""
        return jnp.stack([self.x, self.y, self.z], axis=-1)


def vec(array) -> Vec:
    """``[..., 3]`` to a Vec of ``[...]``."""
    return Vec(array[..., 0], array[..., 1], array[..., 2])


def safe_sqrt(x, floor=1e-6):
    """Square root with a finite gradient: arguments below ``floor`` are held there."""
    return jnp.sqrt(jnp.maximum(x, floor))
