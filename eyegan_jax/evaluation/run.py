"""``evaluate.py``: find the experiment that judges a system, run it, write its report."""

import importlib
from pathlib import Path

import ml_collections

from eyegan_jax.errors import UserError
from eyegan_jax.systems import SYSTEMS


def evaluate(config: ml_collections.ConfigDict, workdir: Path) -> Path:
    """Judge the run in ``workdir`` with its (possibly overridden) config; the path of the report's page."""
    if config.system not in SYSTEMS:
        raise UserError(f"{workdir}: expected a run of {', '.join(SYSTEMS)}, found {config.system!r}")
    experiment = importlib.import_module(f"eyegan_jax.evaluation.{config.system}")
    return experiment.evaluate(config, workdir)
