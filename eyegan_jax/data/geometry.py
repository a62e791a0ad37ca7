"""Cropping, resizing and mirroring of examples, with everything that is known in pixels carried along.

Boxes are ``(left, top, right, bottom)`` in edge coordinates: the image spans ``(0, 0, W, H)``. Landmarks have
the centre of the top-left pixel at (0, 0), that is at edge coordinate (0.5, 0.5).
"""

from collections.abc import Sequence

import numpy as np

from eyegan_jax.data.examples import Example

Box = tuple[float, float, float, float]


def resample(pixels: np.ndarray, box: Box, height: int, width: int, *, nearest: bool = False) -> np.ndarray:
    """What ``box`` shows of ``[H, W]`` or ``[H, W, C]`` uint8, at ``height`` x ``width``.

    Per axis the exact mean over the covered area when shrinking and bilinear when growing; ``nearest`` for
    class ids. Beyond the border the nearest edge pixel goes on.
    """
    left, top, right, bottom = box
    if box == (0, 0, pixels.shape[1], pixels.shape[0]) and (height, width) == pixels.shape[:2]:
        return pixels
    if nearest:
        rows = _nearest(pixels.shape[0], top, bottom, height)
        return pixels[rows[:, None], _nearest(pixels.shape[1], left, right, width)]
    shrunk = _resampled(pixels, top, bottom, height)
    return np.rint(_resampled(shrunk.swapaxes(0, 1), left, right, width).swapaxes(0, 1)).astype(np.uint8)


def _resampled(rows: np.ndarray, start: float, end: float, count: int) -> np.ndarray:
    """``[N, ...]`` to float ``[count, ...]`` between the edges ``start`` and ``end`` of the first axis."""
    step, last = (end - start) / count, len(rows) - 1
    broadcast = (slice(None), *[None] * (rows.ndim - 1))
    if step <= 1:
        centres = np.clip(start + (np.arange(count) + 0.5) * step - 0.5, 0, last)
        below = np.minimum(centres.astype(int), max(last - 1, 0))
        share = (centres - below)[broadcast]
        return rows[below] * (1 - share) + rows[np.minimum(below + 1, last)] * share
    # The mean over an interval is a difference of the integral, which is linear between the pixels' edges
    # and goes on with the slope of the outermost pixel beyond the border.
    edges = start + np.arange(count + 1) * step
    inside = np.clip(np.floor(edges), 0, last).astype(int)
    first = inside[0]
    used = rows[first : inside[-1] + 1]
    sums = np.cumsum(used, axis=0, dtype=np.int32 if used.dtype == np.uint8 else np.float64)
    before = sums[inside - first] - used[inside - first]
    integral = before + used[inside - first] * (edges - inside)[broadcast]
    return np.diff(integral, axis=0) / step


def _nearest(size: int, start: float, end: float, count: int) -> np.ndarray:
    """For each of ``count`` pixels between the edges ``start`` and ``end``: the pixel under its centre."""
    centres = start + (np.arange(count) + 0.5) * ((end - start) / count)
    return np.clip(np.floor(centres), 0, size - 1).astype(int)


def crop_resize(example: Example, box: Box, height: int, width: int) -> Example:
    """The example seen through ``box``, at ``height`` x ``width``: image, mask, landmarks; gaze stays."""
    result = example.copy()
    result["image"] = resample(example["image"], box, height, width)
    if "mask" in example:
        result["mask"] = resample(example["mask"], box, height, width, nearest=True)
    if "landmarks" in example:
        left, top, right, bottom = box
        scale = np.array([width / (right - left), height / (bottom - top)])
        moved = (example["landmarks"] + 0.5 - np.array([left, top])) * scale - 0.5
        result["landmarks"] = moved.astype(np.float32)
    return result


def resize(example: Example, height: int, width: int, fit: str = "stretch") -> Example:
    """The example at ``height`` x ``width``.

    fit: ``stretch`` shows the whole image, whatever its shape (as the published pipelines do); ``crop`` keeps
    proportions and cuts what is too much on both sides.
    """
    rows, columns = example["image"].shape[:2]
    box: Box = (0, 0, columns, rows)
    if fit == "crop":
        shown_width = min(columns, rows * width / height)
        shown_height = min(rows, columns * height / width)
        left, top = (columns - shown_width) / 2, (rows - shown_height) / 2
        box = (left, top, left + shown_width, top + shown_height)
    elif fit != "stretch":
        raise ValueError(f"fit must be 'stretch' or 'crop', found {fit!r}")
    return crop_resize(example, box, height, width)


def middle_box(height: int, width: int, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """The largest centred box of whole pixels of a picture with the proportions of ``shape`` (H, W, ...)."""
    scale = min(height / shape[0], width / shape[1])
    tall, wide = round(shape[0] * scale), round(shape[1] * scale)
    top, left = (height - tall) // 2, (width - wide) // 2
    return left, top, left + wide, top + tall


def mirror(example: Example) -> Example:
    """Flipped left to right: gaze x and head yaw change sign, landmarks move to ``W - 1 - x``."""
    result = example.copy()
    result["image"] = np.ascontiguousarray(example["image"][:, ::-1])
    if "mask" in example:
        result["mask"] = np.ascontiguousarray(example["mask"][:, ::-1])
    if "gaze" in example:
        result["gaze"] = example["gaze"] * np.array([-1, 1, 1], np.float32)
    if "head" in example:
        result["head"] = example["head"] * np.array([1, -1], np.float32)
    if "landmarks" in example:
        width = example["image"].shape[1]
        x, y = example["landmarks"].T
        result["landmarks"] = np.stack([width - 1 - x, y], axis=-1).astype(np.float32)
    return result


def equalize(gray: np.ndarray) -> np.ndarray:
    """Histogram equalisation of uint8 ``[H, W, 1]``, as MPIIGaze's normalised images had it.

    Maps v to ``round(255 (cdf(v) - cdf_min) / (pixels - cdf_min))``; an image of one value stays as it is.
    """
    counts = np.bincount(gray.reshape(-1), minlength=256)
    cumulative = np.cumsum(counts)
    lowest = cumulative[np.flatnonzero(counts)[0]]
    if lowest == gray.size:
        return gray
    table = np.rint((cumulative - lowest) * (255.0 / (gray.size - lowest)))
    return np.clip(table, 0, 255).astype(np.uint8)[gray]
