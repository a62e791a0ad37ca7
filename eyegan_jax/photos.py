"""Larger photos: where their eye is, and putting back what a model has made of it."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from eyegan_jax import segmenting
from eyegan_jax.data.geometry import middle_box, resample
from eyegan_jax.errors import UserError
from eyegan_jax.eye_finding import find_eye
from eyegan_jax.models import load_model, released

FEATHER = 0.12
"""Share of a box over which what was made fades into what was there."""

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels; it may reach beyond the photo."""


def eye_finder(shape: Sequence[int]) -> Callable[[np.ndarray], Box | None]:
    """A function from a photo, uint8 ``[H, W, 1 or 3]``, to the box of its eye with the proportions of ``shape``.

    By the segmenter that comes with the package, which has seen more kinds of pictures than a redirector's own.
    """
    model = load_model(released("segmenter"), segmenting.STATE)
    wide = model.config.image_shape[1]
    seen = (round(wide * shape[0] / shape[1]), wide, 1)
    return partial(find_eye, segmenting.class_probabilities(model), shape=seen)


def check_box(box: Box | None, size: Sequence[int]) -> None:
    """Raise UserError for a box that is empty or not within a photo of ``size`` (height, width)."""
    if box is None:
        return
    left, top, right, bottom = box
    if not (0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]):
        raise UserError(f"--box: expected LEFT,TOP,RIGHT,BOTTOM within {size[1]}x{size[0]} pixels, found {box}")


def shown_by(box: Box, photo: np.ndarray) -> np.ndarray:
    """What ``box`` shows of ``photo [H, W, C]``, at its own resolution; beyond the border the nearest pixel goes on."""
    left, top, right, bottom = box
    if min(left, top) >= 0 and right <= photo.shape[1] and bottom <= photo.shape[0]:
        return photo[top:bottom, left:right]
    return resample(photo, box, bottom - top, right - left)


def fitted(box: Box, shape: Sequence[int]) -> Box:
    """The largest box in the middle of ``box`` with the proportions of ``shape`` (H, W, ...)."""
    left, top, right, bottom = box
    inner = middle_box(bottom - top, right - left, shape)
    return inner[0] + left, inner[1] + top, inner[2] + left, inner[3] + top


def put_back(photo: np.ndarray, box: Box, made: np.ndarray) -> np.ndarray:
    """``photo``, uint8 ``[H, W, C]``, with ``made``, uint8 of the size of ``box``, in the place of what that shows.

    It fades into what was there towards the box's edges, unless these are the photo's own or beyond.
    """
    left, top, right, bottom = box
    there = (slice(max(top, 0), bottom), slice(max(left, 0), right))
    around = photo[there]
    made = made[max(-top, 0) :, max(-left, 0) :][: around.shape[0], : around.shape[1]].astype(np.float32)
    edges = (top <= 0, bottom >= photo.shape[0], left <= 0, right >= photo.shape[1])
    fade = _fade(made.shape[0], edges[0], edges[1])[:, None] * _fade(made.shape[1], edges[2], edges[3])[None]
    result = photo.copy()
    result[there] = np.rint(around + (made - around) * fade[..., None]).astype(np.uint8)
    return result


def _fade(size: int, open_start: bool, open_end: bool) -> np.ndarray:
    """From 0 at either end to 1 inside; an open end stays at 1."""
    place = (np.arange(size) + 0.5) / size
    rise = np.ones(size) if open_start else np.clip(place / FEATHER, 0, 1)
    fall = np.ones(size) if open_end else np.clip((1 - place) / FEATHER, 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * np.minimum(rise, fall))
