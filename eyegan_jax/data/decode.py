"""Image files to uint8 arrays, whatever their mode, and a one-line reason where that cannot be done."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from eyegan_jax.data.examples import BadExample

# Decoders that parse pixels only. Left out on purpose: EPS and PDF, for which Pillow starts other programs.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".webp",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ],
)
MAX_PIXELS = 64_000_000
"""Larger images are refused: a few kilobytes of PNG can unpack to gigabytes."""


def decode_image(source: Path | bytes, name: str | None = None, channels: int | None = None) -> np.ndarray:
    """A file or its bytes to uint8 ``[H, W, C]``; C = 1 for gray files, 3 for colour, or ``channels``.

    Turned upright by its EXIF orientation; first frame of animations; 16-bit samples are divided by 257,
    float samples must lie in [0, 1] or [0, 255]; transparency is blended onto black; CMYK and palettes become
    RGB.
    Raises BadExample (with ``name``, by default the file's) for whatever is not one whole image of at most
    ``MAX_PIXELS`` pixels.
    """
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 or 3, found {channels}")
    name = _name(source, name)
    with _open(source, name) as image:
        image = _loaded(image, name, ImageOps.exif_transpose)
        return _to_uint8(image, name, channels)


def decode_mask(source: Path | bytes, name: str | None = None, values: Mapping[int, int] | None = None) -> np.ndarray:
    """A label image to uint8 ``[H, W]`` with OpenEDS ids 0..3.

    Gray and palette files hold ids (a palette's indices, not its colours); ``.npy`` files hold an integer
    array. Colour files, whose channels must agree, hold ids too. ``values`` maps stored values to ids, for
    example ``{255: 3}`` for a black-and-white pupil mask. Raises BadExample where any other value is found.
    """
    name = _name(source, name)
    if isinstance(source, Path) and source.suffix == ".npy":
        ids = _read_npy(source, name)
    else:
        with _open(source, name) as image:
            image = _loaded(image, name, lambda loaded: loaded)
            ids = np.asarray(image.convert("L") if image.mode == "1" else image)
        if ids.ndim == 3:
            if np.any(ids[..., :3] != ids[..., :1]):
                raise BadExample(name, "expected a mask of class ids, found a colour image")
            ids = ids[..., 0]
    return checked_ids(ids, name, values)


def _name(source: Path | bytes, name: str | None) -> str:
    if name is not None:
        return name
    return source.name if isinstance(source, Path) else "image"


def _open(source: Path | bytes, name: str) -> Image.Image:
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise BadExample(name, f"cannot be read: {error.strerror or error}") from None
    if not data:
        raise BadExample(name, "the file is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise BadExample(name, f"not an image in a known format ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadExample(name, f"has far more than the {MAX_PIXELS:,} pixels allowed") from None
    except Exception as error:  # Pillow's parsers raise whatever a broken header makes them trip over.
        raise BadExample(name, f"broken image header: {_one_line(error)}") from None
    if image.width * image.height > MAX_PIXELS:
        raise BadExample(name, f"has {image.width}x{image.height} pixels, more than the {MAX_PIXELS:,} allowed")
    return image


def _loaded(image: Image.Image, name: str, finish) -> Image.Image:
    try:
        image.load()
        return finish(image)
    except Exception as error:  # As above: truncated and corrupted streams surface as any exception type.
        raise BadExample(name, f"broken or truncated image data: {_one_line(error)}") from None


def _to_uint8(image: Image.Image, name: str, channels: int | None) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        gray = _wide_to_uint8(np.asarray(image), image.mode, name)
        return gray[..., None] if channels in (None, 1) else np.repeat(gray[..., None], 3, axis=-1)
    gray_file = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    colours = channels or (1 if gray_file else 3)
    if colours == 1 and image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    pixels = np.array(image.convert("L" if colours == 1 else "RGB"))
    return pixels[..., None] if colours == 1 else pixels


def _wide_to_uint8(pixels: np.ndarray, mode: str, name: str) -> np.ndarray:
    """16-bit, 32-bit integer and float gray to uint8."""
    if not np.all(np.isfinite(pixels)):
        raise BadExample(name, "holds NaN or infinite pixels")
    low, high = float(pixels.min()), float(pixels.max())
    if mode == "F":
        scale = 255.0 if high <= 1.0 else 1.0
        allowed, text = 255.0 / scale, "float pixels in [0, 1] or [0, 255]"
    else:
        scale, allowed, text = 1 / 257, 65535.0, "16-bit pixels in [0, 65535]"
    if low < 0 or high > allowed:
        raise BadExample(name, f"expected {text}, found [{low:g}, {high:g}]")
    return np.rint(pixels * scale).astype(np.uint8)


def _read_npy(path: Path, name: str) -> np.ndarray:
    try:
        ids = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except OSError as error:
        raise BadExample(name, f"cannot be read: {error.strerror or error}") from None
    except Exception as error:  # numpy's header parser raises many types.
        raise BadExample(name, f"not a readable .npy array: {_one_line(error)}") from None
    if not isinstance(ids, np.ndarray) or ids.dtype.kind not in "uib":
        raise BadExample(name, f"expected an integer array, found {getattr(ids, 'dtype', type(ids).__name__)}")
    return ids.squeeze(-1) if ids.ndim == 3 and ids.shape[-1] == 1 else ids


def checked_ids(ids: np.ndarray, name: str, values: Mapping[int, int] | None = None) -> np.ndarray:
    """Integer ``[H, W]`` to OpenEDS ids, uint8; ``values`` as of :func:`decode_mask`. Raises BadExample."""
    if ids.ndim != 2:
        raise BadExample(name, f"expected a mask [H, W], found shape {list(ids.shape)}")
    known = {i: i for i in range(4)} if values is None else dict(values)
    found = np.unique(ids).tolist()
    if strange := [value for value in found if value not in known]:
        raise BadExample(name, f"expected class ids {sorted(known)}, found {strange[:5]}")
    table = np.zeros(max(found, default=0) + 1, np.uint8)
    for value in found:
        table[value] = known[value]
    return table[ids.astype(np.int64)]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
