"""Reading HDF5 files that may be damaged."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eyegan_jax.data.examples import BadExample
from eyegan_jax.errors import UserError


def open_h5(path: Path) -> Any:
    """An HDF5 file for reading. Raises UserError where it is missing or malformed."""
    import h5py

    if not path.is_file():
        raise UserError(f"{path}: expected an HDF5 file, found nothing there")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: expected an HDF5 file, found one that cannot be opened ({reason})") from None


@contextlib.contextmanager
def malformed(path: Path) -> Iterator[None]:
    """Turns whatever h5py raises over a damaged file into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # Damage surfaces as RuntimeError, KeyError, OSError, UnicodeError and others.
        raise UserError(f"{path}: damaged HDF5 file: {' '.join(str(error).split())}") from None


def read_gray(group: Any, where: tuple, name: str) -> np.ndarray:
    """``group[where[0]]``, indexed by the rest of ``where``, as uint8 ``[H, W, 1]``; RGB is averaged.

    Raises BadExample (with ``name``) for damaged, missing and other contents.
    """
    key, *row = where
    try:
        pixels = np.asarray(group[key][tuple(row)])
    except Exception as error:  # As above.
        raise BadExample(name, f"cannot be read: {' '.join(str(error).split())}") from None
    if pixels.ndim == 3 and pixels.shape[-1] in (1, 3) and pixels.dtype == np.uint8:
        pixels = np.rint(pixels.mean(axis=-1)).astype(np.uint8)
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or not pixels.size:
        raise BadExample(name, f"expected uint8 [H, W], found {pixels.dtype} {list(pixels.shape)}")
    return pixels[..., None]
