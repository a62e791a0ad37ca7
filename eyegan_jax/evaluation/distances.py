"""Distances between two sets of images: KID and the Frechet distance of feature vectors, in float64."""

import numpy as np

from eyegan_jax.evaluation import features as fixed_features

MOST_ROWS = 4000
"""Rows of a set that KID draws its subsets from: bounds its kernel matrices to 128 MB each."""


def polynomial_kernel(x, y) -> np.ndarray:
    """k(x, y) = (x . y / d + 1)^3 for ``[N, d]`` and ``[M, d]`` (Binkowski et al. 2018)."""
    return (np.asarray(x, np.float64) @ np.asarray(y, np.float64).T / np.shape(x)[1] + 1.0) ** 3


def _mmd(xx, yy, xy) -> float:
    n, m = len(xx), len(yy)
    within_x = (xx.sum() - np.trace(xx)) / (n * (n - 1))
    within_y = (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within_x + within_y - 2.0 * xy.mean())


def unbiased_mmd(x, y) -> float:
    """Squared maximum mean discrepancy, U-statistic (Gretton et al. 2012, eq. 3); may be negative near 0."""
    return _mmd(polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y))


def kid(x, y, subsets: int = 100, subset_size: int = 500, seed: int = 0) -> dict[str, float | int]:
    """Kernel Inception Distance on any features ``[N, d]``, ``[M, d]``: mean and spread over random subsets.

    Each subset draws ``subset_size`` rows of either set without replacement, at most half of a set, so that
    subsets differ. ``std`` is over subsets, which overlap: it shows stability and is no confidence interval.
    """
    size = min(subset_size, len(x) // 2, len(y) // 2)
    if size < 2:
        raise ValueError(f"KID needs at least 4 images in each set, found {len(x)} and {len(y)}")
    rng = np.random.default_rng(seed)
    # Three products once, then look-ups: hundreds of small products stall a busy machine's BLAS threads.
    x, y = (rng.permutation(np.asarray(z, np.float64))[:MOST_ROWS] for z in (x, y))
    xx, yy, xy = polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y)
    values = []
    for _ in range(subsets):
        i, j = rng.choice(len(x), size, False), rng.choice(len(y), size, False)
        values.append(_mmd(xx[np.ix_(i, i)], yy[np.ix_(j, j)], xy[np.ix_(i, j)]))
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)) if subsets > 1 else 0.0,
        "n": subsets,
        "subset_size": size,
    }


def frechet(x, y) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of features (Heusel et al. 2017), unbiased covariances.

    The trace of the root is the sum of roots of the eigenvalues of C1^(1/2) C2 C1^(1/2), which is symmetric:
    no imaginary parts. Biased upward for few samples; compare only sets of equal size.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    cx, cy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, vectors = np.linalg.eigh(cx)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cy @ root), 0, None)).sum()
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(cx) + np.trace(cy) - 2 * cross)


def image_distances(images, reference, seed: int = 0) -> dict[str, object]:
    """KID and Frechet distance between uint8 sets ``[N, H, W, C]`` under the library's fixed features.

    The two sets are cut to equal size for the Frechet distance. The result names the extractor and sizes.
    """
    x, y = fixed_features.features(images), fixed_features.features(reference)
    common = min(len(x), len(y))
    rng = np.random.default_rng(seed)
    paired = [z[rng.permutation(len(z))[:common]] for z in (x, y)]
    return {
        "features": fixed_features.NAME,
        "n": len(x),
        "n_reference": len(y),
        "kid": kid(x, y, seed=seed),
        "frechet": {"value": frechet(*paired), "n": common},
    }
