"""Does refinement help? Gaze estimators trained on one set of eyes and tested on another.

The measure of the SimGAN paper's Tables 2 and 3: train on raw, refined and real images with equal budgets,
test on real ones, report the mean angular error and the percent of images within 7 degrees, with the spread
over seeds. Networks learn as :mod:`eyegan_jax.evaluation.fitting` says.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax import cache
from eyegan_jax.evaluation import metrics
from eyegan_jax.evaluation.fitting import DEFAULT, Training, predict, train, train_ensemble
from eyegan_jax.losses import gaze_distance
from eyegan_jax.systems.gaze_estimator import NETWORKS

CURVE_LIMITS = tuple(float(x) for x in np.arange(0.0, 30.5, 0.5))
"""Degrees at which the curve of percent within a limit is kept."""


class Eyes(NamedTuple):
    """Labelled eyes: uint8 ``[N, H, W, C]`` and unit gaze vectors ``[N, 3]`` (:mod:`eyegan_jax.gaze`)."""

    images: np.ndarray
    gaze: np.ndarray


# The paper's classical baselines


def pixel_features(images, size: tuple[int, int] = (12, 20)) -> np.ndarray:
    """Images ``[N, H, W, C]`` to ``[N, 240]``: gray, averaged to ``size``, zero mean and unit deviation."""
    images = jnp.asarray(images, jnp.float32).mean(axis=-1)
    small = np.asarray(jax.image.resize(images, (len(images), *size), "linear")).reshape(len(images), -1)
    small = small - small.mean(axis=1, keepdims=True)
    return small / np.maximum(small.std(axis=1, keepdims=True), 1e-3)


def classical_estimator(name: str, seed: int):
    """A scikit-learn regressor of gaze from :func:`pixel_features`: ``knn``, ``forest`` or ``svr``."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.svm import SVR

    return {
        "knn": lambda: KNeighborsRegressor(n_neighbors=10, weights="distance"),
        "forest": lambda: RandomForestRegressor(200, min_samples_leaf=2, max_features=0.3, random_state=seed),
        "svr": lambda: MultiOutputRegressor(SVR(C=1.0, epsilon=0.02, gamma="scale")),
    }[name]()


CLASSICAL = ("knn", "forest", "svr")
CLASSICAL_ROWS = 4000
"""Training images that a classical estimator sees at most: a support vector machine's cost is cubic."""


def _classical_predictions(name, eyes: Eyes, test: Eyes, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).permutation(len(eyes.images))[:CLASSICAL_ROWS]
    model = classical_estimator(name, seed).fit(pixel_features(eyes.images[rows]), eyes.gaze[rows])
    return model.predict(pixel_features(test.images))


# The table


def summary(errors_of_seeds: Sequence[np.ndarray]) -> dict[str, Any]:
    """Mean error (degrees), percent within 7 degrees and the curve, each ``[seed][image]`` error averaged."""
    curves = np.stack([metrics.error_curve(errors, CURVE_LIMITS) for errors in errors_of_seeds])
    return {
        "error": metrics.Mean([errors.mean() for errors in errors_of_seeds]).result(),
        "within_7": metrics.Mean([metrics.percent_within(errors) for errors in errors_of_seeds]).result(),
        "curve": {"limits": list(CURVE_LIMITS), "percent": curves.mean(0).tolist()},
        "n_test": len(errors_of_seeds[0]),
    }


def gap_closed(raw: Sequence[float], arm: Sequence[float], real: Sequence[float]) -> dict[str, Any] | None:
    """How much of the way from raw to real an arm goes: (raw - arm) / (raw - real), 1 = as good as real.

    Values per seed. The denominator is of the means, so the mean of the result is the quotient of the means
    and its spread that of the numerator. Signs work for errors and for Dice. None where there is no gap.
    """
    gap = float(np.mean(raw) - np.mean(real))
    if abs(gap) < 1e-9:
        return None
    return metrics.Mean([(r - a) / gap for r, a in zip(raw, arm, strict=True)]).result()


def gaze_benchmark(
    train_sets: Mapping[str, Eyes | Sequence[Eyes]],
    test_set: Eyes,
    seeds: Sequence[int],
    estimators: Sequence[str] = ("cnn",),
    how: Training | Mapping[str, Training] = DEFAULT,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train every estimator on every set with every seed, test all on ``test_set``.

    train_sets: ``raw``, ``refined``, ``real`` and any further arms; an :class:`Eyes`, or one per seed where
        the images themselves depend on the seed (a refiner trained anew for each).
    estimators: names of :data:`NETWORKS` and :data:`CLASSICAL`.
    how: the budget; a mapping gives single arms their own (an augmentation), ``""`` the others'.

    Networks that were trained before, on the same eyes in the same way, are not trained again.

    Returns ``{"mean_gaze": error of always answering the test set's mean gaze, "estimators": {name: {set:
    summary + "n_train"}}, "gap_closed": {name: {set: ...}}}``, the latter with raw and real.
    """
    budgets = how if isinstance(how, Mapping) else {"": how}
    centre = np.broadcast_to(test_set.gaze.mean(0), test_set.gaze.shape)
    constant = metrics.angular_errors(centre, test_set.gaze)
    table: dict[str, Any] = {
        "mean_gaze": {"error": float(constant.mean()), "n": len(constant)},
        "seeds": list(seeds),
        "estimators": {},
        "gap_closed": {},
    }
    for estimator in estimators:
        rows, means = {}, {}
        for name, eyes in train_sets.items():
            budget = budgets.get(name, budgets.get("", DEFAULT))
            errors = [
                metrics.angular_errors(predicted, test_set.gaze)
                for predicted in _predictions(estimator, eyes, test_set, seeds, budget)
            ]
            means[name] = [float(e.mean()) for e in errors]
            images = eyes.images if isinstance(eyes, Eyes) else eyes[0].images
            rows[name] = {**summary(errors), "n_train": len(images)}
            progress(f"{estimator} trained on {name}: {np.mean(means[name]):.2f} degrees error")
        table["estimators"][estimator] = rows
        if {"raw", "real"} <= means.keys():
            arms = [name for name in means if name not in ("raw", "real")]
            table["gap_closed"][estimator] = {arm: gap_closed(means["raw"], means[arm], means["real"]) for arm in arms}
    return table


def _predictions(estimator, eyes, test: Eyes, seeds, how: Training) -> list[np.ndarray]:
    if estimator in CLASSICAL:
        per_seed = [eyes] * len(seeds) if isinstance(eyes, Eyes) else eyes
        return [_classical_predictions(estimator, e, test, s) for e, s in zip(per_seed, seeds, strict=True)]

    def fit():
        return {"gaze": np.stack(_network_predictions(NETWORKS[estimator], eyes, test, seeds, how))}

    if how.augment is not None:  # a function, of which nothing tells whether it is the same as last time
        return list(fit()["gaze"])
    # The runs of a sweep share all but their refined eyes.
    what = f"gaze read by {(NETWORKS[estimator], list(seeds), how)} {cache.code(__name__)}"
    return list(cache.kept(what, (eyes, test.images), fit)["gaze"])


def _network_predictions(network, eyes, test: Eyes, seeds, how: Training) -> list[np.ndarray]:
    if isinstance(eyes, Eyes):
        stacked = train_ensemble(network, gaze_distance, eyes.images, eyes.gaze, seeds, how)
        members = [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(len(seeds))]
    else:
        both = zip(eyes, seeds, strict=True)
        members = [train(network, gaze_distance, e.images, e.gaze, seed, how) for e, seed in both]
    return [predict(network, params, test.images) for params in members]
