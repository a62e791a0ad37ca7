"""3x3 convolutions by Winograd's minimal filtering F(4x4, 3x3), for the CPU: a quarter of the multiplications.

Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks* (CVPR 2016, section 4.3). With ``d`` a 6x6 tile of
the image, ``g`` the kernel and ``Y`` the 4x4 tile of the output,

    Y = A^T [(G g G^T) * (B^T d B)] A     and, as it is linear in g,     dg = G^T [sum of (A dY A^T) * (B^T d B)] G.

Summed over channels, the products are 36 matrix products of (tiles x channels), one for each place in a tile. They are
made for a few images at a time, since a tile is more than twice as large as the image below it and has to stay in the
cache. Results differ from the plain sum's by up to 1e-5 of the largest output.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

OUT, KERNEL = 4, 3
TILE = OUT + KERNEL - 1

# For the interpolation points 0, 1, -1, 2, -2 and infinity.
B = np.array(
    [
        [4, 0, 0, 0, 0, 0],
        [0, -4, 4, -2, 2, 4],
        [-5, -4, -4, -1, -1, 0],
        [0, 1, -1, 2, -2, -5],
        [1, 1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ],
    np.float32,
)
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float32) / 24
A = np.array([[1, 0, 0, 0], [1, 1, 1, 1], [1, -1, 1, -1], [1, 2, 4, 8], [1, -2, 4, -8], [0, 0, 0, 1]], np.float32)

Places = list[list[jax.Array]]
"""For every place of a tile, by row and column, that place of all tiles: ``[images, rows, columns, C]``."""

CHUNK = 2**15
"""Tiles times channels that are transformed at a time: nine megabytes on their way; measured."""


def convolve(x: jax.Array, kernel: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
    """``[B, H, W, I]`` convolved with ``[3, 3, I, O]``, stride 1: ``[B, H', W', O]``."""
    size = output_size(x, padding)
    transformed = jnp.einsum("ai,bj,ijcd->abcd", G, G, kernel)

    def of_images(images: jax.Array) -> jax.Array:
        products = []
        for line, kernels in zip(_image_tiles(images, padding, size), transformed, strict=True):
            # Six products in one: fewer and larger pieces of work.
            tiles = _together(jnp.stack(line).reshape(TILE, -1, line[0].shape[-1]))
            products.append(_together(jnp.einsum("jtc,jcd->jtd", tiles, kernels)))
        return _assembled(products, len(images), size)

    chunks = _chunked(x, size, max(kernel.shape[2:]))
    made = jax.lax.full_like(chunks, 0, shape=(*chunks.shape[:2], *size, kernel.shape[3]))
    # Not before there is something to put in: XLA would reserve all results of a program at its start.
    chunks, made = _together((chunks, made))

    def add(made, chunk):
        number, images = chunk
        return jax.lax.dynamic_update_index_in_dim(made, of_images(images), number, 0), None

    made, _ = jax.lax.scan(add, made, (jnp.arange(len(chunks)), chunks))
    return made.reshape(len(x), *made.shape[2:])


def weight_gradient(x: jax.Array, gradient: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
    """The gradient by the kernel ``[3, 3, I, O]``, where ``gradient [B, H', W', O]`` is that by the output."""
    size = gradient.shape[1:3]

    def of_images(images: jax.Array, slopes: jax.Array) -> jax.Array:
        def product(above, below):
            # Contracting two axes makes XLA lay the tiles out for a plain product first, which is twice as fast.
            above, below = (t.reshape(-1, *t.shape[2:]) for t in (above, below))
            return jnp.einsum("rtc,rtd->cd", above, below)

        lines = zip(_image_tiles(images, padding, size), _output_tiles(slopes), strict=True)
        products = [[product(a, b) for a, b in zip(*line, strict=True)] for line in lines]
        return jnp.stack([jnp.stack(line) for line in _together(products)])

    channels = max(x.shape[-1], gradient.shape[-1])
    chunks = [_chunked(images, size, channels) for images in (x, gradient)]
    total = jax.lax.full_like(x, 0, shape=(TILE, TILE, x.shape[-1], gradient.shape[-1]))
    total, _ = jax.lax.scan(lambda total, chunk: (total + of_images(*chunk), None), total, chunks)
    return jnp.einsum("ai,bj,abcd->ijcd", G, G, total)


def output_size(x: jax.Array, padding: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Height and width of what :func:`convolve` makes of ``x``."""
    height, width = (n + low + high - KERNEL + 1 for n, (low, high) in zip(x.shape[1:3], padding, strict=True))
    return height, width


def filled(height: int, width: int) -> float:
    """The share of the tiles' area that an output of this size fills."""
    rows, columns = _tiles(height, width)
    return height * width / (rows * columns * OUT**2)


def _tiles(height: int, width: int) -> tuple[int, int]:
    return -(-height // OUT), -(-width // OUT)


def _chunked(images: jax.Array, size: Sequence[int], channels: int) -> jax.Array:
    """``[B, ...]`` as ``[chunks, b, ...]``, with the largest b that divides B and keeps to CHUNK."""
    rows, columns = _tiles(*size)
    most = max(CHUNK // (rows * columns * channels), 1)
    each = max(b for b in range(1, min(most, len(images)) + 1) if len(images) % b == 0)
    return images.reshape(-1, each, *images.shape[1:])


def _image_tiles(images: jax.Array, padding: Sequence[tuple[int, int]], size: Sequence[int]) -> Places:
    """``B^T d B`` of every overlapping 6x6 tile."""
    tiles = _tiles(*size)
    ends = [t * OUT + KERNEL - 1 - n - low for t, n, (low, _) in zip(tiles, images.shape[1:3], padding, strict=True)]
    around = [(low, end) for (low, _), end in zip(padding, ends, strict=True)]
    return _transformed(B.T, padded(images, around), tiles)


def _output_tiles(slopes: jax.Array) -> Places:
    """``A dY A^T`` of every 4x4 tile."""
    tiles = _tiles(*slopes.shape[1:3])
    ends = [(0, t * OUT - n) for t, n in zip(tiles, slopes.shape[1:3], strict=True)]
    return _transformed(A, padded(slopes, ends), tiles)


def _transformed(matrix: np.ndarray, images: jax.Array, tiles: tuple[int, int]) -> Places:
    """``matrix d matrix^T`` of the tiles that begin every OUT pixels and are as large as the matrix is wide."""
    rows, columns = tiles
    length = matrix.shape[1]
    lines = _together(_combined(matrix, [images[:, i : i + OUT * (rows - 1) + 1 : OUT] for i in range(length)]))
    spread = ([line[:, :, j : j + OUT * (columns - 1) + 1 : OUT] for j in range(length)] for line in lines)
    return [_together(_combined(matrix, places)) for places in spread]


def _assembled(products: list[jax.Array], count: int, size: tuple[int, int]) -> jax.Array:
    """``A^T M A`` of every tile, in its place: ``[count, *size, C]``."""
    rows, columns = _tiles(*size)
    lines = [p.reshape(TILE, count, rows, columns, -1) for p in products]
    across = _together([_combined(A.T, list(line)) for line in lines])
    down = [_combined(A.T, [line[q] for line in across]) for q in range(OUT)]  # by column of the tile
    made = jnp.stack([jnp.stack(line, 3) for line in zip(*_together(down), strict=True)], 2)
    return made.reshape(count, rows * OUT, columns * OUT, -1)[:, : size[0], : size[1]]


def _combined(matrix: np.ndarray, parts: Sequence[jax.Array]) -> list[jax.Array]:
    """``matrix @ parts`` without the products by nought and one."""
    result = []
    for row in matrix:
        terms = [part if w == 1 else -part if w == -1 else w * part for w, part in zip(row, parts, strict=True) if w]
        result.append(sum(terms[1:], terms[0]))
    return result


def _together(arrays):
    """XLA computes these before it goes on: otherwise every reader computes them again."""
    return jax.lax.optimization_barrier(arrays)


def padded(images: jax.Array, around: Sequence[tuple[int, int]]) -> jax.Array:
    """Zeros around ``[B, H, W, C]``; a negative number cuts instead."""
    zero = jnp.zeros((), images.dtype)
    return jax.lax.pad(images, zero, ((0, 0, 0), *((*pair, 0) for pair in around), (0, 0, 0)))
