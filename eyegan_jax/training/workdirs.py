"""A run's folder: one experiment, one training at a time."""

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import jax
import ml_collections

from eyegan_jax.errors import UserError
from eyegan_jax.training.checkpoints import load_config

log = logging.getLogger(__name__)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"--workdir: expected a folder that can be written, found {error}") from None


def expect_same_experiment(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Raises UserError where the folder's config.json describes another experiment."""
    wanted = json.loads(config.to_json_best_effort())
    if (workdir / "config.json").exists():
        found = _flat(load_config(workdir))
        for name, value in sorted(_flat(wanted).items()):
            other = found.get(name)
            # A setting that came after the run began: off is what the run did without it.
            same = other == value or (name not in found and not value)
            # A training that goes on longer has its learning rates fall later.
            longer = name == "steps" or ("decay_" in name and wanted["steps"] != found["steps"])
            if not same and not longer and not name.startswith("run."):
                raise UserError(
                    f"{workdir}: expected a run of this config, found one with {name} = {other!r} instead of "
                    f"{value!r}; choose another --workdir"
                )


def claim(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Write config.json: from here on the folder is this experiment's."""
    if jax.process_index() == 0:
        with _writing():
            (workdir / "config.json").write_text(config.to_json_best_effort(indent=2) + "\n")


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix[:-1]: tree}
    return {name: value for key, child in tree.items() for name, value in _flat(child, f"{prefix}{key}.").items()}


@contextlib.contextmanager
def alone_in(workdir: Path) -> Iterator[None]:
    """Make and hold ``workdir``: checkpoints and metrics of two trainings would mix. Let go however the process ends.

    The first process of a job holds it for all. Raises UserError where another training holds it.
    """
    if jax.process_index() != 0:
        yield
        return
    with _writing():
        workdir.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(workdir / ".lock", blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise UserError(
            f"{workdir}: expected no other training in it, found one that is running; wait for it, or choose "
            "another --workdir"
        ) from None
    except (OSError, NotImplementedError) as error:
        log.warning("%s cannot be locked (%s): start no second training in it", workdir, error)
    try:
        yield
    finally:
        lock.release()
