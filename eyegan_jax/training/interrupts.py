"""Stopping cleanly: SIGTERM, Ctrl-C and the preemption notice of a cluster."""

import os
import signal
from types import FrameType

import jax
from jax.experimental import multihost_utils


class Interrupts:
    """Turns the first SIGTERM or Ctrl-C into a request that the loop honours between two dispatches.

    A second Ctrl-C stops at once. With several processes the preemption service of jax.distributed decides, so that
    all processes stop before the same step even if only one was told.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._several = jax.process_count() > 1
        self._first: signal.Signals | None = None
        self._asked = 0

    def __enter__(self) -> "Interrupts":
        # jax.distributed has its own SIGTERM handler, which feeds reached_preemption_sync_point.
        signals = [signal.SIGINT] if self._several else [signal.SIGINT, signal.SIGTERM]
        self._before = {s: signal.signal(s, self._handle) for s in signals}
        return self

    def __exit__(self, *exc: object) -> None:
        for s, handler in self._before.items():
            signal.signal(s, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._first = signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._several:
            # Ctrl-C reaches the processes at different steps; the preemption service finds a common one.
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.received = self._first

    def stop(self) -> bool:
        """Whether to save and leave now; the same answer on every process. Call once before every dispatch."""
        # The service compares for equality, so it must count calls: steps advance by many at once.
        self._asked += 1
        if self._several and multihost_utils.reached_preemption_sync_point(self._asked):
            self.received = self._first or signal.SIGTERM
        return self.received is not None
