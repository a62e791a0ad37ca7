"""The report of a gaze redirection run: its figures beside the baselines', eyes turned, and real eyes swept."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from eyegan_jax import models, redirecting, simulator
from eyegan_jax.data.geometry import middle_box
from eyegan_jax.data.streams import PAIRS, collect
from eyegan_jax.evaluation import redirection
from eyegan_jax.evaluation.metrics import at
from eyegan_jax.evaluation.real_pictures import real_eyes
from eyegan_jax.evaluation.redirection import STRANGERS, SWEEP, Bench, Judges
from eyegan_jax.evaluation.report import Headline, Picture, Report, Section, Table, grid, loss_curves, write_report
from eyegan_jax.gaze import angles_to_vector
from eyegan_jax.pictures import grid_png
from eyegan_jax.simulator.pairs import pair_source

REAL_FOLDERS = ("mpiigaze", "mrgaze", "meye")
"""Folders of real test images: webcams, head-mounted infrared cameras, infrared close-ups."""

COLUMNS = {
    "gaze error": "gaze_error.mean",
    "judge's own": "own_error.mean",
    "distance to truth": "distance.mean",
    "mIoU": "miou",
    "judge's own mIoU": "miou_ceiling",
    "own person nearer": "identity.recognised",
    "there and back, L1": "round_trip.mean",
    "sweep rank": "sweep.rank.mean",
    "sweep slope": "sweep.slope.mean",
}


def table_of(rows: Mapping[str, Any], note: str = "") -> Table:
    """Methods by row, :data:`COLUMNS` by column."""
    return Table(("", *COLUMNS), [(name, *(at(row, p) for p in COLUMNS.values())) for name, row in rows.items()], note)


def turn_table(rows: Mapping[str, Any]) -> Table:
    """Gaze error by the size of the turn."""
    turns = list(next(iter(rows.values()))["by_turn"])
    cells = [(name, *(row["by_turn"][t]["gaze_error"]["mean"] for t in turns)) for name, row in rows.items()]
    own = next(iter(rows.values()))["by_turn"]
    cells.append(("judge's own", *(own[t]["own_error"]["mean"] for t in turns)))
    return Table(("gaze error, degrees", *(f"turned by {t}" for t in turns)), cells)


def glasses_table(rows: Mapping[str, Any]) -> Table | None:
    """What becomes of glasses, where any are worn."""
    names = ("distance", "distance_without", "seen_before", "seen_after", "seen_in_truth")
    cells = [(name, *(row["glasses"][n] for n in names)) for name, row in rows.items() if row["glasses"]["n"]]
    titles = ("distance with", "distance without", "seen before", "seen after", "seen in the truth")
    return Table(("glasses", *titles), cells) if cells else None


def example_sheet(turns: Mapping[str, redirection.Turn], bench: Bench, columns: int = 10) -> np.ndarray:
    """Source, every method's picture and the truth, ``[rows, columns, H, W, C]``, turns in growing order."""
    order = np.argsort(bench.degrees, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(columns, len(order))).astype(int)]
    some = {name: value[chosen] for name, value in bench.pairs.items()}
    made = [turn(some, some["target_gaze"]) for turn in turns.values()]
    return np.stack([some["image"], *made, some["target_image"]])


def sweep_sheet(turn: redirection.Turn, pictures: Mapping[str, np.ndarray], judges: Judges) -> tuple[dict, np.ndarray]:
    """Figures of a sweep, and the source with all steps, one eye per row."""
    figures, images = redirection.sweep(turn, pictures, judges)
    return figures, np.concatenate([pictures["image"][:, None], images], axis=1)


REAL_EYES = 36
"""Of each folder, people apart; :data:`SHOWN` of them are drawn."""

SHOWN = 12


def real_sweeps(tool: redirecting.Redirector, judges: Judges) -> dict[str, Any]:
    """Sweeps of real eyes by folder: figures and sheets; empty where the test images are not at hand.

    Pictures are framed as the command frames them. Figures are of what it does without a warning; ``warned`` is the
    share of the others, ``reading_differs_by`` the mean difference of tool and judge about where the pictures look.
    """
    results = {}
    for name in REAL_FOLDERS:
        images = real_eyes(name, tool.shape, REAL_EYES, lambda picture: redirecting.framed(tool, [picture])[0])
        if images is None:
            continue
        seen, opening, certain = tool.look(images)
        sure = np.flatnonzero((opening >= redirecting.LEAST_OPENING) & (certain >= redirecting.LEAST_CERTAINTY))
        if not len(sure):
            continue
        warned = 1.0 - len(sure) / len(images)
        images, seen = images[sure], seen[sure]
        pictures = {"image": images, "gaze": np.asarray(angles_to_vector(np.radians(seen)))}
        figures, sheet = sweep_sheet(redirection.redirecting(tool), pictures, judges)
        figures["reading_differs_by"] = float(np.abs(redirection.degrees_of(judges.gaze(images)) - seen).mean())
        figures["warned"] = warned
        results[name] = {"figures": figures, "sheet": sheet[:SHOWN]}
    return results


FINE = 6
"""How many times the model's size the pictures of :func:`fine_sweeps` are."""

FINE_STEPS = (-25.0, -12.5, 0.0, 12.5, 25.0)
"""Yaw in degrees that they are turned to; their pitch stays."""


def fine_sweeps(tool: redirecting.Redirector, config: ml_collections.ConfigDict, count: int = 6) -> np.ndarray:
    """What ``eyegan redirect`` makes of larger, coloured pictures of strangers, uint8 ``[count, 1 + steps, H, W, 3]``.

    Of the domain that labels come from and, where that is simulated, the one without labels, all with glasses.
    """
    height, width = (FINE * size for size in tool.shape[:2])
    streams = [stream for stream in (config.data.pairs, config.data.real) if stream.kind == PAIRS]
    pictures = []
    for stream, before in zip(streams, ("often_glasses", "glasses"), strict=False):
        view = simulator.find_view(stream.view)
        view = simulator.View(height, width, view.look, 3, view.framing)
        source = pair_source(stream.domain, view, change="none", before=before, seed=stream.seed + STRANGERS)
        each = -(-count // len(streams))
        drawn = collect(source, each, jax.random.key(STRANGERS), ("image",), "rendering larger strangers", each)
        pictures.append(drawn["image"])
    shown = np.concatenate(pictures)[:count]
    boxes = [middle_box(height, width, tool.shape)] * count
    turned = [redirecting.redirect_pictures(tool, shown, boxes, redirecting.Wish(None, yaw)) for yaw in FINE_STEPS]
    return np.stack([shown, *(np.stack([each.image for each in step]) for step in turned)], axis=1)


def evaluate(config: ml_collections.ConfigDict, workdir: Path) -> Path:
    """Write ``workdir/report`` for a run of ``redirect`` or ``gaze_gan``; ``config.evaluation`` sets sizes."""
    model = models.load_model(workdir, redirecting.STATE)
    tool = redirecting.redirector(model)
    title = "subject guided" if config.system == "redirect" else "He et al. 2019"
    benches = redirection.prepare(config)
    metrics: dict[str, Any] = {}
    sections: list[Section] = []
    headlines: list[Headline] = []
    titles = {"labelled": "People of the labelled domain", "real": "People of the domain without labels"}
    for name, bench in benches.items():
        turns = redirection.methods(tool, bench, title, references=config.system == "redirect")
        rows = redirection.table(turns, bench, config.evaluation.sweeps)
        metrics[name] = rows
        ours = rows[title]
        metrics[f"{name}_reached"] = redirection.verdict(ours)
        own = f"judge's own {ours['own_error']['mean']:.1f}"
        headlines.append(Headline(f"gaze error, {name}", ours["gaze_error"]["mean"], "degrees", own))
        sheet = example_sheet({"nearest": turns["nearest neighbour"], title: turns[title]}, bench)
        _, swept = sweep_sheet(turns[title], redirection.first(bench.pairs, 6), bench.judges)
        grid_png(sheet, workdir / "report" / f"turned_{name}.png")
        tables = [table_of(rows, f"{len(bench.degrees)} turns of strangers"), turn_table(rows), glasses_table(rows)]
        labels = ["source", "nearest", title, "truth"]
        steps = ["as it is", *(f"{yaw:g}" for yaw in SWEEP)]
        pictures = [
            grid(sheet, "Turned by growing angles", row_labels=labels),
            grid(swept, "From one side to the other: yaw in degrees", column_labels=steps),
        ]
        sections.append(Section(titles[name], tables=[t for t in tables if t], pictures=pictures))
    fine = fine_sweeps(tool, config)
    grid_png(fine, workdir / "report" / "swept_fine.png", scale=1)
    steps = ["as it is", *(f"{yaw:g}" for yaw in FINE_STEPS)]
    caption = f"Strangers at {FINE} times the model's size: yaw in degrees"
    sections.append(Section("Larger pictures", pictures=[grid(fine, caption, column_labels=steps)]))
    judges = next(iter(benches.values())).judges
    found = real_sweeps(tool, judges)
    if not found:
        logging.getLogger(__name__).warning("no real test images (EYEGAN_REALDATA): the report has none")
    metrics["real_images"] = {name: result["figures"] for name, result in found.items()}
    for name, result in found.items():
        grid_png(result["sheet"], workdir / "report" / f"swept_{name}.png")
        caption = "What is known of them is how the judge, trained on simulated eyes, reads them."
        steps = ["as it is", *(f"{yaw:g}" for yaw in SWEEP)]
        rows_of = [(key, value) for key, value in result["figures"].items()]
        shown: list[Picture] = [grid(result["sheet"], caption, column_labels=steps)]
        sections.append(Section(f"Real eyes: {name}", tables=[Table(("figure", "value"), rows_of)], pictures=shown))
    fields = ("loss/redirector", "loss/painter", "loss/generator", "loss/discriminator", "error/gaze_degrees")
    curves = loss_curves(workdir, fields)
    if curves:
        sections.append(Section("Training", pictures=[curves]))
    report = Report(
        f"Gaze redirection ({title}), {model.step} steps",
        metrics,
        sections,
        headlines,
        config=config.to_dict(),
        command=f"python evaluate.py --workdir={workdir}",
    )
    return write_report(workdir, report)
