"""Several runs of one system as one program: other seeds, other values of a weight, the same shapes.

Any system becomes an ensemble of itself under ``jax.vmap``. One device then does the work of many small runs in one
go, draws (or renders) the data once, and compiles once. Members share the order of the data; what a seed changes is the
start and all randomness inside the step.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from eyegan_jax.systems.base import Batch, Metrics, Phase, System


class EnsembleState(flax.struct.PyTreeNode):
    """The members' states, stacked: behind the device axis of sharded leaves, in front of all others."""

    step: jax.Array
    members: Any


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """``len(seeds)`` members of ``base``; immutable.

    scalars: attribute of ``base`` -> one value per member. Attributes that only enter arithmetic can vary; those that
        decide shapes or which code runs cannot.
    """

    base: Any
    seeds: tuple[int, ...]
    scalars: Mapping[str, tuple[float, ...]]

    @property
    def phases(self) -> tuple[Phase, ...]:
        return tuple(dataclasses.replace(phase, step=partial(self.step, i)) for i, phase in enumerate(self.base.phases))

    def step(self, phase: int, state: EnsembleState, batch: Batch, key: jax.Array) -> tuple[EnsembleState, Metrics]:
        """One step of every member on the same batch; the metrics of member i end in ``/i``."""

        def advance(member, seed, values):
            system: System = dataclasses.replace(self.base, **values)
            member = member.replace(step=state.step)
            return system.phases[phase].step(member, batch, jax.random.fold_in(key, seed))

        values = {name: jnp.asarray(each, jnp.float32) for name, each in self.scalars.items()}
        members, metrics = jax.vmap(advance)(state.members, jnp.asarray(self.seeds), values)
        flat = {f"{name}/{i}": value[i] for name, value in metrics.items() for i in range(len(self.seeds))}
        return state.replace(members=members), flat

    def init(self, key: jax.Array, batch: Batch, devices: int) -> EnsembleState:
        def fresh(seed):
            return self.base.init(jax.random.fold_in(key, seed), batch, devices)

        sharding = self.base.sharding(jax.eval_shape(fresh, 0))
        axes = jax.tree.map(int, sharding)
        members = jax.vmap(fresh, out_axes=axes)(jnp.asarray(self.seeds))
        return EnsembleState(step=jnp.zeros((), jnp.int32), members=members)

    def sharding(self, state: EnsembleState) -> EnsembleState:
        return state.replace(step=False, members=self.base.sharding(state.members))

    def member(self, state: EnsembleState, index: int) -> Any:
        """The state of one member, as ``base`` itself would have it."""
        sharding = self.base.sharding(state.members)
        own = jax.tree.map(lambda sharded, x: x[:, index] if sharded else x[index], sharding, state.members)
        return own.replace(step=state.step)

    def pictures(self, state: EnsembleState, batch: Batch) -> jax.Array:
        """The rows of every member, one member below the other."""
        return jnp.concatenate([self.base.pictures(self.member(state, i), batch) for i in range(len(self.seeds))])
