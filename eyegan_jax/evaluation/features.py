"""A fixed description of eye images for KID and Frechet distance: no download, no training, no seed.

``gabor-98``: quadrature Gabor energies at 4 orientations (Daugman 1985) on a pyramid of 3 scales, wavelengths
3, 6 and 12 px, with the local mean and the local contrast, each averaged over a 2 x 3 grid of regions and
spread over the whole image: (12 + 2) x 7 = 98 numbers. It sees brightness, contrast, blur, noise and the
orientation of edges, region by region; it does not know what an eye is. Distances are comparable only between
sets of the same image size under the same name, and never with published FID, which uses an ImageNet
classifier.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.evaluation.batches import in_batches

NAME = "gabor-98"
WAVELENGTH = 3.0
SCALES = 3
ORIENTATIONS = 4
GRID = (2, 3)
FLOOR = 1 / 127.5
"""One gray level: keeps the logarithm of an energy finite where the image is flat."""


@functools.cache
def gabor_bank() -> np.ndarray:
    """Even and odd filters ``[k, k, 1, 2 * ORIENTATIONS]``: zero mean, unit response to a matched grating."""
    sigma = 0.5 * WAVELENGTH
    radius = math.ceil(2.5 * sigma)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
    envelope = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    filters = []
    for phase in (np.cos, np.sin):
        for k in range(ORIENTATIONS):
            angle = math.pi * k / ORIENTATIONS
            wave = phase(2 * np.pi * (x * math.cos(angle) + y * math.sin(angle)) / WAVELENGTH)
            carrier = wave - np.sum(envelope * wave) / np.sum(envelope)
            kernel = envelope * carrier
            filters.append(kernel / np.sum(kernel * wave))
    return np.stack(filters, axis=-1)[:, :, None, :].astype(np.float32)


def _convolve(images, kernel):
    radius = kernel.shape[0] // 2
    padded = jnp.pad(images, ((0, 0), (radius, radius), (radius, radius), (0, 0)), mode="reflect")
    return jax.lax.conv_general_dilated(
        padded, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
    )


def _scaled_log(amplitude):
    """Amplitudes of 1/255 to 1 end up between -1.3 and 1.2, like the mean: no feature drowns the others."""
    return 0.5 * jnp.log((amplitude + FLOOR) / 0.1)


def _halve(image):
    height, width = (side // 2 * 2 for side in image.shape[1:3])
    image = image[:, :height, :width]
    return (image[:, ::2, ::2] + image[:, 1::2, ::2] + image[:, ::2, 1::2] + image[:, 1::2, 1::2]) / 4


def _pool(maps):
    """Means over the grid's regions and the spread over the whole image, ``[N, 7 * channels]``."""
    rows = jnp.array_split(maps, GRID[0], axis=1)
    regions = [r.mean((1, 2)) for row in rows for r in jnp.array_split(row, GRID[1], axis=2)]
    return jnp.concatenate([*regions, maps.std((1, 2))], axis=-1)


def maps(gray):
    """``[N, H, W, 1]`` in [-1, 1] to 14 maps, coarse ones smaller: log energies, local mean, log contrast."""
    energies, level = [], gray
    for _ in range(SCALES):
        even, odd = jnp.split(_convolve(level, gabor_bank()), 2, axis=-1)
        energies.append(_scaled_log(jnp.hypot(even, odd)))
        level = _halve(level)
    box = jnp.full((5, 5, 1, 1), 1 / 25, jnp.float32)
    mean = _convolve(gray, box)
    # Two passes: the difference of large second moments would lose float32's digits in flat regions.
    variance = _convolve((gray - mean) ** 2, box)
    return [*energies, mean, _scaled_log(jnp.sqrt(variance))]


@jax.jit
def _features(images):
    image = images.astype(jnp.float32)
    if image.shape[-1] == 3:
        image = image @ jnp.array([[0.299], [0.587], [0.114]], jnp.float32)
    return jnp.concatenate([_pool(m) for m in maps(image / 127.5 - 1.0)], axis=-1)


def features(images, batch: int = 256) -> np.ndarray:
    """Features ``[N, 98]`` (float64) of uint8 images ``[N, H, W, C]``, C = 1 or 3; colour is read as gray.

    H and W are at least 24.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or min(images.shape[1:3]) < 24:
        raise ValueError(f"features need uint8 [N, H >= 24, W >= 24, C], found {images.dtype} {images.shape}")
    return in_batches(_features, images, batch).astype(np.float64)
