"""Where a model shall look in a picture that is framed otherwise than those of its training: larger photos, close-ups.

By a segmenter that was trained on pictures of eyes alone.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from eyegan_jax.data.geometry import middle_box, resample
from eyegan_jax.data.pipeline import in_channels
from eyegan_jax.images import Pictures
from eyegan_jax.own_resolution import rounded_up

OPENING_WIDTH = 0.62
"""Width of the lid opening over that of a picture of an eye, as the simulator frames it."""

SCALES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""How many eye pictures fit side by side into the photo, tried one after the other."""

CLOSE_UP = 0.5
"""Width of an iris over that of its picture from which on this is a close-up. The simulator's usual frame shows irises
of 0.24 to 0.35, MEYE's close-ups half of them above 0.56."""

SHOWN_IRIS = 0.375
"""The same in the frame that a close-up gets: the least in which the eye is found whole."""

WIDER = (1.0, 1.5, 2.0)
"""Widths over the picture's of the frames in which the iris of a possible close-up is measured."""


def opening_of(probabilities):
    """Share of the pixels that are sclera, iris or pupil, ``[N]``, from class probabilities ``[N, H, W, 4]``."""
    return (probabilities.argmax(-1) > 0).mean((1, 2))


def certainty_of(probabilities):
    """Mean probability of the chosen class over those pixels, ``[N]``; 0 where there are none."""
    eye = probabilities.argmax(-1) > 0
    return (probabilities.max(-1) * eye).sum((1, 2)) / eye.sum((1, 2)).clip(1)


def frame_eyes(
    masks: Callable[[np.ndarray], np.ndarray], pictures: Pictures, shape: Sequence[int]
) -> list[tuple[int, int, int, int]]:
    """For each uint8 picture ``[H, W, C]`` of an eye the box (left, top, right, bottom) that a model shall see.

    masks: class probabilities ``[N, h, w, 4]`` of images ``[N, *shape]``, ``shape`` being that of the model's pictures.
    It is the largest box of their proportions in the middle; for a close-up a wider one about the same middle, beyond
    the picture, whose edges go on. How wide an iris is, is the median over several frames: where the segmenter errs
    in one, as it does in pictures unlike those that it knows, it seldom errs alike in the others.
    """
    whole = [middle_box(picture.shape[0], picture.shape[1], shape) for picture in pictures]
    shown = [
        in_channels(resample(picture, _widened(box, factor), shape[0], shape[1]), shape[2])
        for picture, box in zip(pictures, whole, strict=True)
        for factor in WIDER
    ]
    widths = _iris_widths(np.asarray(masks(np.stack(shown)))).reshape(-1, len(WIDER)) * WIDER
    return [
        _widened(box, min(iris / SHOWN_IRIS, WIDER[-1])) if iris > CLOSE_UP else box
        for box, iris in zip(whole, np.median(widths, axis=1), strict=True)
    ]


def _widened(box: Sequence[int], factor: float) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    wide, tall = (factor - 1.0) * (right - left) / 2, (factor - 1.0) * (bottom - top) / 2
    return round(left - wide), round(top - tall), round(right + wide), round(bottom + tall)


def _iris_widths(probabilities: np.ndarray) -> np.ndarray:
    """Columns of iris and pupil in the largest region of the eye, over the width, ``[N]``."""
    found = []
    for part in probabilities.argmax(-1):
        regions, count = ndimage.label(part > 0)
        largest = np.bincount(regions.ravel())[1:].argmax() + 1 if count else -1
        found.append(((regions == largest) & (part >= 2)).any(0).mean())
    return np.array(found)


def find_eye(
    masks: Callable[[np.ndarray], np.ndarray], photo: np.ndarray, shape: Sequence[int]
) -> tuple[int, int, int, int] | None:
    """Box (left, top, right, bottom) of the most certain eye in uint8 ``photo [H, W, C]``; None where there is none.

    masks: class probabilities ``[1, h, w, 4]`` of images ``[1, h, w, shape[2]]`` of any size. shape: height, width and
    channels of the pictures that the box is for; it has their proportions and may reach beyond the photo.

    The photo is segmented at several sizes. A region of sclera and iris speaks for an eye where it has the width that
    openings have in training, holds an iris and is certain.
    """
    height, width = photo.shape[:2]
    best, found = 0.0, None
    for scale in SCALES:
        wide = round(shape[1] * scale)
        if scale > 1.0 and wide > 2 * width:
            break
        tall = max(8, round(height * wide / width))
        small = in_channels(resample(photo, (0, 0, width, height), tall, wide), shape[2])
        # Photos of like proportions share a program.
        small = np.pad(small, ((0, rounded_up(tall) - tall), (0, 0), (0, 0)), mode="edge")
        probability = np.asarray(masks(small[None]))[0, :tall]
        part = probability.argmax(-1)
        regions, _ = ndimage.label(part > 0)
        for number, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
            inside = regions[rows, columns] == number
            iris = (part[rows, columns] >= 2) & inside
            span, lids = columns.stop - columns.start, rows.stop - rows.start
            # Eyes are wider than high; an iris takes a good part of the opening but not all of it.
            if span < 0.3 * OPENING_WIDTH * shape[1] or lids > span or not 0.1 < iris.sum() / inside.sum() < 0.95:
                continue
            misfit = abs(np.log(span / (OPENING_WIDTH * shape[1])))
            certain = float(probability.max(-1)[rows, columns][inside].mean())
            score = certain * np.exp(-2.0 * misfit)
            if score > best:
                middle = (columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2
                best, found = score, (*(m * width / wide for m in middle), span * width / wide)
    if found is None:
        return None
    x, y, span = found
    half = 0.5 * span / OPENING_WIDTH
    left, top = round(x - half), round(y - half * shape[0] / shape[1])
    return left, top, left + max(1, round(2 * half)), top + max(1, round(2 * half * shape[0] / shape[1]))
