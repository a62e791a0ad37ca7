"""The program that a device runs: so many steps of one phase, with their data drawn inside."""

from collections.abc import Mapping
from typing import Any

import jax

from eyegan_jax.data.sources import DeviceSource, draw_batch
from eyegan_jax.systems.base import Phase, global_positions

DATA, SYSTEM, PREVIEW = range(3)
"""Purposes of the keys that are folded out of a step's key."""


def device_steps(
    phase: Phase, count: int, root: jax.Array, sources: Mapping[str, DeviceSource], per_device: int
) -> Any:
    """``program(state, resident, host_batch) -> (state, metrics)`` of one device: draw, step, advance, ``count`` times.

    Metrics are stacked over the steps. Streams that are not in ``sources`` come from ``host_batch``. All randomness
    is folded out of ``root`` by the step's number, so that one dispatch of many steps equals many of one.
    """

    def once(state, host_batch):
        key = jax.random.fold_in(root, state.step)
        positions = global_positions(per_device)
        batch = dict(host_batch)
        for stream, (name, samples) in enumerate(sorted(phase.streams.items())):
            if name in sources:
                data_key = jax.random.fold_in(jax.random.fold_in(key, DATA), stream)
                batch[name] = draw_batch(sources[name], batch[name], data_key, positions, samples)
        advanced, metrics = phase.step(state, batch, jax.random.fold_in(key, SYSTEM))
        return advanced.replace(step=state.step + 1), metrics

    def program(state, resident, host_batch):
        batch = {**resident, **host_batch}
        if count == 1:
            state, metrics = once(state, batch)
            return state, jax.tree.map(lambda m: m[None], metrics)
        return jax.lax.scan(lambda state, _: once(state, batch), state, None, length=count)

    return program
