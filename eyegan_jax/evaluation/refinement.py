"""Is a refiner any good? Every measure of the SimGAN paper on one trained refiner, as figures and a page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from eyegan_jax.evaluation import distances, features, fitting, gaze, metrics, pupil, report

TURING_IMAGES = 200
PAPER_SHIFT = 1.1
"""Pixels: the paper's mean pupil-centre shift at 35x55."""
LEAST_CONTRAST = 15.0
"""Gray levels between pupil and surroundings below which a raw eye counts as closed for the pupil shift."""


@dataclass(frozen=True)
class RefinerRun:
    """What is judged, as plain functions and arrays; all images uint8 ``[N, H, W, C]`` of one size.

    refine: simulated images to refined ones, same shape and type.
    discriminate: images to logits (see :func:`metrics.discriminator_accuracy`), None without one.
    simulated: eyes that the refiner turns into training data; real_train, real_test: the real (or captured)
        domain, disjoint by subject where subjects are known. Gaze may be None where a set has no labels: then
        there is no gaze benchmark, and the report says so.
    """

    refine: Callable[[np.ndarray], np.ndarray]
    simulated: np.ndarray
    real_train: np.ndarray
    real_test: np.ndarray
    discriminate: Callable[[np.ndarray], np.ndarray] | None = None
    simulated_gaze: np.ndarray | None = None
    real_train_gaze: np.ndarray | None = None
    real_test_gaze: np.ndarray | None = None
    refined: np.ndarray = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "refined", np.asarray(self.refine(self.simulated)))

    def gaze_sets(self) -> tuple[dict[str, gaze.Eyes], gaze.Eyes] | None:
        """Training sets by name and the test set of the gaze benchmark, None where labels are missing."""
        if self.simulated_gaze is None or self.real_train_gaze is None or self.real_test_gaze is None:
            return None
        return {
            "raw": gaze.Eyes(self.simulated, self.simulated_gaze),
            "refined": gaze.Eyes(self.refined, self.simulated_gaze),
            "real": gaze.Eyes(self.real_train, self.real_train_gaze),
        }, gaze.Eyes(self.real_test, self.real_test_gaze)


def label_preservation(raw, refined, radii=pupil.VISIBLE, real=None) -> dict[str, Any]:
    """Pupil-centre shift in pixels over the pairs whose raw image shows a pupil.

    ``together``: the movement (right, down) that all pupils share; ``scatter``: the shift without it. With ``real``,
    ``domains``: how far the real eyes' pupils lie from the raw ones' on average. A refiner that takes all eyes along by
    as much follows its domain; the gaze labels of a domain that is cropped otherwise lose nothing by it.
    """
    centres, contrast = pupil.pupil_centres(raw, radii)
    seen = contrast >= LEAST_CONTRAST
    moved = (pupil.pupil_centres(refined, radii)[0] - centres)[seen]
    if not len(moved):
        return {"shift": metrics.Mean().result(), "pairs": len(raw)}
    shift, together = np.linalg.norm(moved, axis=-1), moved.mean(0)
    found = {
        "shift": metrics.Mean(shift).result(),
        "median": float(np.median(shift)),
        "percentile_95": float(np.percentile(shift, 95)),
        "together": {"right": float(together[0]), "down": float(together[1])},
        "scatter": metrics.Mean(np.linalg.norm(moved - together, axis=-1)).result(),
        "pairs": len(raw),
        "detector": "centre-surround disc, dark centroid",
    }
    if real is not None:
        there, contrast = pupil.pupil_centres(real, radii)
        if (shown := contrast >= LEAST_CONTRAST).any():
            apart = there[shown].mean(0) - centres[seen].mean(0)
            found["domains"] = {"right": float(apart[0]), "down": float(apart[1])}
    return found


def measure(
    run: RefinerRun,
    seeds: Sequence[int] = (0, 1, 2),
    estimators: Sequence[str] = ("cnn",),
    training: fitting.Training = fitting.DEFAULT,
    arms: Mapping[str, gaze.Eyes] | None = None,
    radii: tuple[float, ...] = pupil.VISIBLE,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Every figure of the report. ``arms`` are further training sets for the gaze benchmark."""
    raw, refined, real = run.simulated, run.refined, run.real_test
    progress("image measures")
    difference = np.abs(refined.astype(np.float64) - raw).mean(axis=(1, 2, 3))
    found: dict[str, Any] = {
        "images": {"simulated": len(raw), "real_train": len(run.real_train), "real_test": len(real)},
        "label_preservation": label_preservation(raw, refined, radii, real),
        "change": {
            "gray_levels": metrics.Mean(difference).result(),
            "ssim": metrics.Mean(metrics.ssim(refined, raw)).result(),
        },
        "sharpness": {
            name: {
                "gradient_energy": metrics.Mean(metrics.gradient_energy(images)).result(),
                "laplacian_variance": metrics.Mean(metrics.laplacian_variance(images)).result(),
            }
            for name, images in (("raw", raw), ("refined", refined), ("real", real))
        },
        # The real training images' own distance to the test images is the floor that no refiner can beat.
        "distances": {
            name: distances.image_distances(images, real)
            for name, images in (("raw", raw), ("refined", refined), ("real", run.real_train))
        },
    }
    if run.discriminate is not None:
        found["discriminator_accuracy"] = {
            **metrics.discriminator_accuracy(run.discriminate(refined), run.discriminate(real)),
            "n_refined": len(refined),
            "n_real": len(real),
        }
    if sets := run.gaze_sets():
        train_sets, test = sets
        train_sets = {**train_sets, **(arms or {})}
        found["gaze"] = gaze.gaze_benchmark(train_sets, test, seeds, estimators, training, progress)
    return found


def nearest(images, pool) -> np.ndarray:
    """The image of ``pool`` nearest to each of ``images`` in the fixed features."""
    space = features.features(pool)
    scale = space.std(axis=0) + 1e-6
    search = NearestNeighbors(n_neighbors=1).fit(space / scale)
    return pool[search.kneighbors(features.features(images) / scale, return_distance=False)[:, 0]]


def write_turing_images(workdir: str | Path, refined, real, seed: int = 0, extra: Mapping[str, Any] | None = None):
    """Put up to 200 of each kind, equal numbers, into ``WORKDIR/report/turing/{real,refined}/NNN.png``.

    These folders are what ``eyegan turing`` shows; ``extra`` adds further kinds (``raw`` for the control).
    """
    kinds = {"refined": refined, "real": real, **(extra or {})}
    count = min(TURING_IMAGES, *(len(images) for images in kinds.values()))
    rng = np.random.default_rng(seed)
    for kind, images in kinds.items():
        folder = Path(workdir) / "report" / "turing" / kind
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
        for i, index in enumerate(rng.permutation(len(images))[:count]):
            image = np.asarray(images[index])
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"{i:03d}.png")


def build_report(run: RefinerRun, found: Mapping[str, Any], title: str, config=None, command: str = "", workdir=None):
    """The page of :func:`measure`'s figures; ``workdir`` adds the curves of its ``metrics.jsonl``."""
    columns = min(8, len(run.simulated))
    chosen = np.linspace(0, len(run.simulated) - 1, columns).astype(int)
    rows = [run.simulated[chosen], run.refined[chosen], nearest(run.refined[chosen], run.real_test)]
    sections = [
        report.Section(
            "Simulated, refined, real",
            "Each column: a simulated eye, the same eye refined, the real eye nearest to the refined one.",
            pictures=[report.grid(np.stack(rows), "", ["simulated", "refined", "real"])],
        ),
        _gaze_section(found.get("gaze")),
        _label_section(found),
        _realism_section(found),
    ]
    training = workdir and report.loss_curves(
        workdir, ("loss/realism", "loss/regularisation", "loss/refiner", "loss/discriminator"), log_y=True
    )
    if training:
        sections.append(report.Section("Training", pictures=[training]))
    return report.Report(title, found, sections, _headlines(found), config or {}, command)


def _headlines(found) -> list[report.Headline]:
    cards = []
    for estimator, rows in found.get("gaze", {}).get("estimators", {}).items():
        cards.append(
            report.Headline(
                f"Gaze error, {estimator}, trained on refined eyes",
                rows["refined"]["error"]["mean"],
                "°",
                f"raw {report.cell(rows['raw']['error'])}, real {report.cell(rows['real']['error'])}",
            )
        )
    shift = found["label_preservation"]["shift"]
    cards.append(report.Headline("Pupil shift", shift["mean"], " px", f"paper: {PAPER_SHIFT} px; {shift['n']} pairs"))
    near = found["distances"]
    cards.append(
        report.Headline(
            "KID to real",
            near["refined"]["kid"]["mean"],
            "",
            f"raw {report.cell(near['raw']['kid']['mean'])}",
        )
    )
    if accuracy := found.get("discriminator_accuracy"):
        cards.append(report.Headline("Discriminator accuracy", accuracy["images"], " %", "50 % = cannot tell"))
    return cards


def _gaze_section(table) -> report.Section:
    title = "Does it train better gaze estimators?"
    if table is None:
        return report.Section(title, "Not measured: the simulated or the real eyes of this run have no gaze labels.")
    rows, lines = [], {}
    for estimator, sets in table["estimators"].items():
        for name, row in sets.items():
            closed = table["gap_closed"].get(estimator, {}).get(name)
            rows.append([estimator, name, row["n_train"], row["error"], row["within_7"], closed])
            lines[f"{estimator}, {name}"] = (row["curve"]["limits"], row["curve"]["percent"])
    tested = next(iter(next(iter(table["estimators"].values())).values()))["n_test"]
    return report.Section(
        title,
        f"Estimators trained on each set with the same budget, tested on {tested} real eyes that no training "
        f"saw. Answering the mean gaze every time is wrong by {table['mean_gaze']['error']:.1f} degrees.",
        [
            report.Table(
                [
                    "estimator",
                    "trained on",
                    "images",
                    "mean error, degrees",
                    "% within 7 degrees",
                    "gap closed",
                ],
                rows,
                "Mean ± standard deviation over seeds. Gap closed: (raw - arm) / (raw - real); 1 is as good "
                "as training on real eyes.",
            )
        ],
        [report.curves(lines, "error limit, degrees", "% of test eyes within the limit")],
    )


def _label_section(found) -> report.Section:
    label, change = found["label_preservation"], found["change"]
    return report.Section(
        "Do the labels survive?",
        "How far the pupil moves between a simulated eye and its refined version, found by a detector that learns "
        f"nothing. The paper reports {PAPER_SHIFT} ± 0.8 px at 35x55. All eyes together moved down by the third "
        "figure, while the real eyes' pupils lie lower than the simulated ones' by the fourth; scatter is the shift "
        "without what all share.",
        [
            report.Table(
                [
                    "pupil shift, px",
                    "95th percentile",
                    "all moved down, px",
                    "real eyes lie lower, px",
                    "scatter, px",
                    "mean change, gray levels",
                    "SSIM to simulated",
                ],
                [
                    [
                        label["shift"],
                        label.get("percentile_95"),
                        metrics.at(label, "together.down"),
                        metrics.at(label, "domains.down"),
                        label.get("scatter"),
                        change["gray_levels"],
                        change["ssim"],
                    ]
                ],
            )
        ],
    )


def _realism_section(found) -> report.Section:
    rows = [
        [
            name,
            near["kid"]["mean"],
            near["kid"]["std"],
            near["frechet"]["value"],
            near["n"],
            found["sharpness"][name]["gradient_energy"]["mean"],
        ]
        for name, near in found["distances"].items()
    ]
    accuracy = found.get("discriminator_accuracy")
    tables = [
        report.Table(
            ["images", "KID", "std over subsets", "Frechet distance", "n", "gradient energy"],
            rows,
            f"Distance to the real test images in features {found['distances']['raw']['features']}; not "
            f"comparable with FID of ImageNet networks. The row 'real' is the floor.",
        )
    ]
    if accuracy:
        tables.append(
            report.Table(
                [
                    "discriminator accuracy, % of images",
                    "of patches",
                    "refined called refined",
                    "real called real",
                ],
                [[accuracy["images"], accuracy["patches"], accuracy["refined"], accuracy["real"]]],
                "50 is guessing. This discriminator is a weak judge: the refiner was trained to fool it.",
            )
        )
    return report.Section("Do they look real?", "", tables)


def evaluate_refiner(
    workdir: str | Path, run: RefinerRun, title: str, config: Any = None, command: str = "", **options: Any
) -> Path:
    """Measure ``run`` with :func:`measure`'s ``options`` and write ``WORKDIR/report/``; returns the page."""
    found = measure(run, **options)
    write_turing_images(workdir, run.refined, run.real_test, extra={"raw": run.simulated})
    page = report.write_report(workdir, build_report(run, found, title, config, command, workdir))
    return page
