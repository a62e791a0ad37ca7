"""Iris and pupil in polar coordinates of the iris plane: fibres, crypts, collarette, furrows, limbal ring."""

import jax
import jax.numpy as jnp
from flax import struct

from eyegan_jax.simulator.geometry import Ball
from eyegan_jax.simulator.lights import to_bands
from eyegan_jax.simulator.noise import TWO_PI, bell, edge, mix, noise_layers, smoothstep
from eyegan_jax.simulator.parameters import Capture, Subject
from eyegan_jax.simulator.vectors import safe_sqrt
from eyegan_jax.simulator.views import View

AMBER = (0.24, 0.12, 0.03)
PUPIL_ALBEDO = 0.004
# Radius (mm) given to rays that miss the cornea, outside every iris.
OUTSIDE = 9.0


class Iris(struct.PyTreeNode):
    """What a ray finds in the iris plane, each ``[H, W]`` or ``[H, W, bands]``."""

    color: jax.Array
    iris: jax.Array  # coverage of iris and pupil together
    pupil: jax.Array  # coverage of the pupil
    iris_distance: jax.Array  # mm inside the iris's border (true size), negative outside
    pupil_distance: jax.Array  # mm inside the pupil's border, negative outside
    radius: jax.Array  # share of the way from the iris's centre to its border


def pupil_ellipse(subject: Subject, capture: Capture):
    """Centre ``[2]`` and semi-axes ``[2]`` (outward, down) of the true pupil in the iris plane (mm)."""
    center = subject.pupil_offset * jnp.array([-1.0, -1.0])
    axes = capture.pupil_radius * jnp.stack([1.0 - subject.pupil_ellipticity, 1.0 + subject.pupil_ellipticity])
    return center, axes


def texture(subject: Subject, angle, way, view: View):
    """Albedo factor ``[H, W]`` about 1 at polar position (angle, ``way`` from pupil 0 to border 1)."""
    turn = angle / TWO_PI + 0.5
    layers = [
        (48.0 * turn, 1.5 * way, 48),
        (20.0 * turn, 5.0 * way, 20),
        (22.0 * turn, jnp.zeros_like(way), 22),
    ]
    if view.mm_per_pixel < 0.2:
        # Fibres wander as they run outward.
        (wander,) = noise_layers(subject.iris_seed + 10, (12.0 * turn, 3.0 * way, 12))
        turn = turn + 0.015 * wander
        layers[0] = (48.0 * turn, 1.5 * way, 48)
        layers += [(112.0 * turn, 2.5 * way, 112), (5.0 * turn, 9.0 * way, 5)]
    fibers, spots, zigzag, *fine = noise_layers(subject.iris_seed, *layers)
    if fine:
        fibers = 0.65 * fibers + 0.55 * fine[0]
    factor = 1.0 + subject.iris_fibers * fibers
    # Crypts: dark gaps near the collarette; furrows: faint arcs further out.
    zone = bell(way - subject.collarette - 0.15, 0.18)
    factor = factor * (1.0 - subject.iris_crypts * zone * smoothstep(0.15, 0.9, spots))
    if fine:
        arcs = smoothstep(0.2, 0.6, fine[1])
        factor = factor * (1.0 - subject.iris_furrows * smoothstep(0.55, 0.9, way) * arcs)
    ridge = bell(way - subject.collarette - 0.05 * zigzag, 0.07)
    return factor * (1.0 + subject.collarette_contrast * ridge)


def shade_iris(subject: Subject, capture: Capture, ball: Ball, view: View, pixel) -> Iris:
    """Albedo of iris and pupil where the refracted rays meet the iris plane."""
    radius = safe_sqrt(ball.outward**2 + ball.down**2)
    radius = jnp.where(ball.in_cornea, radius, OUTSIDE)
    center, axes = pupil_ellipse(subject, capture)
    from_pupil = safe_sqrt(((ball.outward - center[0]) / axes[0]) ** 2 + ((ball.down - center[1]) / axes[1]) ** 2)
    pupil_distance = jnp.where(ball.in_cornea, (1.0 - from_pupil) * capture.pupil_radius, -OUTSIDE)
    iris_distance = subject.iris_radius - radius
    way = jnp.clip((from_pupil - 1.0) * capture.pupil_radius / (subject.iris_radius - capture.pupil_radius), 0.0, 1.2)
    # A point off the centre keeps arctan2 differentiable at the exact middle, which lies in the pupil.
    angle = jnp.arctan2(ball.down + 1e-4, ball.outward + 1e-4)
    share = radius / subject.iris_radius
    factor = texture(subject, angle, way, view)
    limbus = subject.limbal_ring * smoothstep(0.78, 1.0, share)
    if view.look == "infrared":
        factor = 1.0 + 0.55 * (factor - 1.0)
        color = (subject.iris_infrared * factor * (1.0 - 0.35 * limbus))[..., None]
        pupil_color = jnp.full((1,), PUPIL_ALBEDO) + 0.8 * capture.bright_pupil
    else:
        inner = subject.heterochromia * (1.0 - smoothstep(subject.collarette, subject.collarette + 0.25, way))
        base = to_bands(subject.iris_color, view.bands)
        amber = to_bands(jnp.array(AMBER), view.bands)
        color = mix(base, amber, inner[..., None])
        color = color * (factor * (1.0 - 0.8 * limbus))[..., None]
        pupil_color = jnp.full((view.bands,), PUPIL_ALBEDO)
    pupil = edge(pupil_distance, jnp.maximum(pixel, 0.12))
    color = jnp.maximum(color, 0.002)
    color = mix(color, pupil_color, pupil[..., None])
    # The limbus is a zone, not a line: iris and sclera mix over about half a millimetre, within the cornea.
    cover = edge(iris_distance, jnp.maximum(pixel, 0.45)) * smoothstep(0.0, 0.3, ball.rim)
    return Iris(color, cover, pupil, iris_distance, pupil_distance, share)
