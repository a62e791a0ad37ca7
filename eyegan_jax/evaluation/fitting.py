"""How the judges learn: small networks fitted to labelled pictures that stay on the device.

Systems train in :mod:`eyegan_jax.training`, with checkpoints and everything; what is fitted here is over in minutes.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from eyegan_jax.evaluation.batches import in_batches
from eyegan_jax.images import to_float
from eyegan_jax.systems.optimisers import muon

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""The network's output and the targets of one batch to a scalar; one and the same function for every call."""


@dataclass(frozen=True)
class Training:
    """The budget; the learning rate falls to zero along a cosine. optimiser: "adam" or "muon".

    ``augment(key, images)`` changes float batches on the device.
    """

    steps: int = 1000
    batch: int = 64
    learning_rate: float = 1e-3
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    optimiser: str = "adam"


DEFAULT = Training()


@dataclass(frozen=True)
class _Fit:
    """One network, loss and budget; equal ones share their compiled programs (:func:`_compiled`)."""

    network: nn.Module
    loss: Loss
    how: Training

    @property
    def optimiser(self) -> optax.GradientTransformation:
        build = {"adam": optax.adam, "muon": muon}[self.how.optimiser]
        return build(optax.cosine_decay_schedule(self.how.learning_rate, self.how.steps))

    def init(self, key, images):
        variables = self.network.init(key, to_float(images[:1]))
        return variables, self.optimiser.init(variables)

    def step(self, carry, index, key, images, targets):
        variables, optimiser_state = carry
        key = jax.random.fold_in(key, index)
        chosen = jax.random.randint(jax.random.fold_in(key, 0), (self.how.batch,), 0, len(images))
        batch = to_float(images[chosen])
        if self.how.augment is not None:
            batch = self.how.augment(jax.random.fold_in(key, 1), batch)

        def loss(variables):
            return self.loss(self.network.apply(variables, batch), targets[chosen])

        value, gradient = jax.value_and_grad(loss)(variables)
        updates, optimiser_state = self.optimiser.update(gradient, optimiser_state, variables)
        return (optax.apply_updates(variables, updates), optimiser_state), value

    def run(self, key, images, targets):
        """The whole training as one scan."""

        def body(carry, index):
            return self.step(carry, index, key, images, targets)

        (variables, _), _ = jax.lax.scan(body, self.init(key, images), jnp.arange(self.how.steps))
        return variables


@functools.cache
def _compiled(fit: _Fit) -> dict[str, Callable]:
    return {
        "init": jax.jit(fit.init),
        "step": jax.jit(fit.step, donate_argnums=0),
        "run": jax.jit(fit.run),
        "ensemble": jax.jit(jax.vmap(fit.run, in_axes=(0, None, None))),
    }


def train(
    network: nn.Module,
    loss: Loss,
    images,
    targets,
    seed: int,
    how: Training = DEFAULT,
    scan: bool | None = None,
    title: str = "",
) -> Any:
    """Variables of ``network`` fitted to uint8 ``images [N, H, W, C]`` and ``targets [N, ...]``.

    scan: one compiled loop (the default on accelerators), or the same step called from Python (the default on CPU,
        where XLA runs convolutions inside loops on a single thread). Equal up to rounding.
    title: of the progress bar of the Python loop; none where it is empty.
    """
    images, targets = jnp.asarray(images), jnp.asarray(targets)
    key, programs = jax.random.key(seed), _compiled(_Fit(network, loss, how))
    if jax.default_backend() != "cpu" if scan is None else scan:
        return programs["run"](key, images, targets)
    carry = programs["init"](key, images)
    bar = tqdm(range(how.steps), desc=title, unit="step", dynamic_ncols=True, disable=not title)
    for index in bar:
        carry, value = programs["step"](carry, index, key, images, targets)
        if title and index % 200 == 0:
            bar.set_postfix(loss=f"{float(value):.3f}")
    return carry[0]


def train_ensemble(
    network: nn.Module,
    loss: Loss,
    images,
    targets,
    seeds: Sequence[int],
    how: Training = DEFAULT,
    vmapped: bool | None = None,
) -> Any:
    """As :func:`train` for every seed, stacked on a leading axis ``[S, ...]``.

    ``vmapped``: all seeds as one program (the default on accelerators), or one after the other (the default
    on CPU, where batched kernels become grouped convolutions, which are slow). Equal up to rounding.
    """
    if jax.default_backend() == "cpu" if vmapped is None else not vmapped:
        members = [train(network, loss, images, targets, seed, how) for seed in seeds]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    return _compiled(_Fit(network, loss, how))["ensemble"](keys, jnp.asarray(images), jnp.asarray(targets))


@functools.partial(jax.jit, static_argnums=0)
def _apply(network, variables, images):
    return network.apply(variables, to_float(images))


def predict(network: nn.Module, variables: Any, images, batch: int = 256) -> np.ndarray:
    """Outputs ``[N, ...]`` of uint8 images ``[N, H, W, C]``."""
    return in_batches(functools.partial(_apply, network, variables), np.asarray(images), batch)
