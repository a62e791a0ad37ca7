"""Stopping cleanly: SIGTERM, Ctrl-C and the preemption notice of a cluster."""

import signal
from types import FrameType

import jax
from jax.experimental import multihost_utils


class Interrupts:
    """Turns the first SIGTERM or Ctrl-C into a request that the loop honours between two steps.

    A second Ctrl-C stops at once. With several processes the preemption service of jax.distributed decides, so that
    all processes stop at the same step even if only one was told.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __enter__(self) -> "Interrupts":
        # jax.distributed has its own SIGTERM handler, which feeds reached_preemption_sync_point.
        self._signals = [signal.SIGINT] if jax.process_count() > 1 else [signal.SIGINT, signal.SIGTERM]
        self._before = {s: signal.signal(s, self._handle) for s in self._signals}
        return self

    def __exit__(self, *exc: object) -> None:
        for s, handler in self._before.items():
            signal.signal(s, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop_at(self, step: int) -> bool:
        """Whether to save and leave before ``step``; the same answer on every process."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.received = signal.SIGTERM
        return self.received is not None
