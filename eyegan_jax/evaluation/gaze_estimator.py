"""Judging a gaze estimator: its angular errors on the eyes of ``config.data.test``, which training does not see."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from eyegan_jax import systems
from eyegan_jax.evaluation.batches import in_batches
from eyegan_jax.evaluation.gaze import summary
from eyegan_jax.evaluation.metrics import Mean, angular_errors
from eyegan_jax.evaluation.report import Headline, Report, Section, Table, curves, grid, write_report
from eyegan_jax.evaluation.simgan import draw_eyes
from eyegan_jax.gaze import vector_to_angles
from eyegan_jax.models import load_model

EYES = 8
"""Columns of the picture."""


def evaluate(config: ml_collections.ConfigDict, workdir: Path) -> Path:
    """Write ``workdir/report``: mean error, percent within 7 degrees, the curve, the best and the worst read eyes."""
    model = load_model(workdir, ("average",))
    eyes = draw_eyes(config, "test", config.evaluation.test_samples, 0)
    system: Any = systems.build_system(model.config)
    found = in_batches(jax.jit(partial(system.read, model.params["average"])), eyes["image"], 256)
    errors = angular_errors(found, eyes["gaze"])
    centre = np.broadcast_to(eyes["gaze"].mean(0), eyes["gaze"].shape)
    angle_errors = np.degrees(np.abs(vector_to_angles(found) - vector_to_angles(eyes["gaze"])))
    figures = summary([errors]) | {
        "pitch_error": Mean(angle_errors[:, 0]).result(),
        "yaw_error": Mean(angle_errors[:, 1]).result(),
        "mean_gaze": {"error": float(angular_errors(centre, eyes["gaze"]).mean())},
    }
    table = Table(
        ("mean error, degrees", "pitch", "yaw", "% within 7 degrees", "always the mean gaze"),
        [
            [
                float(errors.mean()),
                figures["pitch_error"]["mean"],
                figures["yaw_error"]["mean"],
                figures["within_7"]["mean"],
                figures["mean_gaze"]["error"],
            ]
        ],
    )
    order = np.argsort(errors)
    rows = np.stack([eyes["image"][order[:EYES]], eyes["image"][order[-EYES:]]])
    line = {"this estimator": (figures["curve"]["limits"], figures["curve"]["percent"])}
    section = Section(
        "How well is gaze read?",
        f"{len(errors)} eyes of the stream data.test ({config.data.test.kind}).",
        [table],
        [curves(line, "error limit, degrees", "% of eyes within the limit"), grid(rows, "", ["best", "worst"])],
    )
    return write_report(
        workdir,
        Report(
            f"Gaze estimator, {model.step} steps",
            figures,
            [section],
            [
                Headline(
                    "Gaze error", float(errors.mean()), "°", f"always the mean: {figures['mean_gaze']['error']:.1f}°"
                )
            ],
            config=config,
            command=f"python evaluate.py --workdir={workdir}",
        ),
    )
