"""What RITnet does to an image before the network, and to a mask before the loss; pure and on the device.

Gamma and contrast-limited adaptive histogram equalisation (CLAHE) of images; border weights and signed distance
maps of masks. Everything is exact and jits, so a simulator that draws inside the training step needs no host.
Source: RITnet (Chaudhary et al., ICCVW 2019), sections 3.1 and 3.3.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

GAMMA = 0.8
CLIP_LIMIT = 1.5
TILES = 8


def gamma(image, exponent: float = GAMMA):
    """uint8 to uint8 by the table ``255 (i / 255) ** exponent``, truncated as an 8-bit table is."""
    table = (255.0 * (np.arange(256) / 255.0) ** exponent).astype(np.uint8)
    return jnp.asarray(table)[image]


@functools.partial(jnp.vectorize, excluded=(1, 2), signature="(h,w)->(h,w)")
def clahe(image, clip_limit: float = CLIP_LIMIT, tiles: int = TILES):
    """Contrast-limited adaptive histogram equalisation of uint8 ``[..., H, W]``, as OpenCV computes it.

    The image is cut into ``tiles x tiles`` tiles. Every tile has its own equalising table, made from a histogram
    that is clipped at ``clip_limit`` times its mean height with the excess spread evenly; a pixel's value is
    interpolated bilinearly between the tables of the four nearest tiles. Source: Zuiderveld, Graphics Gems IV, 1994.
    """
    height, width = image.shape
    # OpenCV reflects both sides as soon as one does not divide, by a whole tile count where the other does.
    ragged = height % tiles or width % tiles
    below, right = (tiles - height % tiles, tiles - width % tiles) if ragged else (0, 0)
    extended = jnp.pad(image, ((0, below), (0, right)), mode="reflect").astype(jnp.int32)
    tile_height, tile_width = extended.shape[0] // tiles, extended.shape[1] // tiles
    area = tile_height * tile_width

    blocks = extended.reshape(tiles, tile_height, tiles, tile_width).transpose(0, 2, 1, 3).reshape(-1, area)
    histogram = jnp.zeros((tiles * tiles, 256), jnp.int32)
    histogram = histogram.at[jnp.arange(tiles * tiles)[:, None], blocks].add(1)

    limit = max(int(clip_limit * area / 256), 1)
    excess = jnp.maximum(histogram - limit, 0).sum(axis=1, keepdims=True)
    even, rest = excess // 256, excess % 256
    # The remainder goes to every (256 // rest)-th bin until it is used up.
    stride = jnp.maximum(256 // jnp.maximum(rest, 1), 1)
    bins = jnp.arange(256)[None]
    takes_one = (bins % stride == 0) & (bins // stride < rest)
    histogram = jnp.minimum(histogram, limit) + even + takes_one
    # Whole numbers to the end: the same result on every device, jitted or not.
    table = _rounded(255 * jnp.cumsum(histogram, axis=1), area).reshape(tiles, tiles, 256)

    top, bottom, down = _between_tiles(height, tile_height, tiles)
    left, right_tile, across = _between_tiles(width, tile_width, tiles)

    def equalised(rows, columns):
        return table[rows[:, None], columns[None, :], image.astype(jnp.int32)]

    upper = equalised(top, left) * (2 * tile_width - across) + equalised(top, right_tile) * across
    lower = equalised(bottom, left) * (2 * tile_width - across) + equalised(bottom, right_tile) * across
    mixed = upper * (2 * tile_height - down)[:, None] + lower * down[:, None]
    return _rounded(mixed, 4 * area).astype(jnp.uint8)


def _rounded(numerator, denominator: int):
    """Non-negative integers divided and rounded to nearest."""
    return (numerator + denominator // 2) // denominator


def _between_tiles(size: int, tile: int, tiles: int):
    """Indices of the two tiles around every pixel of an axis, and the weight of the second in units of 1 / (2 tile)."""
    position = 2 * np.arange(size) - tile
    first = position // (2 * tile)
    lower, upper = np.clip(first, 0, tiles - 1), np.clip(first + 1, 0, tiles - 1)
    return lower, upper, position - 2 * tile * first


def equalise(image):
    """RITnet's preprocessing of gray uint8 ``[..., H, W, 1]``: gamma 0.8, then CLAHE (clip 1.5, 8x8 tiles)."""
    return clahe(gamma(image[..., 0]))[..., None]


@functools.partial(jnp.vectorize, signature="(h,w)->(h,w)")
def equalise_histogram(image):
    """Histogram equalisation of uint8 ``[..., H, W]``: :func:`eyegan_jax.data.geometry.equalize` on the device."""
    counts = jnp.bincount(image.reshape(-1), length=256)
    cumulative = jnp.cumsum(counts)
    lowest = cumulative[jnp.argmax(counts > 0)]
    table = jnp.rint((cumulative - lowest) * (255.0 / jnp.maximum(image.size - lowest, 1)))
    return jnp.where(lowest == image.size, image, jnp.clip(table, 0, 255).astype(jnp.uint8)[image])


@functools.partial(jnp.vectorize, excluded=(1, 2), signature="(h,w)->(h,w)")
def border_weights(mask, weight: float = 20.0, reach: int = 1):
    """``1 + weight`` within ``reach`` pixels of a border between classes of ``[..., H, W]``, else 1.

    A pixel is on a border where its class differs from a 4-neighbour's: what an edge detector finds in a label
    image, without its thresholds.
    """
    vertical = mask[1:] != mask[:-1]
    horizontal = mask[:, 1:] != mask[:, :-1]
    border = (
        jnp.pad(vertical, ((1, 0), (0, 0)))
        | jnp.pad(vertical, ((0, 1), (0, 0)))
        | jnp.pad(horizontal, ((0, 0), (1, 0)))
        | jnp.pad(horizontal, ((0, 0), (0, 1)))
    ).astype(jnp.float32)
    window = 2 * reach + 1
    near = jax.lax.reduce_window(border, 0.0, jax.lax.max, (window, window), (1, 1), "SAME")
    return 1.0 + weight * near


@functools.partial(jnp.vectorize, signature="(h,w)->(h,w)")
def distance_to(region):
    """Exact Euclidean distance of every pixel of boolean ``[..., H, W]`` to the nearest True pixel, in pixels.

    Infinite everywhere where nothing is True. Separable: a scan finds the nearest True in each column, then a
    lower envelope of parabolas over each row (Felzenszwalb and Huttenlocher 2012, with the minimum taken directly).
    """
    height, width = region.shape
    far = jnp.float32(jnp.inf)
    rows = jnp.arange(height, dtype=jnp.float32)[:, None]
    above = jax.lax.cummax(jnp.where(region, rows, -far), axis=0)
    below = jax.lax.cummin(jnp.where(region, rows, far), axis=0, reverse=True)
    column = jnp.minimum(rows - above, below - rows) ** 2
    x = jnp.arange(width, dtype=jnp.float32)
    apart = (x[:, None] - x[None, :]) ** 2
    return jnp.sqrt((column[:, None, :] + apart[None]).min(axis=-1))


def signed_distances(mask, classes: int = 4):
    """Distance of ``[..., H, W]`` to the border of every class, ``[..., H, W, classes]``, in image diagonals.

    Positive outside of the class, 0 on its outermost pixels and negative further inside; 0 everywhere for a class
    that the image lacks. Source: Kervadec et al., MIDL 2019. Diagonals, not pixels: the loss then does not grow
    with the resolution.
    """
    height, width = mask.shape[-2:]
    inside = mask[..., None, :, :] == jnp.arange(classes)[:, None, None]
    # One call: two of them are fused into what reads them by XLA's CPU compiler, and computed three times over.
    outward, inward = distance_to(jnp.stack([inside, ~inside]))
    signed = jnp.where(inside, 1.0 - inward, outward)
    # A class that is nowhere, or everywhere, has no border to be far from.
    signed = jnp.moveaxis(jnp.where(jnp.isfinite(signed), signed, 0.0), -3, -1)
    return signed / np.hypot(height, width).astype(np.float32)
