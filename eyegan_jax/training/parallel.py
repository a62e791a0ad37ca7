"""The one place that knows how a per-device step runs on many devices: ``pmap`` or ``shard_map``.

A step is written for one device, with means over the axis "data". Both wrappers give it the same view: its own
slice of the batch, replicated state, and of the state's sharded leaves (True in ``sharding``) its own entry of the
leading device axis. Outside, arrays are global: state leaves carry no device axis unless they are sharded.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from eyegan_jax.errors import UserError
from eyegan_jax.systems.base import AXIS

WRAPPERS = ("pmap", "shard_map")


class Parallel:
    """A wrapper chosen by name over all devices (or those given)."""

    def __init__(self, wrapper: str, devices: list[jax.Device] | None = None):
        if wrapper not in WRAPPERS:
            raise UserError(f"config.run.parallel: expected 'pmap' or 'shard_map', found {wrapper!r}")
        self.wrapper = wrapper
        self.devices = list(devices or jax.devices())
        self.mesh = jax.make_mesh((len(self.devices),), (AXIS,), devices=self.devices, axis_types=(AxisType.Auto,))
        self.replicated = NamedSharding(self.mesh, PartitionSpec())
        self.sharded = NamedSharding(self.mesh, PartitionSpec(AXIS))
        self._local = [d for d in self.devices if d.process_index == jax.process_index()]

    def per_device(self, batch_size: int) -> int:
        """The batch of one device; raises UserError naming all three sizes where ``batch_size`` does not divide."""
        count = len(self.devices)
        if batch_size < 1 or batch_size % count:
            processes = jax.process_count()
            raise UserError(
                f"config.batch_size: expected a multiple of {count} devices, found a global batch of {batch_size} "
                f"({batch_size / processes:g} per process on {processes} process(es), "
                f"{batch_size / count:g} per device)"
            )
        return batch_size // count

    def local_positions(self, batch_size: int) -> range:
        """The stretch of the global batch that this process feeds."""
        size = self.per_device(batch_size)
        first = self.devices.index(self._local[0])
        return range(first * size, (first + len(self._local)) * size)

    def shardings(self, sharding: Any) -> Any:
        """Tree of booleans to tree of NamedShardings."""
        return jax.tree.map(lambda s: self.sharded if s else self.replicated, sharding)

    def place(self, tree: Any, sharding: Any) -> Any:
        """Put host (or fresh) arrays where the step wants them, before the first call: one trace, no copies."""
        if jax.process_count() == 1:
            return jax.device_put(tree, self.shardings(sharding))

        def place_leaf(leaf, leaf_sharding):
            key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            host = np.asarray(jax.random.key_data(leaf) if key else leaf)
            return jax.make_array_from_callback(host.shape, leaf_sharding, lambda index: host[index])

        return jax.tree.map(place_leaf, tree, self.shardings(sharding))

    def replicate(self, tree: Any) -> Any:
        """Put the same value on every device."""
        return self.place(tree, jax.tree.map(lambda _: False, tree))

    def shard_batch(self, batch: Mapping[str, Any]) -> Any:
        """This process's part of a host batch, leaves ``[local_positions, ...]``, to the devices."""
        if self.wrapper == "pmap":
            local = len(self._local)
            return jax.tree.map(lambda x: x.reshape(local, x.shape[0] // local, *x.shape[1:]), batch)
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(self.sharded, x), batch)

    def compile(self, step: Callable, sharding: Any) -> Callable:
        """``step(state, resident, batch) -> (state, metrics)`` on all devices, donating the state.

        ``resident`` is replicated, ``batch`` is sharded along its first axis, metrics come back replicated.
        """
        if self.wrapper == "pmap":
            return self._compile_pmap(step, sharding)
        specs = jax.tree.map(lambda s: PartitionSpec(AXIS) if s else PartitionSpec(), sharding)

        def local_step(state, resident, batch):
            # shard_map leaves a device axis of length one where pmap removes it.
            state = jax.tree.map(lambda s, x: x[0] if s else x, sharding, state)
            state, metrics = step(state, resident, batch)
            return jax.tree.map(lambda s, x: x[None] if s else x, sharding, state), metrics

        mapped = jax.shard_map(
            local_step,
            mesh=self.mesh,
            in_specs=(specs, PartitionSpec(), PartitionSpec(AXIS)),
            out_specs=(specs, PartitionSpec()),
        )
        return jax.jit(mapped, donate_argnums=(0,))

    def _compile_pmap(self, step: Callable, sharding: Any) -> Callable:
        # With several processes pmap hashes out_axes, and a dict of parameters has no hash: hence flat tuples.
        leaves, structure = jax.tree.flatten(sharding)
        axes = tuple(0 if s else None for s in leaves)

        def flat_step(flat_state, resident, batch, _):
            state, metrics = step(jax.tree.unflatten(structure, flat_state), resident, batch)
            return tuple(jax.tree.leaves(state)), metrics

        mapped = jax.pmap(
            flat_step,
            AXIS,
            in_axes=(axes, None, 0, 0),
            out_axes=(axes, None),
            donate_argnums=(0,),
            devices=self.devices,
        )
        # pmap wants one argument with a device axis; there is none where no batch is fed and nothing is sharded.
        present = np.zeros(len(self._local), np.int8)

        def run(state, resident, batch):
            flat_state, metrics = mapped(tuple(jax.tree.leaves(state)), resident, batch, present)
            return jax.tree.unflatten(structure, flat_state), metrics

        return run

    def to_host(self, tree: Any) -> Any:
        """NumPy values of replicated outputs, on every process."""
        return jax.tree.map(lambda x: np.asarray(x.addressable_data(0)), tree)

    def to_global(self, tree: Any, sharding: Any) -> Any:
        """Arrays that Orbax can write from several processes (it refuses pmap's host-local ones)."""
        if jax.process_count() == 1 or self.wrapper == "shard_map":
            return tree

        def globalise(leaf, leaf_sharding):
            shards = [s.data for s in leaf.addressable_shards]
            if leaf_sharding == self.replicated:
                return jax.make_array_from_process_local_data(leaf_sharding, np.asarray(shards[0]), leaf.shape)
            local = np.concatenate([np.asarray(s) for s in shards])
            shape = (len(self.devices), *local.shape[1:])
            return jax.make_array_from_process_local_data(leaf_sharding, local, shape)

        return jax.tree.map(globalise, tree, self.shardings(sharding))
