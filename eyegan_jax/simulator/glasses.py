"""Glasses: a rounded frame in front of the eye, a tinted lens, and a patch of glare on it."""

import jax.numpy as jnp

from eyegan_jax.simulator.noise import edge
from eyegan_jax.simulator.parameters import Capture

SUPERELLIPSE = 4.0  # exponent of the frame's outline: 2 ellipse, larger squarer


def _outline(box, x, y, power):
    """Distance (mm, approximate) inside a superellipse given by (centre x, centre y, half width, half height)."""
    u, v = (x - box[0]) / box[2], (y - box[1]) / box[3]
    level = (jnp.abs(u) ** power + jnp.abs(v) ** power + 1e-9) ** (1.0 / power)
    return (1.0 - level) * jnp.minimum(box[2], box[3])


def frame_coverage(capture: Capture, x, y, pixel):
    """Coverage ``[H, W]`` of the frame at (x, y) mm in the face's plane."""
    distance = _outline(capture.glasses_frame, x, y, SUPERELLIPSE)
    half = 0.5 * capture.glasses_thickness
    rim = edge(half - jnp.abs(distance), pixel)
    # The bridge to the nose.
    bridge = edge(half - jnp.abs(y - capture.glasses_frame[1] + 0.4 * capture.glasses_frame[3]), pixel)
    bridge = bridge * edge(capture.glasses_frame[0] - capture.glasses_frame[2] - x, pixel)
    return capture.glasses * jnp.maximum(rim, bridge)


def lens_coverage(capture: Capture, x, y, pixel):
    return capture.glasses * edge(_outline(capture.glasses_frame, x, y, SUPERELLIPSE), pixel)


def glare_brightness(capture: Capture, x, y):
    """Brightness ``[H, W]`` of the lamp or window mirrored in the lens."""
    # Lenses are curved: the patch leans and its border is soft.
    patch = _outline(capture.glare_box, x + 0.35 * y, y - 0.15 * x, 3.0)
    return capture.glare * edge(patch, 2.5)
