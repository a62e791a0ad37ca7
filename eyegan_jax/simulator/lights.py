"""Light on surfaces and mirrored in the cornea. Directions point from the eye to the light."""

import jax
import jax.numpy as jnp
from flax import struct

from eyegan_jax.simulator.geometry import Pose
from eyegan_jax.simulator.noise import smoothstep
from eyegan_jax.simulator.parameters import Capture
from eyegan_jax.simulator.vectors import Vec

LUMINANCE = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709, linear RGB


def to_bands(rgb, bands):
    """Linear RGB ``[..., 3]`` to the rendered bands ``[..., bands]``: unchanged, or the luminance."""
    rgb = jnp.asarray(rgb, jnp.float32)
    return rgb if bands == 3 else (rgb @ jnp.array(LUMINANCE, jnp.float32))[..., None]


def warmth(amount):
    """Colour ``[3]`` of equal luminance between blue (-1) and orange (+1)."""
    tint = jnp.stack([1.0 + 0.35 * amount, jnp.ones_like(amount), 1.0 - 0.45 * amount], axis=-1)
    return tint / (tint @ jnp.array(LUMINANCE))[..., None]


def directions(angles, pose: Pose) -> list[Vec]:
    """N unit vectors of the anatomical frame for (elevation, azimuth) ``[N, 2]`` of the camera frame."""
    elevation, azimuth = angles[..., 0], angles[..., 1]
    cos = jnp.cos(elevation)
    toward = Vec(cos * jnp.sin(azimuth), -jnp.sin(elevation), -cos * jnp.cos(azimuth)).turned(pose.to_camera.T)
    return [Vec(toward.x[k], toward.y[k], toward.z[k]) for k in range(angles.shape[0])]


class Lighting(struct.PyTreeNode):
    direction: list[Vec]  # L unit vectors
    color: jax.Array  # [L, bands], intensity included
    ambient: jax.Array  # [bands]
    gradient: jax.Array  # brightness from above over that from below
    up: Vec


def lighting(capture: Capture, pose: Pose, bands: int) -> Lighting:
    color = to_bands(warmth(capture.light_warmth), bands) * capture.light_intensity[:, None]
    # The surroundings take half of the key light's colour.
    ambient = to_bands(warmth(0.5 * capture.light_warmth[0]), bands) * capture.ambient
    up = Vec(*(-pose.to_camera[1]))
    return Lighting(directions(capture.light_angles, pose), color, ambient, capture.ambient_gradient, up)


def irradiance(light: Lighting, normal: Vec, wrap):
    """Light ``[..., bands]`` that falls on surfaces with these normals.

    ``wrap`` > 0 lets it reach round the terminator, as light scattered under the skin does.
    """
    total = light.ambient * (1.0 + light.gradient * normal.dot(light.up))[..., None]
    for k in range(len(light.direction)):
        facing = (normal.dot(light.direction[k]) + wrap) / (1.0 + wrap)
        total = total + light.color[k] * jnp.square(jnp.maximum(facing, 0.0))[..., None]
    return total


def typical_irradiance(light: Lighting):
    """Light ``[bands]`` on a face turned to the camera, for the exposure to adapt to; no picture content."""
    return irradiance(light, Vec(*jnp.array([0.0, 0.0, -1.0])), 0.3)


def mirrored(direction: Vec, normal: Vec) -> Vec:
    """The direction that a ray along ``direction`` takes after reflection."""
    return direction - normal * (2.0 * direction.dot(normal))


def fresnel(direction: Vec, normal: Vec):
    """Schlick's approximation for the tear film: 0.025 at normal incidence."""
    facing = jnp.clip(-direction.dot(normal), 0.0, 1.0)
    return 0.025 + 0.975 * (1.0 - facing) ** 5


def lobe(reflected: Vec, toward: Vec, size):
    """A round light of angular radius ``size`` (rad) seen in a mirror: 1 at its middle."""
    return jnp.exp(-(1.0 - reflected.dot(toward)) / jnp.square(size))


def surroundings(capture: Capture, pose: Pose, light: Lighting, reflected: Vec):
    """Brightness ``[..., bands]`` of the room seen along ``reflected``: sky over ground, and a window or screen."""
    elevation = reflected.dot(light.up)
    azimuth = reflected.dot(Vec(*pose.to_camera[0]))
    room = 0.25 + 0.75 * smoothstep(-0.3, 0.7, elevation)
    center_e, center_a, half_e, half_a = (jnp.sin(capture.window[k]) for k in range(4))
    soft = 0.04
    inside = (
        jnp.tanh((half_e - jnp.abs(elevation - center_e)) / soft),
        jnp.tanh((half_a - jnp.abs(azimuth - center_a)) / soft),
    )
    window = 0.25 * (1.0 + inside[0]) * (1.0 + inside[1]) * capture.window_intensity
    return (room + window)[..., None] * light.ambient
