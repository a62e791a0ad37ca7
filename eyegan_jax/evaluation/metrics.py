"""Measures of images, gaze, masks and judgements: pure NumPy functions in float64.

Every function states its equation and source. Images are uint8 or float arrays ``[N, H, W, C]`` in gray
levels 0..255 unless a docstring says otherwise. Distances between image sets are in
:mod:`~eyegan_jax.evaluation.distances`, pupil centres in :mod:`~eyegan_jax.evaluation.pupil`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy import ndimage, stats

OPENEDS_TEST_IMAGES = 1471
"""Images in the OpenEDS synthesis test set; its score is a sum over them."""


class Mean:
    """Collects numbers and gives ``{"mean", "std", "n"}``, the form of every recorded figure.

    ``std`` is the sample standard deviation (divisor n - 1), None for a single number, whose spread is
    unknown. ``None`` values (a measure that was not defined for one sample) are left out of ``n``.
    """

    def __init__(self, values: Iterable[float | None] = ()):
        self.values: list[float] = []
        self.extend(values)

    def add(self, value: float | None) -> None:
        if value is not None:
            self.values.append(float(value))

    def extend(self, values: Iterable[float | None]) -> None:
        for value in values:
            self.add(value)

    def result(self) -> dict[str, float | int | None]:
        values = np.asarray(self.values, np.float64)
        return {
            "mean": float(values.mean()) if values.size else None,
            "std": float(values.std(ddof=1)) if values.size > 1 else None,
            "n": int(values.size),
        }


# Gaze


def angular_errors(predicted, true) -> np.ndarray:
    """Angles in degrees ``[N]`` between gaze vectors ``[N, 3]`` of any positive length.

    theta = atan2(|p x t|, p . t); equals arccos of the normalised dot product and keeps its digits near 0.
    """
    predicted, true = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    sine = np.linalg.norm(np.cross(predicted, true), axis=-1)
    return np.degrees(np.arctan2(sine, np.sum(predicted * true, axis=-1)))


def percent_within(errors, limit: float = 7.0) -> float:
    """Percent of ``errors`` that are at most ``limit`` degrees (SimGAN, Table 2: 7 degrees)."""
    return float(100.0 * np.mean(np.asarray(errors) <= limit))


def error_curve(errors, limits: Sequence[float]) -> np.ndarray:
    """Percent of ``errors`` within each of ``limits``: the cumulative curve of SimGAN's Figure 9."""
    ordered = np.sort(np.asarray(errors, np.float64))
    return 100.0 * np.searchsorted(ordered, np.asarray(limits, np.float64), side="right") / len(ordered)


# Images against their true counterparts


def rmse(image, target) -> np.ndarray:
    """Root mean squared difference per image ``[N]`` in gray levels."""
    difference = np.asarray(image, np.float64) - np.asarray(target, np.float64)
    return np.sqrt(np.mean(difference**2, axis=tuple(range(1, difference.ndim))))


def openeds_score(image, target) -> float:
    """OpenEDS synthesis score of integer gray images ``[N, H, W]`` or ``[N, H, W, 1]``; lower is better.

    score = 1471 * mean_i sqrt(sum_px (I_i - J_i)^2) / (H W) (as computed by mcbuehler/Seg2Eye for the 2019
    challenge). The root is taken per image. Scores of another resolution than 640 x 400 do not compare.

    Raises ValueError for anything but integers: the score is of the image that was submitted.
    """
    image, target = np.asarray(image), np.asarray(target)
    if not (np.issubdtype(image.dtype, np.integer) and np.issubdtype(target.dtype, np.integer)):
        raise ValueError(f"the OpenEDS score needs integer images, found {image.dtype} and {target.dtype}")
    pixels = image.shape[1] * image.shape[2]
    return float(OPENEDS_TEST_IMAGES * np.mean(rmse(image, target)) / np.sqrt(pixels))


def ssim(image, target, value_range: float = 255.0, sigma: float = 1.5, radius: int = 5) -> np.ndarray:
    """Structural similarity per image ``[N]`` of ``[N, H, W, C]`` (Wang et al. 2004, eq. 13), in [-1, 1].

    Gaussian window of 11 x 11, sigma 1.5, K1 = 0.01, K2 = 0.03, population moments; the mean runs over the
    positions where the window lies inside the image, so H and W must be at least 11.
    """
    image, target = np.asarray(image, np.float64), np.asarray(target, np.float64)
    if min(image.shape[1:3]) < 2 * radius + 1:
        raise ValueError(f"SSIM needs images of at least {2 * radius + 1} pixels, found {image.shape[1:3]}")

    offsets = np.arange(-radius, radius + 1)
    window = np.exp(-0.5 * (offsets / sigma) ** 2)
    window /= window.sum()

    def local_mean(x):
        blurred = ndimage.correlate1d(ndimage.correlate1d(x, window, axis=1), window, axis=2)
        return blurred[:, radius:-radius, radius:-radius]

    mean_x, mean_y = local_mean(image), local_mean(target)
    variance_x = local_mean(image**2) - mean_x**2
    variance_y = local_mean(target**2) - mean_y**2
    covariance = local_mean(image * target) - mean_x * mean_y
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    return similarity.mean(axis=(1, 2, 3))


# Sharpness of a single image


def gradient_energy(images) -> np.ndarray:
    """Mean squared gradient per image ``[N]``, gray levels^2 per pixel^2 (Tenenbaum 1970).

    mean (dI/dx)^2 + (dI/dy)^2 with central differences, inner pixels only.
    """
    images = np.asarray(images, np.float64)
    dx = (images[:, 1:-1, 2:] - images[:, 1:-1, :-2]) / 2
    dy = (images[:, 2:, 1:-1] - images[:, :-2, 1:-1]) / 2
    return np.mean(dx**2 + dy**2, axis=(1, 2, 3))


def laplacian_variance(images) -> np.ndarray:
    """Variance per image ``[N]`` of the 5-point Laplacian (Pech-Pacheco et al. 2000); noise raises it too."""
    x = np.asarray(images, np.float64)
    laplacian = x[:, 2:, 1:-1] + x[:, :-2, 1:-1] + x[:, 1:-1, 2:] + x[:, 1:-1, :-2] - 4 * x[:, 1:-1, 1:-1]
    return laplacian.var(axis=(1, 2, 3))


# Masks


def confusion_matrix(predicted, true, classes: int) -> np.ndarray:
    """Pixel counts ``[true class, predicted class]`` of integer masks of any equal shape."""
    predicted, true = np.asarray(predicted).ravel(), np.asarray(true).ravel()
    pairs = true.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def iou_per_class(matrix) -> np.ndarray:
    """Intersection over union of each class, from a confusion matrix; NaN where the class occurs nowhere."""
    matrix = np.asarray(matrix, np.float64)
    intersection = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - intersection
    return np.divide(intersection, union, out=np.full(len(matrix), np.nan), where=union > 0)


def mean_iou(predicted, true, classes: int = 4) -> dict[str, Any]:
    """mIoU of masks ``[N, H, W]`` in both readings in use, which differ.

    ``miou``: unweighted mean over the classes present of the IoU on the flattened predictions of the whole
    set (OpenEDS challenge rule); ``per_class`` are its terms, None for a class that occurs nowhere.
    ``miou_per_image``: mean over images of each image's own mIoU (as RITnet's code reports it).
    """
    per_class = iou_per_class(confusion_matrix(predicted, true, classes))
    images = [np.nanmean(iou_per_class(confusion_matrix(p, t, classes))) for p, t in zip(predicted, true, strict=True)]
    return {
        "miou": float(np.nanmean(per_class)),
        "per_class": [None if np.isnan(value) else float(value) for value in per_class],
        "miou_per_image": float(np.mean(images)),
    }


def dice(predicted, true) -> np.ndarray:
    """Dice coefficient 2 |A and B| / (|A| + |B|) per image ``[N]`` of boolean masks ``[N, H, W]``.

    1 where both are empty (a closed eye, correctly found closed), 0 where only one is.
    """
    predicted, true = np.asarray(predicted, bool), np.asarray(true, bool)
    overlap = np.sum(predicted & true, axis=(1, 2))
    total = np.sum(predicted, axis=(1, 2)) + np.sum(true, axis=(1, 2))
    return np.where(total == 0, 1.0, 2.0 * overlap / np.maximum(total, 1))


def mask_centres(masks) -> np.ndarray:
    """Centroids (x, y) ``[N, 2]`` in pixels of boolean masks ``[N, H, W]``; NaN where a mask is empty."""
    masks = np.asarray(masks, np.float64)
    area = masks.sum(axis=(1, 2))
    rows, columns = np.arange(masks.shape[1]), np.arange(masks.shape[2])
    moments = np.stack([masks.sum(1) @ columns, masks.sum(2) @ rows], axis=-1)
    return np.divide(moments, area[:, None], out=np.full_like(moments, np.nan), where=area[:, None] > 0)


def pupil_scores(predicted, true, least_pixels: int = 20) -> dict[str, dict[str, float | int | None]]:
    """What an eye tracker needs from pupil masks ``[N, H, W]`` (boolean), open and closed eyes together.

    dice: over all images, an empty mask of a closed eye counting 1. centre_error: distance of centroids in
    pixels where both masks have a pupil. missed: percent of open eyes without a found pupil; blink_false:
    percent of closed eyes with one. A found pupil has at least ``least_pixels``.
    """
    predicted, true = np.asarray(predicted, bool), np.asarray(true, bool)
    found, open_eye = predicted.sum(axis=(1, 2)) >= least_pixels, true.any(axis=(1, 2))
    predicted = predicted & found[:, None, None]
    distance = np.linalg.norm(mask_centres(predicted) - mask_centres(true), axis=-1)
    return {
        "dice": Mean(dice(predicted, true)).result(),
        "centre_error": Mean(distance[found & open_eye]).result(),
        "missed": Mean(100.0 * ~found[open_eye]).result(),
        "blink_false": Mean(100.0 * found[~open_eye]).result(),
    }


# Judgements


def discriminator_accuracy(refined_logits, real_logits) -> dict[str, float]:
    """How well a discriminator tells its two classes apart; 50 percent each means it cannot.

    Logits ``[N, ..., 2]`` (index 1 = refined) or ``[N, ..., 1]`` (positive = refined). ``patches``: percent
    of patches called right, the mean of both classes, so that unequal set sizes do not matter; ``images``:
    the same with one vote per image, the sum of its patches' log-odds; ``refined`` and ``real``: percent of
    each class's images called right.
    """

    def log_odds(logits):
        logits = np.asarray(logits, np.float64)
        odds = logits[..., 1] - logits[..., 0] if logits.shape[-1] == 2 else logits[..., 0]
        return odds.reshape(len(odds), -1)

    refined, real = log_odds(refined_logits), log_odds(real_logits)
    # A tie is half right, so that a constant discriminator scores exactly 50.
    right = [100 * np.mean((x > 0) + 0.5 * (x == 0)) for x in (refined, -real, refined.sum(1), -real.sum(1))]
    return {
        "patches": float(right[0] + right[1]) / 2,
        "images": float(right[2] + right[3]) / 2,
        "refined": float(right[2]),
        "real": float(right[3]),
    }


def binomial_test(correct: int, trials: int, alternative: str = "greater") -> dict[str, float | int]:
    """Exact test of ``correct`` out of ``trials`` against guessing, with the 95 % Clopper-Pearson interval.

    alternative: ``"greater"``, p = P(X >= correct) with X ~ Binomial(trials, 1/2), the question whether
    judgements are better than chance (the paper's 517 of 1000 gives p = 0.148); ``"two-sided"`` for a
    preference between two equals. ``percent``, ``low`` and ``high`` are percents.
    """
    p_value = stats.binomtest(correct, trials, 0.5, alternative=alternative).pvalue
    low, high = stats.binomtest(correct, trials, 0.5).proportion_ci(0.95, "exact")
    return {
        "correct": correct,
        "n": trials,
        "percent": 100.0 * correct / trials,
        "p_value": float(p_value),
        "low": 100.0 * float(low),
        "high": 100.0 * float(high),
    }


def at(figures: Any, path: str) -> Any:
    """The figure at ``path`` of nested dicts and lists, as in "swap.miou", "per_class.3"; None where there is none."""
    for key in path.split("."):
        if isinstance(figures, list):
            figures = {str(i): figure for i, figure in enumerate(figures)}
        if not isinstance(figures, dict) or key not in figures:
            return None
        figures = figures[key]
    return figures
