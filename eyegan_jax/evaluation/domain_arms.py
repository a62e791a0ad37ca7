"""The sceptic's alternatives to a learned refiner: cheap ways to bring simulated eyes near real ones.

Each is a pure function of image arrays; none looks at a label, and none moves a pixel, so labels stay true.
They run on any size: 35x55 gray as well as 128x128 infrared. Changes that move an image together with its
mask are in :mod:`eyegan_jax.data.augmentation`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.data.augmentation import WIDE, augment

PHOTOMETRIC = dataclasses.replace(WIDE, mirror_chance=0.0, move_chance=0.0, blur_sigma=(0.3, 1.5))
"""Strong changes of tone, light, focus, noise and reflections that leave every pixel where it is."""


def match_histogram(image, reference) -> np.ndarray:
    """uint8 ``[H, W, C]`` with its gray levels mapped so that its histogram becomes the reference's.

    v -> F_ref^(-1)(F(v)) with F the cumulative distribution of a channel, F_ref^(-1) linear between levels
    that occur in the reference (Gonzalez and Woods, ch. 3; as scikit-image's ``match_histograms``).
    """
    image, reference = np.asarray(image), np.asarray(reference)
    channels = []
    for c in range(image.shape[-1]):
        source, target = image[..., c].ravel(), reference[..., c].ravel()
        quantiles = np.cumsum(np.bincount(source, minlength=256)) / source.size
        counts = np.bincount(target, minlength=256)
        levels = np.flatnonzero(counts)
        table = np.interp(quantiles, np.cumsum(counts[levels]) / target.size, levels)
        channels.append(np.round(table).astype(np.uint8)[image[..., c]])
    return np.stack(channels, axis=-1)


def histogram_matching(images, real, seed: int = 0) -> np.ndarray:
    """Every one of uint8 ``[N, H, W, C]`` matched to a random one of ``real [M, H', W', C]``.

    Single partners instead of the pooled histogram keep the real set's variety of exposures.
    """
    partners = np.random.default_rng(seed).integers(0, len(real), len(images))
    return np.stack([match_histogram(image, real[p]) for image, p in zip(images, partners, strict=True)])


def swap_amplitude(image, reference, beta: float) -> np.ndarray:
    """Fourier domain adaptation of float ``[..., H, W, C]``: low frequencies take the reference's amplitude.

    The phase, which carries where things are, stays. The window has half-width floor(beta min(H, W)) around
    frequency zero; half-width 0 swaps the mean alone (Yang and Soatto, CVPR 2020, eq. 3).
    """
    axes = (-3, -2)
    height, width = image.shape[-3:-1]
    half = int(np.floor(beta * min(height, width)))
    near = [np.abs(np.fft.fftfreq(side, 1 / side)) <= half for side in (height, width)]
    window = (near[0][:, None] & near[1][None, :])[..., None]
    spectrum, other = np.fft.fft2(image, axes=axes), np.fft.fft2(reference, axes=axes)
    amplitude = np.where(window, np.abs(other), np.abs(spectrum))
    return np.fft.ifft2(amplitude * np.exp(1j * np.angle(spectrum)), axes=axes).real


def fourier_adaptation(images, real, beta: float = 0.05, seed: int = 0) -> np.ndarray:
    """uint8 ``[N, H, W, C]`` with low-frequency amplitudes of random ``real`` images of the same size."""
    partners = np.random.default_rng(seed).integers(0, len(real), len(images))
    parts = []
    for start in range(0, len(images), 512):  # bounds the complex128 spectra
        chosen = slice(start, start + 512)
        swapped = swap_amplitude(images[chosen].astype(np.float64), real[partners[chosen]].astype(np.float64), beta)
        parts.append(np.round(np.clip(swapped, 0, 255)).astype(np.uint8))
    return np.concatenate(parts)


def strong_augmentation(key: jax.Array, images: jax.Array) -> jax.Array:
    """Photometric changes of float gray batches ``[B, H, W, 1]`` in [-1, 1], inside a training step."""
    keys = jax.random.split(key, len(images))
    nothing = jnp.zeros(images.shape[:3], jnp.int32)
    return jax.vmap(lambda k, image, mask: augment(k, image, mask, PHOTOMETRIC)[0])(keys, images, nothing)
