"""Where the pupil is: a detector that learns nothing, so that it can judge networks that do.

In gray eye crops pupil and iris are the largest round dark thing near the middle. The detector takes the disc
whose inside is darkest against its surrounding ring over all positions and radii (a centre-surround form of
Daugman's 1993 integro-differential operator), then walks to the centroid of the darkness in that disc, to a
fraction of a pixel. Darkness is the logarithm of a pixel's rank within its own image.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.evaluation.batches import in_batches

VISIBLE = (0.05, 0.07, 0.09, 0.115, 0.145, 0.18)
"""Disc radii tried, as fractions of the image width: dark irises, with or without a brighter rim."""
INFRARED = (0.035, 0.05, 0.065, 0.08, 0.1, 0.12)
"""The same for infrared close-ups, where the pupil alone is dark."""


def _disc(radius, height, width):
    """Centred at pixel (0, 0) of the FFT plane; its edge is one pixel soft, so radii need not be whole."""
    y = np.fft.fftfreq(height, 1 / height)[:, None]
    x = np.fft.fftfreq(width, 1 / width)[None, :]
    return np.clip(radius + 0.5 - np.hypot(x, y), 0.0, 1.0)


@functools.cache
def _kernels(height, width, reach, image_width, fractions):
    """Fourier transforms ``[R, h, w // 2 + 1]`` of discs and of the rings around them, padded planes."""
    radii = [max(1.5, r * image_width) for r in fractions]
    discs = [_disc(r, height, width) for r in radii]
    rings = [_disc(min(1.5 * r + 1, reach), height, width) - d for r, d in zip(radii, discs, strict=True)]
    return tuple(np.fft.rfft2(np.stack(k)).astype(np.complex64) for k in (discs, rings)), np.asarray(radii, np.float32)


def log_ranks(gray) -> np.ndarray:
    """uint8 ``[N, H, W]`` to float32 log(rank + 0.03), rank in (0, 1) of a pixel's level in its image.

    A monotonic change of tones (exposure, gamma, contrast) changes nothing: a refiner that does only that
    moves no pupil. The logarithm spreads the darkest few percent, which are pupil, iris and lashes.
    """
    out = np.empty(gray.shape, np.float32)
    for i, image in enumerate(gray):
        counts = np.bincount(image.ravel(), minlength=256)
        out[i] = np.log((np.cumsum(counts) - counts / 2) / image.size + 0.03)[image]
    return out


@functools.partial(jax.jit, static_argnames="fractions")
def _detect(gray, levels, fractions):
    """Centres ``[N, 2]`` found in ``gray`` (log ranks), and the contrast there in ``levels``."""
    count, height, width = gray.shape
    reach = int(1.5 * max(fractions) * width) + 2
    shape = (height + reach, width + reach)
    (discs, rings), radii = jax.tree.map(jnp.asarray, _kernels(*shape, reach, width, fractions))

    def spread(plane, kernels):
        transformed = jnp.fft.rfft2(plane, s=shape)[:, None] * kernels
        return jnp.fft.irfft2(transformed, s=shape)[..., :height, :width]

    # Averages over the part of each disc and ring that lies inside the image.
    inside = jnp.ones((1, height, width), jnp.float32)
    disc_area, ring_area = spread(inside, discs), spread(inside, rings)
    disc_mean = spread(gray, discs) / jnp.maximum(disc_area, 1e-3)
    ring_mean = spread(gray, rings) / jnp.maximum(ring_area, 1e-3)
    # Most of the disc must be in the picture; larger discs are harder to fill, hence the mild preference.
    full = (disc_area >= 0.7 * disc_area.max((-2, -1), keepdims=True)) & (
        ring_area >= 0.6 * ring_area.max((-2, -1), keepdims=True)
    )
    y, x = jnp.arange(height, dtype=jnp.float32)[:, None], jnp.arange(width, dtype=jnp.float32)
    # A crop is cut around its eye: dark corners and brows lose against what is near the middle.
    off_y, off_x = (2 * y / (height - 1) - 1) / 0.7, (2 * x / (width - 1) - 1) / 0.6
    central = jnp.exp(-0.5 * (off_y**2 + off_x**2))
    score = jnp.where(full, central * (ring_mean - disc_mean) * radii[:, None, None] ** 0.5, -jnp.inf)

    best = jnp.argmax(score.reshape(count, -1), axis=-1)
    scale, row, column = jnp.unravel_index(best, score.shape[1:])
    each = jnp.arange(count)
    low, high = disc_mean[each, scale, row, column], ring_mean[each, scale, row, column]
    radius = radii[scale]
    darkness = jnp.clip((low + high)[:, None, None] / 2 - gray, 0.0)

    def walk(_, centre):
        distance = jnp.hypot(x - centre[:, 0, None, None], y - centre[:, 1, None, None])
        weight = darkness * jnp.clip(1.2 * radius[:, None, None] + 0.5 - distance, 0.0, 1.0)
        total = jnp.maximum(weight.sum((1, 2)), 1e-6)
        moved = jnp.stack([(weight * x).sum((1, 2)), (weight * y).sum((1, 2))], -1) / total[:, None]
        return jnp.where(weight.sum((1, 2), keepdims=True)[..., 0] > 1e-6, moved, centre)

    start = jnp.stack([column, row], axis=-1).astype(jnp.float32)
    centre = jax.lax.fori_loop(0, 10, walk, start)
    distance = jnp.hypot(x - column[:, None, None], y - row[:, None, None])
    disc, wide = (jnp.clip(r[:, None, None] + 0.5 - distance, 0.0, 1.0) for r in (radius, 1.5 * radius + 1))
    ring = wide - disc
    contrast = [(levels * w).sum((1, 2)) / jnp.maximum(w.sum((1, 2)), 1e-3) for w in (ring, disc)]
    return centre, contrast[0] - contrast[1]


def pupil_centres(images, radii: tuple[float, ...] = VISIBLE, batch: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Pupil centres (x, y) in pixels ``[N, 2]`` and contrasts ``[N]`` of gray eyes ``[N, H, W, 1]`` or RGB.

    Images are uint8 (any size, one eye each, the eye filling most of the width). The centre of the top-left
    pixel is (0, 0). ``radii`` are :data:`VISIBLE` or :data:`INFRARED`. Contrast is
    ring minus disc in gray levels: small where there is no pupil to be seen.
    """
    images = np.asarray(images)
    if images.shape[-1] == 3:
        images = images @ np.array([[0.299], [0.587], [0.114]])
    gray = np.round(images[..., 0]).astype(np.uint8)
    return in_batches(lambda part: _detect(log_ranks(part), part.astype(np.float32), radii), gray, batch)


def pupil_shift(raw, refined, radii: tuple[float, ...] = VISIBLE) -> np.ndarray:
    """Distance in pixels ``[N]`` between the pupil centres of image pairs: does refinement keep the label?

    SimGAN, section 3.1: 1.1 +- 0.8 px over 100 pairs whose eye is 55 px wide, by ellipses fitted by hand.
    """
    return np.linalg.norm(pupil_centres(refined, radii)[0] - pupil_centres(raw, radii)[0], axis=-1)
