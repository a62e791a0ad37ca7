"""Random changes of one eye image, with its mask where pixels move; pure functions of a key, on the device.

Images are float32 ``[H, W, 1]`` in [-1, 1], masks int ``[H, W]``. Lengths are fractions of the image height, so
that one setting serves every resolution. :func:`augment` is what training calls, vmapped over a batch.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from eyegan_jax.gaze import mirror


@dataclass(frozen=True)
class Augmentation:
    """How often (``*_chance``) and how strongly an image is changed. The defaults are RITnet's.

    RITnet: mirror 0.5, starburst 0.2, lines 0.2, Gaussian blur (7 taps, sigma 2 to 6 px) 0.2, shift of up to 38 of
    640 px with 0.4. ``zoom`` (log-uniform), ``rotation`` (radians), ``gamma`` (log-uniform exponent), ``contrast``,
    ``brightness``, ``light`` (slope of a lighting ramp) and ``noise`` are off there.
    """

    mirror_chance: float = 0.5
    move_chance: float = 0.4
    shift: float = 38 / 640
    zoom: float = 0.0
    rotation: float = 0.0
    tone_chance: float = 0.0
    gamma: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    light: float = 0.0
    starburst_chance: float = 0.2
    lines_chance: float = 0.2
    blur_chance: float = 0.2
    blur_sigma: tuple[float, float] = (2.0, 6.0)
    noise_chance: float = 0.0
    noise: float = 0.0


WIDE = Augmentation(
    move_chance=0.8,
    shift=0.12,
    zoom=0.35,
    rotation=0.35,
    tone_chance=0.8,
    gamma=0.7,
    contrast=0.5,
    brightness=0.3,
    light=0.8,
    blur_chance=0.3,
    blur_sigma=(0.4, 2.5),
    noise_chance=0.5,
    noise=0.12,
)
"""For images of cameras that training has not seen: strong changes of place, tone, light, focus and noise."""

OTHER_CAMERA = dataclasses.replace(WIDE, mirror_chance=0.0, move_chance=0.0)
"""Of them those that leave every pixel in its place."""


def augment(key, image, mask, how: Augmentation):
    """One image and its mask, each change with its chance, in the order of a camera: eye, light, lens, sensor."""
    keys = jax.random.split(key, 8)
    chances = jax.random.uniform(keys[0], (7,))

    mirrored = chances[0] < how.mirror_chance
    image, mask = jnp.where(mirrored, image[:, ::-1], image), jnp.where(mirrored, mask[:, ::-1], mask)

    moved = move(keys[1], image, mask, how.shift, how.zoom, how.rotation)
    image, mask = _sometimes(chances[1] < how.move_chance, moved, (image, mask))

    toned = tone(keys[2], image, how.gamma, how.contrast, how.brightness, how.light)
    image = _sometimes(chances[2] < how.tone_chance, toned, image)
    image = _sometimes(chances[3] < how.starburst_chance, starburst(keys[3], image), image)
    image = _sometimes(chances[4] < how.lines_chance, lines(keys[4], image), image)
    image = _sometimes(chances[5] < how.blur_chance, blur(keys[5], image, *how.blur_sigma), image)
    image = _sometimes(chances[6] < how.noise_chance, noise(keys[6], image, how.noise), image)
    return image, mask


def _sometimes(happens, changed, same):
    return jax.tree.map(lambda a, b: jnp.where(happens, a, b), changed, same)


def move(key, image, mask, shift: float, zoom: float, rotation: float):
    """Shift, zoom and turn around the centre; what comes in from outside repeats the edge."""
    height, width = mask.shape
    dy, dx, log_zoom, angle = jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
    offset = jnp.stack([dy, dx]) * shift * height
    scale, angle = jnp.exp(-log_zoom * zoom), angle * rotation
    turn = scale * jnp.array([[jnp.cos(angle), jnp.sin(angle)], [-jnp.sin(angle), jnp.cos(angle)]])
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")) - centre[:, None, None]
    source = jnp.einsum("ij,jhw->ihw", turn, grid, precision="highest") + (centre - offset)[:, None, None]
    moved = map_coordinates(image[..., 0], source, order=1, mode="nearest")[..., None]
    return moved, map_coordinates(mask, source, order=0, mode="nearest")


def tone(key, image, gamma: float, contrast: float, brightness: float, light: float):
    """Another exposure: gamma, contrast, brightness, and a ramp of light across the image in any direction."""
    height, width, _ = image.shape
    g, c, b, slope, direction = jax.random.uniform(key, (5,), minval=-1.0, maxval=1.0)
    y, x = jnp.linspace(-0.5, 0.5, height)[:, None, None], jnp.linspace(-0.5, 0.5, width)[None, :, None]
    ramp = slope * light * (y * jnp.sin(jnp.pi * direction) + x * jnp.cos(jnp.pi * direction))
    # The floor keeps the power's slope finite at black.
    unit = jnp.clip((image + 1) / 2, 1e-4, 1.0) ** jnp.exp(g * gamma) * jnp.exp(ramp)
    return jnp.clip((2 * unit - 1) * jnp.exp(c * contrast) + b * brightness, -1.0, 1.0)


def starburst(key, image):
    """The star of light that a lamp makes on a spectacle glass: bright rays from a random point."""
    height, width, _ = image.shape
    place, shape, rays = jax.random.split(key, 3)
    centre = jax.random.uniform(place, (2,)) * jnp.array([height, width])
    length, sharpness, phase, strength = jax.random.uniform(
        shape, (4,), minval=jnp.array([0.05, 8.0, 0.0, 0.5]), maxval=jnp.array([0.4, 60.0, jnp.pi, 2.0])
    )
    count = jax.random.randint(rays, (), 2, 7)
    y, x = jnp.arange(height)[:, None] - centre[0], jnp.arange(width)[None, :] - centre[1]
    radius, angle = jnp.hypot(y, x) / height, jnp.arctan2(y, x)
    star = jnp.abs(jnp.cos(count * angle / 2 + phase)) ** sharpness * jnp.exp(-radius / length)
    halo = jnp.exp(-((radius / 0.03) ** 2))
    return jnp.clip(image + strength * jnp.maximum(star, halo)[..., None], -1.0, 1.0)


def lines(key, image, most: int = 9):
    """One to ``most`` straight strokes of one gray each, a pixel or so wide, through the middle of the image."""
    height, width, _ = image.shape
    place, direction, gray, number = jax.random.split(key, 4)
    through = jax.random.uniform(place, (most, 2), minval=0.2, maxval=0.8) * jnp.array([height, width])
    angle = jax.random.uniform(direction, (most,), maxval=jnp.pi)
    value = jax.random.uniform(gray, (), minval=-1.0, maxval=1.0)
    drawn = jnp.arange(most) < jax.random.randint(number, (), 1, most + 1)
    y, x = jnp.arange(height)[:, None, None], jnp.arange(width)[None, :, None]
    away = (y - through[:, 0]) * jnp.cos(angle) - (x - through[:, 1]) * jnp.sin(angle)
    stroke = (jnp.abs(away) < max(1.0, height / 300)) & drawn
    return jnp.where(stroke.any(-1, keepdims=True), value, image)


def blur(key, image, low: float, high: float, taps: int = 7):
    """Gaussian blur of 7x7 taps, sigma uniform in [low, high] pixels."""
    sigma = jax.random.uniform(key, (), minval=low, maxval=high)
    offsets = jnp.arange(taps) - taps // 2
    weights = jax.nn.softmax(-0.5 * (offsets / sigma) ** 2)
    height, width, _ = image.shape
    padded = jnp.pad(image, ((taps // 2,) * 2, (taps // 2,) * 2, (0, 0)), mode="edge")
    rows = jnp.stack([padded[i : i + height] for i in range(taps)], axis=-1) @ weights
    return jnp.stack([rows[:, i : i + width] for i in range(taps)], axis=-1) @ weights


def noise(key, image, strength: float):
    """Additive Gaussian noise whose standard deviation is uniform in [0, strength]."""
    amount, each = jax.random.split(key)
    deviation = jax.random.uniform(amount, (), maxval=strength)
    return jnp.clip(image + deviation * jax.random.normal(each, image.shape), -1.0, 1.0)


MIRRORED = ("image", "mask", "gaze", "target_image", "target_mask", "target_gaze", "references", "motion")
"""Fields of a sample of pairs that look otherwise in a mirror."""


def mirrored_pair(sample: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """One pair of pictures as in a mirror: a left eye becomes a right one. Fields that are not in MIRRORED stay."""

    def turned(name: str, value: jax.Array) -> jax.Array:
        if name.endswith("gaze"):
            return mirror(value)
        if name == "motion":
            value = value * jnp.array([1, -1, 1], value.dtype)
        return jnp.flip(value, axis={"references": 2}.get(name, 1))

    return {name: turned(name, value) if name in MIRRORED else value for name, value in sample.items()}
