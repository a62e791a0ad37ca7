"""What a run writes while it trains: ``metrics.jsonl`` and TensorBoard events."""

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from eyegan_jax.errors import UserError

FLUSH_SECONDS = 10.0


class MetricWriter:
    """Appends one JSON object per logged step and the same figures as TensorBoard scalars.

    ``resume_at``: step of the restored checkpoint. What an interrupted run had logged beyond it is dropped, since
    those steps are now computed again. Raises UserError where nothing can be written, as on a full disk.
    """

    def __init__(self, workdir: Path, resume_at: int):
        self._path = workdir / "metrics.jsonl"
        try:
            if self._path.exists():
                lines = self._path.read_text().splitlines()
                kept = [line for line in lines if _step_of(line) <= resume_at]
                if len(kept) != len(lines):
                    draft = self._path.with_suffix(".draft")
                    draft.write_text("".join(line + "\n" for line in kept))
                    os.replace(draft, self._path)
            self._file = self._path.open("a")
            board = workdir / "tensorboard"
            board.mkdir(exist_ok=True)
            # Written in line: the queue and thread of tensorboardX's own writer would fail on their own, unheard.
            name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{socket.gethostname()}.{os.getpid()}"
            self._events = RecordWriter(str(board / name))
            self._flushed = time.monotonic()
            self._event(Event(wall_time=time.time(), file_version="brain.Event:2"))
            # Tells TensorBoard to forget what an earlier process wrote from this step on.
            start = SessionLog(status=SessionLog.START)
            self._event(Event(wall_time=time.time(), step=resume_at + 1, session_log=start))
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, step: int, phase: str, figures: Mapping[str, float]) -> None:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        try:
            self._file.write(json.dumps({"step": step, "phase": phase, **figures}) + "\n")
            self._file.flush()
            self._event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
            if time.monotonic() - self._flushed > FLUSH_SECONDS:
                self._events.flush()
                self._flushed = time.monotonic()
        except OSError as error:
            raise self._unwritable(error) from error

    def _event(self, event: Event) -> None:
        self._events.write(event.SerializeToString())

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"{self._path.parent}: expected to write metrics, found {error.strerror or error}")

    def close(self) -> None:
        """Give up what cannot be written: whatever ended the run has been or will be reported."""
        for file in (self._file, self._events):
            try:
                file.close()
            except OSError:
                continue


def _step_of(line: str) -> float:
    """The step of one line; a line cut short by a crash counts as beyond every step."""
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")
