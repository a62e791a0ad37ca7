"""What every reader yields: one labelled eye image, and the indexable set that holds them."""

from collections.abc import Sequence
from typing import Protocol, TypedDict, runtime_checkable

import numpy as np


class Example(TypedDict, total=False):
    """One eye. ``image`` and ``name`` are always there, the rest where the data set knows it.

    image: uint8 ``[H, W, C]``, C = 1 or 3.
    name: unique within the set, the path relative to the set's folder where there is one.
    mask: uint8 ``[H, W]``, OpenEDS ids (0 skin/background, 1 sclera, 2 iris, 3 pupil).
    gaze: float32 ``[3]`` unit vector in the convention of :mod:`eyegan_jax.gaze`.
    head: float32 ``[2]`` head (pitch, yaw) in radians.
    landmarks: float32 ``[N, 2]`` pixels (x, y), the centre of the top-left pixel at (0, 0).
    subject: the person's id.
    """

    image: np.ndarray
    name: str
    mask: np.ndarray
    gaze: np.ndarray
    head: np.ndarray
    landmarks: np.ndarray
    subject: str


class BadExample(Exception):
    """One file of a set cannot be used. ``name`` says which, ``reason`` why (one line)."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason


@runtime_checkable
class EyeSet(Protocol):
    """A finite set of eyes in a stable, sorted order. Indexing decodes; it may raise BadExample."""

    @property
    def names(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...
