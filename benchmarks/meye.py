"""The infrared benchmark: pupil segmenters trained on renders as they are, made real, or varied; judged on real eyes.

    python benchmarks/meye.py --workdir=DIR [--config=configs/benchmarks/meye.py[:variant]]
        [--config.data.dir=FOLDER] [--seeds 0 1 2] [--out docs/results]

Leave-people-out: neither refiner nor segmenter sees a test person; the refiners see the others' images, not their
masks. Trainings and written images stay in DIR; the same command goes on where it was cut off.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from experiments import begin, changed, parser, record_name, train_arm, variant_of
from PIL import Image

from eyegan_jax.cli import reporting_user_errors
from eyegan_jax.data.catalog import open_set, realdata_dir
from eyegan_jax.data.decode import decode_image
from eyegan_jax.data.geometry import resize
from eyegan_jax.data.simulated import write_simulated
from eyegan_jax.data.streams import stream_config
from eyegan_jax.errors import UserError
from eyegan_jax.evaluation import domain_arms, report, results
from eyegan_jax.evaluation.gaze import gap_closed
from eyegan_jax.evaluation.metrics import Mean
from eyegan_jax.evaluation.segmenter import pupil_figures, read_pupils, segment_function
from eyegan_jax.models import load_model
from eyegan_jax.refining import refine_folder
from eyegan_jax.segmenting import STATE
from eyegan_jax.simulator import find_view
from eyegan_jax.systems.optimisers import fall_to_zero

COLUMNS = {
    "dice": "Dice",
    "centre_error_px": "centre error, px",
    "area_ratio": "found area over true",
    "missed_percent": "missed, %",
    "blink_false_positives_percent": "pupils in blinks, %",
}


class Fold:
    """One division of the people: where its files are, and its streams for training."""

    def __init__(self, experiment, workdir: Path, data: Path, number: int):
        self.experiment, self.data = experiment, data
        people = sorted({s for s in open_set({"kind": "meye", "dir": str(data)}).subjects if s})
        self.test = people[number :: experiment.folds]
        self.train = tuple(p for p in people if p not in self.test)
        self.folder = workdir / f"fold{number}"
        self.renders = {name: workdir / "renders" / name for name in (experiment.domain, "randomized")}

    def real(self):
        return stream_config("meye", dir=str(self.data), subjects=self.train)

    def test_eyes(self) -> dict[str, np.ndarray]:
        """All pictures of the people held out, at the experiment's size."""
        return read_pupils(self.data, subjects=self.test, size=tuple(self.experiment.image_shape[:2]))

    def real_images(self, count: int | None = None) -> np.ndarray:
        """Pictures of the people in training at the experiment's size: all, or ``count`` spread over them."""
        people = open_set({"kind": "meye", "dir": str(self.data), "subjects": self.train})
        chosen = np.linspace(0, len(people) - 1, count or len(people)).round().astype(int)
        size = self.experiment.image_shape[:2]
        return np.stack([resize({"image": people[int(i)]["image"]}, *size)["image"] for i in chosen])


def rendered_images(folder: Path, names: Sequence[str]) -> np.ndarray:
    return np.stack([decode_image(folder / "images" / name, name, channels=1) for name in names])


def write_renders(experiment, fold: Fold) -> None:
    view = find_view("meye_128").resized(*experiment.image_shape[:2])
    for domain, folder in fold.renders.items():
        write_simulated(folder, experiment.renders, view=view, domain=domain)


def train_refiner(fold: Fold, name: str, seed: int) -> Path:
    """A refiner of the renders toward the training people; the folder of the refined renders with their masks."""
    path, changes = fold.experiment.refiners[name]
    config = changed(path, changes, seed)
    config.image_shape = fold.experiment.image_shape
    raw = fold.renders[fold.experiment.domain]
    config.data.simulated, config.data.real = stream_config("simulated", dir=str(raw)), fold.real()
    folder = fold.folder / f"seed{seed}"
    train_arm(config, folder / name)
    refine_folder(raw, folder / f"{name}_renders", folder / name)
    return folder / f"{name}_renders"


def translated(fold: Fold, name: str, translate) -> Path:
    """The folder of renders changed by ``translate(images, real images)`` in one go, with their masks."""
    dest, raw = fold.folder / f"{name}_renders", fold.renders[fold.experiment.domain]
    if (dest / "index.csv").is_file():
        return dest
    names = sorted(path.name for path in (raw / "images").iterdir())
    (dest / "images").mkdir(parents=True, exist_ok=True)
    for made, file in zip(translate(rendered_images(raw, names), fold.real_images()), names, strict=True):
        Image.fromarray(made[..., 0]).save(dest / "images" / file)
    for part in ("masks", "labels", "index.csv"):  # the index last: its presence says that all is there
        (dest / part).unlink(missing_ok=True)
        (dest / part).symlink_to(raw / part)
    return dest


def arms_of(fold: Fold, seed: int) -> dict:
    """For each arm the stream that its segmenter trains on and its augmentation."""
    rendered = partial(stream_config, "simulated")
    raw = rendered(dir=str(fold.renders[fold.experiment.domain]))
    arms = {"raw": (raw, "ritnet")}
    for name in fold.experiment.refiners:
        arms[name] = (rendered(dir=str(train_refiner(fold, name, seed))), "ritnet")
    for name, translate in (("histogram", domain_arms.histogram_matching), ("fourier", domain_arms.fourier_adaptation)):
        arms[name] = (rendered(dir=str(translated(fold, name, translate))), "ritnet")
    arms["augmented"] = (raw, "wide")
    arms["randomized"] = (rendered(dir=str(fold.renders["randomized"])), "ritnet")
    arms["randomized_augmented"] = (arms["randomized"][0], "wide")
    arms["real"] = (fold.real(), "ritnet")
    return arms


def judge(fold: Fold, seed: int) -> dict:
    """Pupil figures of every arm on the people of the fold's test."""
    kept = fold.folder / f"seed{seed}" / "table.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    arms, test = arms_of(fold, seed), fold.test_eyes()
    table = {}
    for name, (stream, augmentation) in arms.items():
        path, changes = fold.experiment.segmenter
        config = changed(path, changes, seed)
        config.image_shape, config.data.eyes = fold.experiment.image_shape, stream
        config.segmenter.augmentation = augmentation
        fall_to_zero(config.segmenter.optimiser, config.steps)
        workdir = fold.folder / f"seed{seed}" / f"segmenter_{name}"
        train_arm(config, workdir)
        found = segment_function(load_model(workdir, STATE))(test["image"])
        table[name] = pupil_figures(found, test["mask"], test["subject"])
        print(f"{workdir}: Dice {table[name]['dice']['mean']:.3f}", flush=True)
    results.write_json(kept, table)
    return table


def summary(tables: dict[str, dict]) -> dict:
    """Per arm the mean and spread over folds and seeds, and on how many of them each arm beats the raw renders."""
    first = next(iter(tables.values()))
    merged: dict = {}
    for arm in first:
        merged[arm] = {}
        for name in COLUMNS:
            values = [table[arm].get(name) for table in tables.values()]
            values = [v["mean"] if isinstance(v, dict) else v for v in values if v is not None]
            merged[arm][name] = Mean(values).result()
        merged[arm]["better_than_raw"] = sum(
            table[arm]["dice"]["mean"] > table["raw"]["dice"]["mean"] for table in tables.values()
        )
    return merged


def headline(experiment, tables: dict[str, dict], merged: dict) -> dict:
    """``raw``, ``refined``, ``real`` (Dice) and ``gap_closed``, over folds and seeds."""
    arms = {"raw": "raw", "refined": experiment.recommended, "real": "real"}
    dice = {name: [table[arm]["dice"]["mean"] for table in tables.values()] for name, arm in arms.items()}
    closed = gap_closed(dice["raw"], dice["refined"], dice["real"])
    return {name: merged[arm]["dice"] for name, arm in arms.items()} | {"gap_closed": closed}


def sheet(fold: Fold, seed: int) -> bytes:
    """Renders and what each arm makes of them, above real eyes of the training people."""
    folders = {"raw": fold.renders[fold.experiment.domain]}
    for name in fold.experiment.refiners:
        folders[name] = fold.folder / f"seed{seed}" / f"{name}_renders"
    folders |= {name: fold.folder / f"{name}_renders" for name in ("histogram", "fourier")}
    folders["randomized"] = fold.renders["randomized"]
    rows = {name: rendered_images(path, [f"{i}.png" for i in range(8)]) for name, path in folders.items()}
    rows["real"] = fold.real_images(8)
    return report.grid(np.stack(list(rows.values())), "", list(rows)).png


def as_text(merged: dict, tables: int) -> str:
    lines = [f"| trained on | {' | '.join(COLUMNS.values())} | better than raw |", "|---" * (len(COLUMNS) + 2) + "|"]
    for arm, row in merged.items():
        cells = [report.cell(row[name]) for name in COLUMNS]
        lines.append(f"| {arm} | {' | '.join(cells)} | {row['better_than_raw']} of {tables} |")
    return "\n".join(lines)


def main() -> None:
    chosen = begin(parser(__doc__, "configs/benchmarks/meye.py"))
    experiment, workdir, seeds = chosen.experiment, chosen.workdir, chosen.seeds
    data = experiment.data.dir or realdata_dir("meye")
    if data is None:
        raise UserError(
            "--config.data.dir: expected a folder of MEYE's form, found no real test images either (docs/data.md)"
        )
    folds = [Fold(experiment, workdir, Path(data), number) for number in range(experiment.folds)]
    write_renders(experiment, folds[0])
    tables = {f"fold{n}_seed{s}": judge(fold, s) for n, fold in enumerate(folds) for s in seeds}
    (workdir / "sheet.png").write_bytes(sheet(folds[0], seeds[0]))
    merged = summary(tables)
    found = headline(experiment, tables, merged)
    found |= {"table": merged, "runs": tables, "test_people": {f"fold{n}": f.test for n, f in enumerate(folds)}}
    name = record_name("meye", variant_of(chosen.arguments.config))
    path = results.record(name, chosen.command, experiment, found, seeds, chosen.arguments.out)
    print(f"{as_text(merged, len(tables))}\nwritten: {path}, {workdir}/sheet.png")


if __name__ == "__main__":
    with reporting_user_errors():
        main()
