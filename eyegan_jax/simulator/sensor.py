"""From radiance to pixels: exposure, tone curve, blur, vignetting, noise and JPEG's blocks."""

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.simulator.lights import to_bands, warmth
from eyegan_jax.simulator.noise import hash_normal, noise_layers, stage
from eyegan_jax.simulator.parameters import Capture
from eyegan_jax.simulator.views import View

LEVELS = 24  # gray levels of the equalisation
SKIN_LEVEL = 0.30  # linear level that an adapting exposure gives to skin
# ITU-T T.81, table K.1 (luminance), the quantisation steps of quality 50 in units of 1/255.
QUANTIZATION = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)


def develop(capture: Capture, radiance, skin, typical):
    """Linear radiance ``[H, W, bands]`` to a display value in [0, 1]: exposure, white balance, gamma, contrast.

    skin, typical: albedo and light of plain skin; an adapting exposure depends on these parameters and not on
    the picture, so that changing one part of the eye leaves the other pixels alone.
    """
    bands = radiance.shape[-1]
    auto = SKIN_LEVEL / jnp.maximum(jnp.mean(skin * typical), 1e-3)
    gain = jnp.exp2(capture.exposure) * auto**capture.adaptation
    value = jnp.maximum(radiance * gain * to_bands(warmth(capture.white_balance), bands), 1e-5)
    value = value ** (1.0 / capture.gamma)
    return jnp.clip(0.5 + capture.contrast * (value - 0.5), 0.0, 1.0)


def vignette(capture: Capture, view: View):
    """Factor ``[H, W, 1]`` on the radiance: 1 in the middle, 1 - vignette in the corners."""
    y = (jnp.arange(view.height) - 0.5 * (view.height - 1)) / (0.5 * max(view.height, view.width))
    x = (jnp.arange(view.width) - 0.5 * (view.width - 1)) / (0.5 * max(view.height, view.width))
    corner = (view.height**2 + view.width**2) / max(view.height, view.width) ** 2
    return (1.0 - capture.vignette * (x * x + y[:, None] ** 2) / corner)[..., None]


def blur(image, sigma, radius: int):
    """Gaussian blur of ``[H, W, C]`` with a standard deviation of ``sigma`` pixels, edges repeated."""
    offsets = jnp.arange(-radius, radius + 1)
    weights = jnp.exp(-0.5 * jnp.square(offsets / jnp.maximum(sigma, 0.05)))
    weights = weights / weights.sum()
    for axis in (0, 1):
        pad = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
        padded = jnp.pad(image, pad, mode="edge")
        size = image.shape[axis]
        image = sum(weights[k] * jax.lax.slice_in_dim(padded, k, k + size, axis=axis) for k in range(2 * radius + 1))
    return image


def noise_field(capture: Capture, view: View, bands: int):
    """White noise and coarser grain ``[H, W, bands]`` of the strengths that the capture asks for."""
    y, x = jnp.meshgrid(jnp.arange(view.height), jnp.arange(view.width), indexing="ij")
    seeds = capture.capture_seed + 101 * jnp.arange(bands, dtype=jnp.uint32)
    white = hash_normal(x[..., None], y[..., None], seeds) * capture.noise
    (grain,) = noise_layers(capture.capture_seed + jnp.uint32(7), (x / 1.9, y / 1.9))
    return stage(white) + 1.6 * capture.grain * grain[..., None]


def _dct_matrix():
    k, n = np.mgrid[:8, :8]
    matrix = np.sqrt(2.0 / 8.0) * np.cos(np.pi * (2 * n + 1) * k / 16.0)
    matrix[0] /= np.sqrt(2.0)
    return matrix.astype(np.float32)


def compress(image, step):
    """JPEG's loss on ``[H, W, C]`` in [0, 1]: 8x8 cosine transform, coefficients rounded, and back.

    ``step`` scales the quantisation table of quality 50. The rounding passes gradients straight through.
    """
    height, width, channels = image.shape
    pad = (-height % 8, -width % 8)
    padded = jnp.pad(image, ((0, pad[0]), (0, pad[1]), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // 8, padded.shape[1] // 8
    blocks = padded.reshape(rows, 8, columns, 8, channels)
    dct = jnp.array(_dct_matrix())
    spectrum = jnp.einsum("ui,vj,aibjc->aubvc", dct, dct, blocks - 0.5)
    table = jnp.maximum(step, 1e-3) * jnp.array(QUANTIZATION / 255.0)[None, :, None, :, None]
    scaled = spectrum / table
    rounded = scaled + jax.lax.stop_gradient(jnp.round(scaled) - scaled)
    blocks = jnp.einsum("ui,vj,aubvc->aibjc", dct, dct, rounded * table) + 0.5
    return blocks.reshape(padded.shape)[:height, :width]


def equalize(image, amount):
    """Histogram equalisation of ``[H, W, C]`` in [0, 1] by ``amount``: gray levels through their own cumulative
    distribution (of the bands' mean), which is sampled at LEVELS levels with soft steps, hence differentiable."""
    gray = image.mean(axis=-1, keepdims=True)
    levels = jnp.linspace(0.0, 1.0, LEVELS)
    step = 1.0 / (LEVELS - 1)
    below = 0.5 * (1.0 + jnp.tanh((levels - gray) / step))
    cumulative = stage(below.mean(axis=(0, 1)))
    reached = jnp.clip((gray - levels[:-1]) / step, 0.0, 1.0)
    flat = cumulative[0] + jnp.sum(reached * (cumulative[1:] - cumulative[:-1]), axis=-1, keepdims=True)
    return image * (1.0 + amount * (flat / jnp.maximum(gray, 1e-3) - 1.0))


def sense(capture: Capture, radiance, skin, typical, view: View, table):
    """Radiance ``[H, W, bands]`` to the picture ``[H, W, bands]`` in [0, 1].

    table: the captures' distributions; what it never uses (compression, equalisation) is left out, and its
    largest blur sets the filter's size (two standard deviations).
    """
    radius = max(1, round(2.0 * table["blur"].high * view.width))
    radiance = blur(radiance * vignette(capture, view), capture.blur * view.width, radius)
    value = develop(capture, radiance, skin, typical)
    value = jnp.clip(value + noise_field(capture, view, value.shape[-1]), 0.0, 1.0)
    if table["compression"].high > 0.0:
        value = jnp.clip(compress(value, capture.compression), 0.0, 1.0)
    if table["equalization"].high > 0.0:
        value = equalize(value, capture.equalization)
    return jnp.clip(value, 0.0, 1.0)
