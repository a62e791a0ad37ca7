"""A change that a model finds at its own size, done to a picture's own pixels: by ``eyegan edit`` and ``redirect``."""

import jax
import numpy as np

from eyegan_jax.images import to_float, to_uint8
from eyegan_jax.layers.detail import Change, changed


def changed_picture(picture: np.ndarray, change: Change) -> np.ndarray:
    """uint8 ``picture [h, w, C]`` with one change (without a batch's axis) done to it, see
    :func:`eyegan_jax.layers.detail.changed`.

    Pictures of like sizes share a program: detectors give each crop another size, and compiling takes longer than
    the work.
    """
    size = picture.shape[:2]
    margins = [(0, rounded_up(length) - length) for length in size]
    return np.asarray(_changed(np.pad(picture, [*margins, (0, 0)], mode="edge"), change, size))[: size[0], : size[1]]


def rounded_up(length: int) -> int:
    """The next of a few lengths, four per octave: 8, 16, ... 56, 64, 80, 96, 112, 128, 160 and so on."""
    step = max(8, 2 ** ((length - 1).bit_length() - 3))
    return -(-length // step) * step


@jax.jit
def _changed(picture, change: Change, size):
    return to_uint8(changed(to_float(picture[None]), jax.tree.map(lambda leaf: leaf[None], change), size))[0]
