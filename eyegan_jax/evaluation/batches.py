"""Running a compiled function over any number of images with one compiled shape."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def in_batches(function: Callable[[Any], Any], images: np.ndarray, size: int) -> Any:
    """``function`` of batches ``[size, ...]`` over all ``images [N, ...]``; its results as NumPy, length N.

    The last batch is filled up with copies of its last image, whose results are dropped: nothing compiles
    twice, and the rest counts like any other.
    """
    parts = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        filled = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
        count = len(part)
        parts.append(jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], function(filled)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
