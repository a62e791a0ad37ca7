"""What a system is: its state, its phases and the pure step of each, as the trainer sees them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from eyegan_jax.errors import UserError

AXIS = "data"
"""Name of the device axis inside every per-device step."""

State = Any
Batch = Mapping[str, Mapping[str, jax.Array]]
Metrics = dict[str, jax.Array]
Step = Callable[[State, Batch, jax.Array], tuple[State, Metrics]]


@dataclass(frozen=True)
class Phase:
    """A stretch of training. ``step`` is the per-device pure function that runs ``steps`` times.

    ``streams`` maps each stream that this phase reads to its samples per batch position and step.
    """

    name: str
    steps: int
    step: Step
    streams: Mapping[str, int]


class System(Protocol):
    """One published system. Instances are immutable; everything that changes is in the state.

    The state is a ``flax.struct`` pytree of arrays with an int32 scalar ``step`` that the trainer advances.
    Batches are ``batch[stream][field]`` with leaves ``[per_device_batch, samples, ...]``; images are uint8.
    """

    @property
    def phases(self) -> tuple[Phase, ...]: ...

    def init(self, key: jax.Array, batch: Batch, devices: int) -> State:
        """A fresh state. ``batch`` shows shapes (its values may be used to warm up statistics)."""

    def sharding(self, state: State) -> Any:
        """Pytree of booleans like ``state``: True for leaves with a leading device axis, False if replicated."""

    def pictures(self, state: State, batch: Batch) -> jax.Array:
        """A grid ``[rows, columns, H, W, C]`` in [-1, 1] for ``samples/STEP.png``."""


def vary(tree: Any) -> Any:
    """Mark replicated values as device-local, so that gradients with respect to them are local too.

    Under ``shard_map`` gradients with respect to replicated values are summed over devices behind one's back,
    under ``pmap`` they are not; with this cast in front, ``pmean`` of the gradient is right under both.
    """

    def cast(x):
        # Outside of the axis (a plain call in a test or a notebook) there is nothing to mark.
        return jax.lax.pcast(x, AXIS, to="varying") if AXIS not in _varying_axes(x) else x

    return jax.tree.map(cast, tree)


def _varying_axes(x) -> frozenset:
    return getattr(jax.typeof(x), "vma", frozenset())


def mean_over_devices(tree: Any) -> Any:
    """Mean of every leaf over the device axis."""
    return jax.lax.pmean(tree, AXIS)


def value_and_mean_gradient(loss: Callable[..., tuple[jax.Array, Any]], params: Any, *args: Any):
    """``((value, aux), gradient)`` of ``loss(params, *args) -> (value, aux)``, gradient and value averaged.

    ``aux`` stays device-local. Correct under ``pmap`` and ``shard_map`` alike (see :func:`vary`).
    """
    (value, aux), gradient = jax.value_and_grad(loss, has_aux=True)(vary(params), *args)
    return (mean_over_devices(value), aux), mean_over_devices(gradient)


CPU_PIXELS = 2**16
"""Pixels of a batch that go through a network's gradient at a time on CPU: 34 eyes of 35x55."""


def value_and_mean_gradient_in_parts(loss: Callable[..., tuple[jax.Array, Any]], params: Any, *batch: jax.Array):
    """:func:`value_and_mean_gradient` of a loss that is a mean over its images, and so are its ``aux``.

    loss: ``loss(params, *batch)`` for leaves ``[B, H, W, C]``.

    On CPU a large batch goes through one part after the other: what every layer keeps for the way back is kept for one
    part only. The sum is the same but for the order of its terms.
    """
    size = len(batch[0])
    fitting = min(size, max(1, CPU_PIXELS // (batch[0].shape[1] * batch[0].shape[2])))
    part = max(n for n in range(1, fitting + 1) if size % n == 0)
    # Crumbs, where the size has no better divisor, would take longer than the whole.
    if part == size or 4 * part < fitting or jax.default_backend() != "cpu":
        return value_and_mean_gradient(loss, params, *batch)
    parts = [leaf.reshape(-1, part, *leaf.shape[1:]) for leaf in batch]
    local = vary(params)
    found = jax.lax.map(lambda images: jax.value_and_grad(loss, has_aux=True)(local, *images), parts)
    (value, aux), gradient = jax.tree.map(lambda leaf: jnp.mean(leaf, 0), found)
    return (mean_over_devices(value), aux), mean_over_devices(gradient)


def global_positions(count: int) -> jax.Array:
    """Indices of this device's ``count`` samples within the global batch."""
    return jax.lax.axis_index(AXIS) * count + jnp.arange(count)


def sample_keys(key: jax.Array, count: int) -> jax.Array:
    """A key for each of this device's samples by its place in the global batch: the same on one device and on eight."""
    return jax.vmap(partial(jax.random.fold_in, key))(global_positions(count))


def of_the_size(setting: str, name: str, fresh: Any, found: Any) -> Any:
    """The trained variables ``found`` in place of ``fresh`` ones; raises UserError where their sizes differ."""
    if jax.tree.map(jnp.shape, fresh) != jax.tree.map(jnp.shape, found):
        raise UserError(f"{setting}: expected a {name} of this config's size, found another one or none")
    return jax.tree.map(lambda old, new: jnp.asarray(new, old.dtype), fresh, found)


def repeat(body: Callable[[State, Any], tuple[State, Metrics]], state: State, inputs: Any) -> tuple[State, Metrics]:
    """``body`` once per leading entry of ``inputs``; the metrics of the last.

    Unrolled on CPU, where a loop around a convolution's backward pass is many times slower (jax-ml/jax#12868);
    a scan elsewhere, so that 50 updates compile as fast as one.
    """
    count = jax.tree.leaves(inputs)[0].shape[0]
    state, metrics = jax.lax.scan(body, state, inputs, unroll=count if jax.default_backend() == "cpu" else 1)
    return state, jax.tree.map(lambda m: m[-1], metrics)
