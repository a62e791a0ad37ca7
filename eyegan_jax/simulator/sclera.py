"""The white of the eye: tint, veins, and the caruncle at its inner end."""

import jax.numpy as jnp

from eyegan_jax.simulator.geometry import Pose, dot, safe_sqrt
from eyegan_jax.simulator.lights import to_bands
from eyegan_jax.simulator.noise import TWO_PI, smoothstep, value_noise
from eyegan_jax.simulator.parameters import Subject
from eyegan_jax.simulator.views import View

CARUNCLE = (0.42, 0.19, 0.16)


def shade_sclera(subject: Subject, pose: Pose, points, view: View):
    """Albedo ``[H, W, bands]`` at points ``[H, W, 3]`` of the ball."""
    # Polar coordinates about the optical axis: the vessels turn with the ball and run toward the limbus.
    outward, down = dot(points, pose.right), dot(points, pose.down)
    angle = jnp.arctan2(down + 1e-4, outward + 1e-4) / TWO_PI + 0.5
    radius = safe_sqrt(outward * outward + down * down) / subject.ball_radius
    away = smoothstep(0.5, 1.0, radius)
    if view.look == "infrared":
        infrared = 0.62 * subject.sclera_albedo * (1.0 - 0.1 * away)
        return infrared[..., None] if view.mm_per_pixel > 0.3 else _veined(subject, angle, radius, away, infrared)
    white = jnp.stack(
        [
            jnp.ones_like(away),
            1.0 - 0.08 * subject.sclera_yellow - (0.10 + 0.35 * away) * subject.sclera_red,
            1.0 - 0.30 * subject.sclera_yellow - (0.08 + 0.35 * away) * subject.sclera_red,
        ],
        axis=-1,
    )
    color = to_bands(white * subject.sclera_albedo, view.bands)
    vessel = _vessels(subject, angle, radius, view) * away
    vein_tint = to_bands(jnp.array([0.25, 0.75, 0.75]), view.bands)
    return color * (1.0 - subject.veins * vessel[..., None] * vein_tint)


def _veined(subject, angle, radius, away, infrared):
    vessel = value_noise(20.0 * angle, 3.0 * radius, subject.iris_seed + 33, period=20)
    return (infrared * (1.0 - 0.25 * subject.veins * away * smoothstep(0.6, 0.95, 1.0 - jnp.abs(vessel))))[..., None]


def _vessels(subject: Subject, angle, radius, view: View):
    """Ridged noise: thin dark lines where the noise crosses zero, bent by a second noise."""
    bend = value_noise(9.0 * angle, 5.0 * radius, subject.iris_seed + 31, period=9)
    lines = value_noise(22.0 * angle + 0.6 * bend, 2.2 * radius + 0.5 * bend, subject.iris_seed + 32, period=22)
    vessel = smoothstep(0.72, 0.98, 1.0 - jnp.abs(lines))
    if view.mm_per_pixel < 0.15:
        fine = value_noise(60.0 * angle + bend, 6.0 * radius + bend, subject.iris_seed + 33, period=60)
        vessel = vessel + 0.5 * smoothstep(0.75, 1.0, 1.0 - jnp.abs(fine))
    return jnp.minimum(vessel, 1.0)


def caruncle_color(subject: Subject, view: View):
    """Albedo ``[bands]`` of the pink flesh in the inner corner."""
    if view.look == "infrared":
        return jnp.full((1,), 0.38)
    return to_bands(jnp.array(CARUNCLE) * (1.0 - 0.45 * subject.melanin), view.bands)
