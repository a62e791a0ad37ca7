"""Procedural texture: hashed lattice values, so that no random bits are stored and any pixel stands alone."""

import jax.numpy as jnp

TWO_PI = 6.283185307179586


def hash_uniform(x, y, seed):
    """Integers (int32 arrays and a uint32 seed) to uniform float32 in [0, 1): a multiply-xorshift finaliser."""
    h = x.astype(jnp.uint32) * jnp.uint32(0x8DA6B343)
    h = h ^ (y.astype(jnp.uint32) * jnp.uint32(0xD8163841)) ^ (seed * jnp.uint32(0xCB1AB31F))
    h = (h ^ (h >> 15)) * jnp.uint32(0x2C1B3C6D)
    h = (h ^ (h >> 12)) * jnp.uint32(0x297A2D39)
    h = h ^ (h >> 15)
    # 24 bits fit a float32 mantissa exactly.
    return (h >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)


def value_noise(x, y, seed, period=None):
    """Smooth noise in [-1, 1] with one feature per unit of x and y; ``period`` wraps the lattice in x.

    Cubic interpolation of hashed values: continuous with continuous first derivative, so that the picture is
    differentiable in everything that moves the texture.
    """
    floor_x, floor_y = jnp.floor(x), jnp.floor(y)
    fx, fy = x - floor_x, y - floor_y
    ix, iy = floor_x.astype(jnp.int32), floor_y.astype(jnp.int32)
    left, right = (ix, ix + 1) if period is None else (ix % period, (ix + 1) % period)
    sx, sy = fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy)
    top = hash_uniform(left, iy, seed) * (1.0 - sx) + hash_uniform(right, iy, seed) * sx
    bottom = hash_uniform(left, iy + 1, seed) * (1.0 - sx) + hash_uniform(right, iy + 1, seed) * sx
    return 2.0 * (top + (bottom - top) * sy) - 1.0


def hash_normal(x, y, seed):
    """Approximately standard normal per lattice point: three uniforms summed (Irwin-Hall), |value| <= 3."""
    total = sum(hash_uniform(x, y, seed + jnp.uint32(k)) for k in (11, 23, 47))
    return 2.0 * (total - 1.5)


def smoothstep(low, high, x):
    """0 below ``low``, 1 above ``high``, a cubic between."""
    t = jnp.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bell(x, width):
    """exp(-(x / width)^2 / 2)."""
    return jnp.exp(-0.5 * jnp.square(x / width))


def edge(distance, pixel):
    """Coverage of a half-plane: 0.5 at distance 0 (mm), rising to 1 inside over about one ``pixel`` (mm)."""
    return 0.5 * (1.0 + jnp.tanh(2.0 * distance / pixel))
