"""Streaming from disk with tf.data: stateless order, exact resume, broken images replaced and counted.

The global sample number ``(step * global_batch + position) * samples + index`` decides everything: its
quotient by the set's size is the epoch, its remainder the place in that epoch's permutation, which is a
function of (seed, epoch). So every process computes its own part of every batch, and to resume at a step is
to start there. TensorFlow is imported only when a batch is asked for.
"""

import atexit
import contextlib
import functools
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from eyegan_jax.data.examples import BadExample, Example, EyeSet
from eyegan_jax.data.sets import nothing_usable, summarise_bad
from eyegan_jax.data.sources import HostSource
from eyegan_jax.errors import UserError

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]


def stream_source(eyeset: EyeSet, take: Callable[[Example], Arrays], seed: int) -> HostSource:
    """Every example once per epoch, in an order given by ``seed``; ``take`` makes an example's sample."""
    usable = Usable(eyeset, take)
    order = epoch_order(len(eyeset), seed)
    return host_source(lambda number: usable(order(number)), usable.like, len(eyeset))


def permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    """int64 ``[size]``: the order of one epoch, the same on every machine and under every NumPy version."""
    # Raw Philox bits are guaranteed stable by NumPy; Generator.permutation is not.
    return np.argsort(np.random.Philox(key=[seed, epoch]).random_raw(size), kind="stable")


def epoch_order(size: int, seed: int) -> Callable[[int], int]:
    """From the global sample number to the index of its example."""
    # Decoding threads may straddle two epochs, and a slow one lags behind.
    cached = functools.lru_cache(maxsize=4)(lambda epoch: permutation(seed, epoch, size))

    def index(number: int) -> int:
        epoch, rank = divmod(number, size)
        return int(cached(epoch)[rank])

    return index


class Usable:
    """Samples by index, where an unusable example is replaced by the next usable one of the set.

    The rule depends on the set alone, so that a resumed run sees the same replacements. ``like`` is a sample
    that shows all shapes. Raises UserError where no example is usable.
    """

    def __init__(self, eyeset: EyeSet, take: Callable[[Example], Arrays]):
        self._eyeset, self._take = eyeset, take
        self._lock = threading.Lock()
        self.bad: dict[int, BadExample] = {}
        self.like: Arrays = {}
        self.like = self(0)

    def __call__(self, index: int) -> Arrays:
        return self.from_index(index)[1]

    def from_index(self, start: int) -> tuple[int, Arrays]:
        """Index and sample of the first usable example from ``start`` on; the first follows the last."""
        for offset in range(len(self._eyeset)):
            index = (start + offset) % len(self._eyeset)
            if (sample := self.get(index)) is not None:
                return index, sample
        raise nothing_usable(list(self.bad.values()), len(self._eyeset))

    def get(self, index: int) -> Arrays | None:
        """The sample of the example at ``index``, None where it is unusable."""
        if index in self.bad:
            return None
        try:
            return self._sample(index)
        except BadExample as bad:
            self._count(index, bad)
            return None

    def _sample(self, index: int) -> Arrays:
        sample = self._take(self._eyeset[index])
        for name, value in self.like.items():
            if sample[name].shape != value.shape:
                found, expected = list(sample[name].shape), list(value.shape)
                raise BadExample(self._eyeset.names[index], f"{name} has shape {found}, the set's first {expected}")
        return sample

    def _count(self, index: int, bad: BadExample) -> None:
        with self._lock:
            new = index not in self.bad
            self.bad[index] = bad
            count = len(self.bad)
        if new and count in (1, 10, 100, 1000, 10_000, 100_000):
            log.warning("%s; replaced by others", summarise_bad(list(self.bad.values()), len(self._eyeset)))


def host_source(produce: Callable[[int], Arrays], like: Mapping[str, np.ndarray], size: int) -> HostSource:
    """The source whose global sample number ``n`` is ``produce(n)``, made in parallel threads in order.

    ``like`` shows the shapes and types of a sample.
    """

    def batches(start_step: int, positions: range, global_batch: int, samples: int) -> Iterator[Arrays]:
        tf = import_tensorflow()
        failures: list[Exception] = []
        stopping = threading.Event()

        def made(number: np.int64) -> list[np.ndarray]:
            if stopping.is_set():
                return list(like.values())
            try:
                sample = produce(int(number))
            except Exception as failure:  # TensorFlow would turn it into text; it is raised again below.
                failures.append(failure)
                raise
            return [sample[name] for name in like]

        def sample_tensors(number: Any) -> dict[str, Any]:
            types = [value.dtype for value in like.values()]
            arrays = tf.numpy_function(made, [number], types, stateful=False)
            for array, value in zip(arrays, like.values(), strict=True):
                array.set_shape(value.shape)
            return dict(zip(like, arrays, strict=True))

        def going_on(step: Any) -> Any:
            return tf.ensure_shape(tf.numpy_function(lambda _: not stopping.is_set(), [step], tf.bool), ())

        here = np.array([p * samples + i for p in positions for i in range(samples)], np.int64)
        dataset = (
            tf.data.Dataset.counter(start_step)
            .take_while(going_on)
            .map(lambda step: step * (global_batch * samples) + here)
            .unbatch()
            .map(sample_tensors, num_parallel_calls=os.cpu_count(), deterministic=True)
            .batch(len(here), drop_remainder=True)
            .prefetch(2)
        )

        def iterate() -> Iterator[Arrays]:
            iterator = dataset.as_numpy_iterator()
            failed = tf.errors.OpError
            try:
                for batch in iterator:
                    yield {
                        name: array.reshape(len(positions), samples, *array.shape[1:]) for name, array in batch.items()
                    }
            except failed:
                if failures:
                    raise failures[0] from None
                raise
            finally:
                # TensorFlow destroys an iterator while it holds the interpreter's lock and waits for calls
                # that need this lock: a deadlock, unless nothing is left to call.
                stopping.set()
                _drain(iterator, failed)

        generator = iterate()
        _live.add(generator)
        _close_at_exit()
        return generator

    return HostSource(batches, size)


_live: weakref.WeakSet[Iterator[Arrays]] = weakref.WeakSet()


@functools.cache
def _close_at_exit() -> None:
    """Registers, once, the orderly end of all streams; later, threads can no longer finish their calls."""

    def close() -> None:
        for generator in list(_live):
            # One that runs in another thread just now cannot be closed, and is not destroyed either.
            with contextlib.suppress(ValueError):
                generator.close()  # type: ignore[attr-defined]

    atexit.register(close)


def _drain(iterator: Iterator[Any], failed: type[Exception]) -> None:
    """Takes what is under way until nothing is left."""
    while True:
        try:
            next(iterator)
        except StopIteration:
            return
        except failed:
            continue


def import_tensorflow() -> Any:
    """TensorFlow, kept off the accelerators. Raises UserError naming what to install where it is missing."""
    # Before the import, or it fills the terminal with start-up messages (oneDNN announces itself at any
    # level; # no arithmetic is done here that it could speed up).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        import tensorflow as tf
    except ImportError:
        raise UserError(
            "TensorFlow is not installed, which streaming (data.backend 'stream') and preparing TFDS sets need: "
            "run `python -m pip install tensorflow`; data.backend 'memory' works without it"
        ) from None
    # JAX owns the devices; TensorFlow would otherwise take all of their memory.
    for kind in ("GPU", "TPU"):
        # Where TensorFlow is initialised already, whoever did that owns the decision.
        with contextlib.suppress(RuntimeError, ValueError):
            tf.config.set_visible_devices([], kind)
    return tf
