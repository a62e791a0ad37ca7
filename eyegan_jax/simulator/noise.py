"""Procedural texture: hashed lattice values, so that no random bits are stored and any pixel stands alone."""

import jax
import jax.numpy as jnp

TWO_PI = 6.283185307179586


def stage(values):
    """Keeps XLA from fusing across this point. Without it, its fusion copies the producers of every stage (noise
    above all) into each of their consumers, which makes both compilation and the picture several times slower."""
    return jax.lax.optimization_barrier(values)


def hash_uniform(x, y, seed):
    """Integers (int32 arrays and a uint32 seed) to uniform float32 in [0, 1): a multiply-xorshift finaliser."""
    h = x.astype(jnp.uint32) * jnp.uint32(0x8DA6B343)
    h = h ^ (y.astype(jnp.uint32) * jnp.uint32(0xD8163841)) ^ (seed * jnp.uint32(0xCB1AB31F))
    h = (h ^ (h >> 15)) * jnp.uint32(0x2C1B3C6D)
    h = (h ^ (h >> 12)) * jnp.uint32(0x297A2D39)
    h = h ^ (h >> 15)
    # 24 bits fit a float32 mantissa exactly.
    return (h >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)


ENDLESS = 2**30  # a period that no coordinate reaches


def noise_layers(seed, *layers):
    """Smooth noise in [-1, 1] with one feature per unit of x and y: a list of arrays, one per layer.

    Each layer is ``(x, y)`` or ``(x, y, period)`` with arrays of one common shape; the period wraps the lattice
    in x. Layer k uses seed + k. Layers are computed together, as one kernel. Cubic interpolation of hashed
    values: continuous with continuous first derivative, so that the picture is differentiable in everything
    that moves the texture.
    """
    x = jnp.stack([layer[0] for layer in layers])
    y = jnp.stack([layer[1] for layer in layers])
    ones = (1,) * (x.ndim - 1)
    period = jnp.array([layer[2] if len(layer) == 3 else ENDLESS for layer in layers], jnp.int32).reshape(-1, *ones)
    seeds = (seed + jnp.arange(len(layers), dtype=jnp.uint32)).reshape(-1, *ones)
    floor_x, floor_y = jnp.floor(x), jnp.floor(y)
    fx, fy = x - floor_x, y - floor_y
    ix, iy = floor_x.astype(jnp.int32), floor_y.astype(jnp.int32)
    left, right = ix % period, (ix + 1) % period
    sx, sy = fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy)
    top = hash_uniform(left, iy, seeds) * (1.0 - sx) + hash_uniform(right, iy, seeds) * sx
    bottom = hash_uniform(left, iy + 1, seeds) * (1.0 - sx) + hash_uniform(right, iy + 1, seeds) * sx
    value = stage(2.0 * (top + (bottom - top) * sy) - 1.0)
    return [value[k] for k in range(len(layers))]


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
    """Coverage of a half-plane by a pixel of size ``pixel`` whose centre lies ``distance`` inside (both mm).

    A cubic from 0 to 1 over 1.5 pixels with 0.5 at the edge; exactly 0 and 1 beyond, so that nothing of what
    lies behind an edge leaks through.
    """
    t = jnp.clip(0.5 + distance / (1.5 * pixel), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def mix(first, second, share):
    """``first`` where ``share`` is 0, ``second`` where it is 1, exactly, whatever the other one is."""
    return first * (1.0 - share) + second * share
