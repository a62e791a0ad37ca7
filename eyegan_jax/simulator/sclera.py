"""The white of the eye: tint, veins, and the caruncle at its inner end."""

import jax.numpy as jnp

from eyegan_jax.simulator.geometry import Pose
from eyegan_jax.simulator.lights import to_bands
from eyegan_jax.simulator.noise import TWO_PI, noise_layers, smoothstep
from eyegan_jax.simulator.parameters import Subject
from eyegan_jax.simulator.vectors import Vec, safe_sqrt
from eyegan_jax.simulator.views import View

CARUNCLE = (0.52, 0.29, 0.25)


def shade_sclera(subject: Subject, pose: Pose, points: Vec, view: View):
    """Albedo ``[H, W, bands]`` at points of the ball."""
    # Polar coordinates about the optical axis: the vessels turn with the ball and run toward the limbus.
    outward, down = points.dot(pose.right), points.dot(pose.down)
    angle = jnp.arctan2(down + 1e-4, outward + 1e-4) / TWO_PI + 0.5
    radius = safe_sqrt(outward * outward + down * down) / subject.ball_radius
    away = smoothstep(0.5, 1.0, radius)
    vessel = _vessels(subject, angle, radius, view) * away
    if view.look == "infrared":
        return (0.72 * subject.sclera_albedo * (1.0 - 0.1 * away) * (1.0 - 0.3 * subject.veins * vessel))[..., None]
    white = jnp.stack(
        [
            jnp.ones_like(away),
            1.0 - 0.08 * subject.sclera_yellow - (0.10 + 0.35 * away) * subject.sclera_red,
            1.0 - 0.30 * subject.sclera_yellow - (0.08 + 0.35 * away) * subject.sclera_red,
        ],
        axis=-1,
    )
    color = to_bands(white * subject.sclera_albedo, view.bands)
    vein_tint = to_bands(jnp.array([0.25, 0.75, 0.75]), view.bands)
    return color * (1.0 - subject.veins * vessel[..., None] * vein_tint)


def _vessels(subject: Subject, angle, radius, view: View):
    """Ridged noise: thin dark lines where the noise crosses zero, bent by a second noise."""
    (bend,) = noise_layers(subject.iris_seed + 30, (9.0 * angle, 5.0 * radius, 9))
    layers = [(22.0 * angle + 0.6 * bend, 2.2 * radius + 0.5 * bend, 22)]
    if view.mm_per_pixel < 0.15:
        layers.append((60.0 * angle + bend, 6.0 * radius + bend, 60))
    coarse, *fine = noise_layers(subject.iris_seed + 31, *layers)
    vessel = smoothstep(0.72, 0.98, 1.0 - jnp.abs(coarse))
    if fine:
        vessel = vessel + 0.5 * smoothstep(0.75, 1.0, 1.0 - jnp.abs(fine[0]))
    return jnp.minimum(vessel, 1.0)


def caruncle_color(subject: Subject, view: View):
    """Albedo ``[bands]`` of the pink flesh in the inner corner."""
    if view.look == "infrared":
        return jnp.full((1,), 0.38)
    return to_bands(jnp.array(CARUNCLE) * (1.0 - 0.3 * subject.melanin), view.bands)
