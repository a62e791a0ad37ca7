"""From radiance to pixels: exposure, tone curve, blur, vignetting, noise and JPEG's blocks."""

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.simulator.lights import to_bands, warmth
from eyegan_jax.simulator.noise import hash_normal, value_noise
from eyegan_jax.simulator.parameters import Capture
from eyegan_jax.simulator.views import View

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
        image = sum(
            weights[k] * jax.lax.slice_in_dim(padded, k, k + size, axis=axis) for k in range(2 * radius + 1)
        )
    return image


def blur_radius(view: View, largest: float) -> int:
    """Taps that a blur of up to ``largest`` (share of the width) needs: two standard deviations."""
    return max(1, round(2.0 * largest * view.width))


def noise_field(capture: Capture, view: View, bands: int):
    """White noise and coarser grain ``[H, W, bands]`` of the strengths that the capture asks for."""
    y, x = jnp.meshgrid(jnp.arange(view.height), jnp.arange(view.width), indexing="ij")
    planes = [hash_normal(x, y, capture.capture_seed + jnp.uint32(101 * band)) for band in range(bands)]
    white = jnp.stack(planes, axis=-1) * capture.noise
    grain = value_noise(x / 1.9, y / 1.9, capture.capture_seed + jnp.uint32(7)) * capture.grain * 1.6
    return white + grain[..., None]


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


def sense(capture: Capture, radiance, skin, typical, view: View, largest_blur: float, lossy: bool):
    """Radiance ``[H, W, bands]`` to the picture ``[H, W, bands]`` in [0, 1]."""
    radiance = blur(radiance * vignette(capture, view), capture.blur * view.width, blur_radius(view, largest_blur))
    value = develop(capture, radiance, skin, typical)
    value = value + noise_field(capture, view, value.shape[-1])
    if lossy:
        value = compress(value, capture.compression)
    return jnp.clip(value, 0.0, 1.0)
