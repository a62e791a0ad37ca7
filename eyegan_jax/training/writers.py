"""What a run writes while it trains: ``metrics.jsonl`` and TensorBoard events."""

import json
from collections.abc import Mapping
from pathlib import Path

import tensorboardX


class MetricWriter:
    """Appends one JSON object per logged step and the same figures as TensorBoard scalars.

    ``resume_at``: step of the restored checkpoint. What an interrupted run had logged beyond it is dropped, since
    those steps are now computed again.
    """

    def __init__(self, workdir: Path, resume_at: int):
        path = workdir / "metrics.jsonl"
        if path.exists():
            lines = path.read_text().splitlines()
            kept = [line for line in lines if _step_of(line) <= resume_at]
            if len(kept) != len(lines):
                path.write_text("".join(line + "\n" for line in kept))
        self._file = path.open("a")
        self._board = tensorboardX.SummaryWriter(str(workdir / "tensorboard"), purge_step=resume_at + 1)

    def write(self, step: int, phase: str, figures: Mapping[str, float]) -> None:
        self._file.write(json.dumps({"step": step, "phase": phase, **figures}) + "\n")
        self._file.flush()
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        self._board.close()


def _step_of(line: str) -> float:
    """The step of one line; a line cut short by a crash counts as beyond every step."""
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")
