"""Checkpoints by Orbax: written in the background, restored exactly, onto any number of devices."""

import json
import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from eyegan_jax.errors import UserError

# Orbax logs what it then raises; the exceptions become one clear line here.
logging.getLogger("absl").setLevel(logging.CRITICAL)


class Checkpoints:
    """The checkpoints of one run in ``WORKDIR/checkpoints``: the newest ``keep`` and the best one."""

    def __init__(self, workdir: Path, keep: int = 2, read_only: bool = False):
        self.path = (workdir / "checkpoints").resolve()
        best = ocp.checkpoint_managers.BestN(
            get_metric_fn=lambda metrics: metrics["monitor"], n=1, keep_checkpoints_without_metrics=False
        )
        policy = ocp.checkpoint_managers.AnyPreservationPolicy([ocp.checkpoint_managers.LatestN(keep), best])
        self._manager = ocp.CheckpointManager(
            self.path,
            # Without them a manager that has saved nothing cannot tell the shapes of what others saved.
            item_handlers={"state": ocp.StandardCheckpointHandler(), "position": ocp.JsonCheckpointHandler()},
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=lambda metrics: metrics["monitor"],
                create=not read_only,
                read_only=read_only,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None and jax.process_count() > 1:
            return  # Closing waits for all processes to finish a save, and one of them may be gone.
        try:
            self._manager.close()
        except Exception as error:
            # What stopped the run is worth more than what closing stumbles over after it.
            if kind is None:
                raise self._unwritable(error) from error

    @property
    def steps(self) -> list[int]:
        """Steps with a complete checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, position: dict, monitor: float | None = None) -> None:
        """Start writing; training goes on. A step that is already there is left alone.

        position: JSON, what a resumed run needs besides the state. monitor: decides the best (higher is better).
        Raises UserError where this checkpoint or the one before it could not be written.
        """
        try:
            if step in self._manager.all_steps():
                return
            self._manager.save(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardSave(state), position=ocp.args.JsonSave(position)),
                metrics=None if monitor is None else {"monitor": float(monitor)},
            )
        except Exception as error:
            raise self._unwritable(error) from error

    def wait(self) -> None:
        """Block until everything is on disk. Raises UserError where something could not be written."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: BaseException) -> UserError:
        finished = [int(path.name) for path in self.path.glob("*") if path.name.isdigit()]
        good = f"the last good checkpoint is {self.path / str(max(finished))}" if finished else "there is none yet"
        return UserError(f"{self.path}: expected to write a checkpoint, found {_reason(error)}; {good}")

    def restore(self, step: int, abstract: Any) -> tuple[Any, dict]:
        """``(state, position)`` of one step; ``abstract`` has the shapes, dtypes and shardings wanted."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = self._manager.restore(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract), position=ocp.args.JsonRestore()),
            )
        return got["state"], got["position"]

    def restore_newest(
        self, abstract_of: Callable[[dict], Any], warn: Callable[[str], None]
    ) -> tuple[int, Any, dict] | None:
        """The newest checkpoint that can be read, or None where there is none at all.

        A damaged one is named through ``warn`` and the one before it is tried. ``abstract_of(shapes)`` gets the
        stored shapes by path, so that the caller can adapt a device axis.
        """
        found, damaged = self._first_readable(lambda step: abstract_of(self._shapes(step)), warn)
        if found:
            self._set_aside(damaged)
        return found

    def _first_readable(
        self, abstract_of: Callable[[int], Any], warn: Callable[[str], None]
    ) -> tuple[tuple[int, Any, dict] | None, list[int]]:
        """``(step, state, position)`` of the newest readable step, and the damaged steps that are newer."""
        damaged: list[int] = []
        for step in reversed(self.steps):
            try:
                state, position = self.restore(step, abstract_of(step))
                return (step, state, position), damaged
            except UserError:
                raise
            except Exception as error:  # Orbax raises many kinds for one cause: the files are not whole.
                damaged.append(step)
                where = self.path / str(step)
                warn(f"checkpoint {where} cannot be read ({_reason(error)}); trying the one before it")
        if damaged:
            raise UserError(f"{self.path}: expected a readable checkpoint, found damaged ones only (steps {damaged})")
        return None, damaged

    def _set_aside(self, steps: list[int]) -> None:
        """Move damaged checkpoints to ``WORKDIR/damaged``: out of the way of new ones of the same steps, not lost."""
        if not steps:
            return
        if jax.process_index() == 0:
            for step in steps:
                place = self.path.parent / "damaged" / f"{step}"
                shutil.rmtree(place, ignore_errors=True)
                place.parent.mkdir(exist_ok=True)
                (self.path / str(step)).rename(place)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints set aside")
        self._manager.reload()

    def load_newest(self) -> tuple[int, dict]:
        """``(step, state)`` of the newest readable checkpoint, nested dicts of NumPy arrays, whatever wrote it."""
        if not self.steps:
            raise UserError(f"{self.path}: expected a checkpoint, found none; train first")
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

        def abstract(step: int) -> Any:
            return jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), self._metadata(step)
            )

        found, _ = self._first_readable(abstract, lambda line: print(line, file=sys.stderr))
        assert found is not None
        return found[0], jax.tree.map(np.asarray, found[1])

    def _metadata(self, step: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = self._manager.item_metadata(step)["state"]
        return getattr(tree, "tree", tree)

    def _shapes(self, step: int) -> dict[str, tuple[int, ...]]:
        """Stored shape of every state leaf by its dotted path."""
        leaves = jax.tree_util.tree_flatten_with_path(self._metadata(step))[0]
        return {jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in leaves}


def _reason(error: BaseException) -> str:
    """One line: what the operating system said, where it was the cause, else the first line of ``error``."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    # What writes the arrays is no Python: its message ends with the system's number, behind a path for every layer.
    if number := re.search(r"os_error_code='(\d+)'", str(error)):
        return os.strerror(int(number[1]))
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def load_config(workdir: Path) -> dict:
    """``WORKDIR/config.json`` as it was written at the start of the run."""
    path = workdir / "config.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{workdir}: expected a run with a config.json, found none") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: expected JSON, found {error}") from None
