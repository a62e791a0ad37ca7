"""Judging gaze redirection on people that no training saw, where the simulator knows the true picture.

The judges learn from labelled simulated pictures of people of their own: a gaze estimator and a segmenter that no
redirector was trained against. Their own errors on true pictures stand beside every figure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from eyegan_jax import cache, simulator
from eyegan_jax.data.streams import PAIRS, SIMULATOR, collect
from eyegan_jax.errors import UserError
from eyegan_jax.evaluation import features, fitting
from eyegan_jax.evaluation.metrics import Mean, angular_errors, mean_iou
from eyegan_jax.evaluation.perceptual import perceptual_distances
from eyegan_jax.evaluation.seg2eye import train_segmenter
from eyegan_jax.gaze import angles_to_vector, vector_to_angles
from eyegan_jax.losses import gaze_distance
from eyegan_jax.networks.small_resnet import SmallResNet
from eyegan_jax.simulator import pairs as simulated_pairs

Turn = Callable[[Mapping[str, np.ndarray], np.ndarray], np.ndarray]
"""Pictures (``image``, ``gaze`` and so on, see :class:`Eyes`) and wanted unit vectors ``[N, 3]`` to uint8 images."""

STRANGERS = 7_777
"""Added to the seed of the people: nobody here was met in training."""

FIELDS = (
    *("image", "mask", "gaze", "glasses", "references", "subject"),
    *("target_image", "target_mask", "target_gaze", "target_glasses"),
)
SWEEP = np.arange(-25.0, 26.0, 5.0)
"""Yaw in degrees over which an eye is swept."""


@dataclass(frozen=True)
class Judges:
    """Networks that only judge. gaze: images to vectors ``[N, 3]``; segment: to masks; glasses: to bool ``[N]``."""

    gaze: Callable[[np.ndarray], np.ndarray]
    segment: Callable[[np.ndarray], np.ndarray]
    glasses: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Bench:
    """Test pairs of one domain by turn, the gallery for retrieval, and the judges, which are the same for all."""

    pairs: Mapping[str, np.ndarray]
    degrees: np.ndarray
    gallery: Mapping[str, np.ndarray]
    judges: Judges


def by_one_of(turns: Sequence[float]) -> simulated_pairs.Change:
    """The change to a gaze that is one of ``turns`` degrees away, with the glasses off."""

    def change(key, subject, capture):
        angle = jnp.asarray(turns)[jax.random.randint(jax.random.fold_in(key, 0), (), 0, len(turns))]
        subject, capture = simulated_pairs.turn(jax.random.fold_in(key, 1), subject, capture, degrees=angle)
        return simulated_pairs.take_off_glasses(key, subject, capture)

    return change


def prepare(config: ml_collections.ConfigDict) -> dict[str, Bench]:
    """A bench for the domain that labels come from ("labelled") and, where another one is simulated, that ("real").

    People are strangers to every training; a third of them or more wear glasses before the turn. Raises UserError
    where the labelled pairs are not simulated.
    """
    settings = config.evaluation
    streams = {"labelled": config.data.pairs, "real": config.data.real}
    if streams["labelled"].kind != PAIRS:
        raise UserError(f"config.data.pairs.kind: expected {PAIRS!r}, found {streams['labelled'].kind!r}")
    simulated = streams["real"].kind in (PAIRS, SIMULATOR)
    if not simulated or streams["real"].domain == streams["labelled"].domain:
        del streams["real"]
    known, tests = {}, {}
    for name, stream in streams.items():
        arrays = _render(config, stream, name)
        # Each sample of the first part shows the judges two pictures.
        count = len(arrays["image"]) - settings.pairs * len(settings.turns)
        known[name] = {field: value[:count] for field, value in arrays.items()}
        tests[name] = {field: value[count:] for field, value in arrays.items()}
    judges = train_judges(known, settings.judge_steps)
    return {name: Bench(tests[name], _turns(tests[name], settings.turns), known[name], judges) for name in streams}


def _render(config, stream, name: str) -> dict[str, np.ndarray]:
    settings = config.evaluation
    height, width, channels = config.image_shape
    view = simulator.find_view(stream.view)
    view = simulator.View(height, width, view.look, channels, view.framing)
    source = simulated_pairs.pair_source(
        stream.domain,
        view,
        change=by_one_of(settings.turns),
        before="often_glasses",
        seed=stream.seed + STRANGERS,
        references=3,
    )
    count = settings.judge_images // 2 + settings.pairs * len(settings.turns)
    return collect(source, count, jax.random.key(STRANGERS), FIELDS, f"rendering {name} strangers")


def _turns(pairs, turns) -> np.ndarray:
    """Which of ``turns`` every pair was given, ``[N]``."""
    angles = angular_errors(pairs["gaze"], pairs["target_gaze"])
    return np.asarray(turns)[np.abs(angles[:, None] - np.asarray(turns)).argmin(1)]


def train_judges(known: Mapping[str, Mapping[str, np.ndarray]], steps: int, seed: int = 99) -> Judges:
    """The judges, from labelled pictures of all domains."""

    def both(name):
        return np.concatenate([a[k] for a in known.values() for k in (name, f"target_{name}")])

    images, vectors = both("image"), both("gaze")
    network = SmallResNet(widths=(32, 64, 64))
    tqdm.write(f"training the judges of gaze, masks and glasses on {len(images)} pictures")
    # Arms and seeds that come in several calls have the same judge, and only the first waits for it.
    settings = f"a judge of gaze: {(network, steps, seed)} {cache.code(fitting.__name__, SmallResNet.__module__)}"
    fit = partial(_fitted, network, images, vectors, steps, seed)
    variables = unflatten_dict(cache.kept(settings, (images, vectors), fit), sep="/")
    segment = train_segmenter(images, both("mask"), max(2, steps // 2), width=16, seed=seed)
    worn = both("glasses")
    frames = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    if worn.any() and not worn.all():
        frames.fit(features.features(images), worn)
    else:
        raise UserError("judges: expected pictures with and without glasses; raise evaluation.judge_images")
    return Judges(
        gaze=partial(fitting.predict, network, variables),
        segment=segment,
        glasses=lambda x: frames.predict(features.features(x)),
    )


def _fitted(network: SmallResNet, images, vectors, steps: int, seed: int) -> cache.Arrays:
    """The gaze judge's variables after its steps, by ``a/b/c`` names."""
    how = fitting.Training(steps)
    variables = fitting.train(network, gaze_distance, images, vectors, seed, how, title="judge of gaze")
    return flatten_dict(jax.device_get(variables), sep="/")


def copy(pictures: Mapping[str, np.ndarray], wanted: np.ndarray) -> np.ndarray:
    """The baseline that changes nothing."""
    del wanted
    return pictures["image"]


def nearest(gallery: Mapping[str, np.ndarray], within: float = 3.0) -> Turn:
    """The baseline that looks a picture up: of those within so many degrees of the wish, the one most like the source.

    ``gallery``: ``image`` and ``gaze`` of other people. Likeness is that of the library's fixed features.
    """
    known, vectors = features.features(gallery["image"]), np.asarray(gallery["gaze"])
    spread = known.std(0) + 1e-9

    def turn(pictures, wanted):
        shown = features.features(pictures["image"])
        chosen = []
        for feature, wish in zip(shown, wanted, strict=True):
            angle = angular_errors(vectors, np.broadcast_to(wish, vectors.shape))
            far = np.maximum(angle, within)
            unlike = np.linalg.norm((known - feature) / spread, axis=1)
            # Where none is within reach: the nearest gaze.
            chosen.append(np.lexsort((unlike, far))[0])
        return gallery["image"][chosen]

    return turn


def redirecting(tool, references: int = 0) -> Turn:
    """A trained :class:`eyegan_jax.redirecting.Redirector` that is shown so many further pictures of the person."""

    def turn(pictures, wanted):
        shown = pictures["references"][:, :references] if references else None
        return tool.turn(pictures["image"], degrees_of(wanted), shown)

    return turn


def judge(turn: Turn, bench: Bench) -> dict[str, Any]:
    """Every figure of one method on one bench; means over eyes with their spread."""
    pairs, judges = bench.pairs, bench.judges
    images = turn(pairs, pairs["target_gaze"])
    errors = angular_errors(judges.gaze(images), pairs["target_gaze"])
    own = angular_errors(judges.gaze(pairs["target_image"]), pairs["target_gaze"])
    found, best = judges.segment(images), judges.segment(pairs["target_image"])
    distance = perceptual_distances(images, pairs["target_image"])
    figures: dict[str, Any] = {
        "gaze_error": Mean(errors).result(),
        "own_error": Mean(own).result(),
        "distance": Mean(distance).result(),
        "miou": mean_iou(found, pairs["target_mask"])["miou"],
        "miou_ceiling": mean_iou(best, pairs["target_mask"])["miou"],
        "identity": identity(images, pairs),
        "round_trip": Mean(round_trip(turn, images, pairs)).result(),
        "by_turn": {},
        "glasses": glasses(images, bench, distance),
    }
    for angle in np.unique(bench.degrees):
        rows = bench.degrees == angle
        figures["by_turn"][f"{angle:g}"] = {
            "gaze_error": Mean(errors[rows]).result(),
            "own_error": Mean(own[rows]).result(),
            "distance": Mean(distance[rows]).result(),
            "miou": mean_iou(found[rows], pairs["target_mask"][rows])["miou"],
        }
    return figures


def identity(images: np.ndarray, pairs: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Is a result nearer to another picture of its own person than to those of other people?

    Distances of the fixed features in units of their spread: ``same``, to a reference of the person; ``others``, the
    mean to all others'; ``recognised``, the share of other people that a result is farther from than from its own.
    """
    known = features.features(pairs["references"][:, -1])
    apart = (features.features(images)[:, None] - known[None]) / (known.std(0) + 1e-9)
    distances = np.linalg.norm(apart, axis=-1) / np.sqrt(known.shape[1])
    other = pairs["subject"][:, None] != pairs["subject"][None]
    same = np.diag(distances)
    nearer = [np.mean(row[who] > own) for row, who, own in zip(distances, other, same, strict=True) if who.any()]
    return {"same": float(same.mean()), "others": float(distances[other].mean()), "recognised": float(np.mean(nearer))}


def round_trip(turn: Turn, images: np.ndarray, pairs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean absolute difference in gray levels between a picture and the same there and back, without glasses."""
    bare = ~pairs["glasses"]
    there = {name: value[bare] for name, value in pairs.items()} | {"image": images[bare]}
    back = turn(there, pairs["gaze"][bare])
    return np.abs(back.astype(float) - pairs["image"][bare]).mean((1, 2, 3))


def glasses(images: np.ndarray, bench: Bench, distance: np.ndarray) -> dict[str, Any]:
    """Of eyes that wear glasses: how far the results are from the true picture without, and who still sees glasses."""
    pairs, worn = bench.pairs, bench.pairs["glasses"]
    if not worn.any():
        return {"n": 0}
    see = bench.judges.glasses
    return {
        "distance": Mean(distance[worn]).result(),
        "distance_without": Mean(distance[~worn]).result(),
        "seen_before": float(np.mean(see(pairs["image"][worn]))),
        "seen_after": float(np.mean(see(images[worn]))),
        "seen_in_truth": float(np.mean(see(pairs["target_image"][worn]))),
        "n": int(worn.sum()),
    }


def sweep(turn: Turn, pictures: Mapping[str, np.ndarray], judges: Judges) -> tuple[dict[str, Any], np.ndarray]:
    """Every eye over the yaws of :data:`SWEEP` at its own pitch: the figures, and the images ``[N, steps, H, W, C]``.

    ``rank``: Spearman's correlation of the yaw that the judge reads with the wanted one, per eye; ``slope``: degrees
    read for each degree asked; ``roughness``: the largest step between neighbours over the mean one, in gray levels.
    """
    pitch = degrees_of(pictures["gaze"])[:, 0]
    frames, yaws = [], []
    for yaw in SWEEP:
        angles = np.radians(np.stack([pitch, np.full(len(pitch), yaw)], axis=-1))
        images = turn(pictures, np.asarray(angles_to_vector(angles)))
        frames.append(images)
        yaws.append(degrees_of(judges.gaze(images))[:, 1])
    read, images = np.stack(yaws, axis=1), np.stack(frames, axis=1)
    steps = np.abs(np.diff(images.astype(float), axis=1)).mean((2, 3, 4))
    rank = [stats.spearmanr(SWEEP, row).statistic if np.ptp(row) > 0 else 0.0 for row in read]
    figures = {
        "rank": Mean(rank).result(),
        "slope": Mean(np.polyfit(SWEEP, read.T, 1)[0]).result(),
        "roughness": Mean(steps.max(1) / np.maximum(steps.mean(1), 1e-9)).result(),
    }
    return figures, images


def degrees_of(vectors: np.ndarray) -> np.ndarray:
    """Gaze vectors ``[N, 3]`` of any length to (pitch, yaw) ``[N, 2]`` in degrees."""
    return np.degrees(np.asarray(vector_to_angles(np.asarray(vectors))))


def first(pictures: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    return {name: value[:count] for name, value in pictures.items()}


def methods(tool, bench: Bench, name: str, references: bool) -> dict[str, Turn]:
    """What is compared: the baselines that need no training, and a trained model by ``name``."""
    found = {"identity copy": copy, "nearest neighbour": nearest(bench.gallery), name: redirecting(tool)}
    return found | ({f"{name}, 4 pictures": redirecting(tool, 3)} if references else {})


def table(turns: Mapping[str, Turn], bench: Bench, sweeps: int) -> dict[str, Any]:
    """Every method's figures, the sweeps among them."""
    rows = {}
    for name, turn in turns.items():
        tqdm.write(f"judging {name}")
        figures, _ = sweep(turn, first(bench.pairs, sweeps), bench.judges)
        rows[name] = judge(turn, bench) | {"sweep": figures}
    return rows


def verdict(row: Mapping[str, Any]) -> dict[str, bool]:
    """Which of the aims a method reaches on a bench."""
    error, own = row["gaze_error"]["mean"], row["own_error"]["mean"]
    return {
        "gaze within 3 degrees": error <= 3.0,
        "gaze within twice the judge's own error": error <= 2.0 * own,
        "sweep follows the wish (rank above 0.95)": row["sweep"]["rank"]["mean"] > 0.95,
    }
