"""Where the training step gets its samples from: drawn on the device, or streamed from the host.

A system names its streams ("simulated", "real", ...) and how many samples of each it wants per batch
position and step. Every stream has one source. Randomness is a function of (seed, step, position in the
global batch) alone, so that a run is the same on 1 and on 8 devices, and a resumed run continues exactly.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

Sample = Mapping[str, Any]


@dataclass(frozen=True)
class DeviceSource:
    """Samples made on the device inside the compiled step: the host does nothing.

    draw: ``draw(resident, key) -> Sample`` of ONE example (no batch axis); pure, vmapped by the caller.
    resident: arrays that live on the device (uint8 images and labels, or simulator populations).
    size: number of distinct examples, None where it is unbounded (a simulator).
    recipe: settings in words, where they and the code say all of what ``draw`` draws; empty where they do not.
    """

    draw: Callable[[Any, jax.Array], Sample]
    resident: Any = field(default_factory=dict)
    size: int | None = None
    recipe: str = ""


@dataclass(frozen=True)
class HostSource:
    """Samples decoded on the host (tf.data) and fed to the devices batch by batch.

    batches: ``batches(start_step, positions, samples) -> Iterator[Sample]``: from step ``start_step`` on,
    this process's part of each global batch, every leaf ``[local_positions, samples, ...]``. ``positions``
    is the ``range`` of global batch positions that this process holds of ``global_batch``.
    """

    batches: Callable[[int, range, int, int], Iterator[Mapping[str, np.ndarray]]]
    size: int | None = None


Source = DeviceSource | HostSource


def draw_batch(source: DeviceSource, resident: Any, key: jax.Array, positions: jax.Array, samples: int) -> Sample:
    """Samples ``[len(positions), samples, ...]``; a sample depends on (key, position, index) only."""

    def one(position, index):
        return source.draw(resident, jax.random.fold_in(jax.random.fold_in(key, position), index))

    indices = jax.numpy.arange(samples)
    return jax.vmap(lambda p: jax.vmap(lambda i: one(p, i))(indices))(positions)
