"""A gaze estimator as a system: the SimGAN paper's CNN or a modern small network, on any eyes with gaze labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import ml_collections
import optax

from eyegan_jax.errors import UserError
from eyegan_jax.images import to_float
from eyegan_jax.losses import gaze_distance
from eyegan_jax.networks.gaze_estimator import GazeEstimator
from eyegan_jax.networks.small_resnet import SmallResNet
from eyegan_jax.systems.base import Batch, Metrics, Phase, value_and_mean_gradient
from eyegan_jax.systems.optimisers import build_optimiser

NETWORKS: Mapping[str, nn.Module] = {
    "cnn": GazeEstimator(),
    "cnn_fc9600": GazeEstimator(fc9600=True),
    "resnet": SmallResNet(),
}
"""The paper's CNN in both readings, and a modern small network."""


class GazeEstimatorState(flax.struct.PyTreeNode):
    """Arrays only. ``average`` is the moving average of the parameters, used after training."""

    step: jax.Array
    params: Any
    average: Any
    optimiser: Any


@dataclass(frozen=True)
class GazeEstimatorSystem:
    """Network and optimiser of one run; immutable. See ``configs/gaze_estimator.py`` for every field."""

    network: nn.Module
    optimiser: optax.GradientTransformation
    averaging: float
    steps: int

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("train", self.steps, self.training_step, {"eyes": 1}),)

    def init(self, key: jax.Array, batch: Batch, devices: int) -> GazeEstimatorState:
        del devices
        params = self.network.init(key, to_float(batch["eyes"]["image"][:1, 0]))
        return GazeEstimatorState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            average=jax.tree.map(jnp.copy, params),
            optimiser=self.optimiser.init(params),
        )

    def sharding(self, state: GazeEstimatorState) -> GazeEstimatorState:
        return jax.tree.map(lambda _: False, state)

    def training_step(
        self, state: GazeEstimatorState, batch: Batch, key: jax.Array
    ) -> tuple[GazeEstimatorState, Metrics]:
        """One descent. batch: "eyes" with uint8 image ``[B, 1, H, W, C]`` and unit gaze vectors ``[B, 1, 3]``."""
        del key
        images, wanted = to_float(batch["eyes"]["image"][:, 0]), batch["eyes"]["gaze"][:, 0]

        def loss(params):
            return gaze_distance(self.network.apply(params, images), wanted), {}

        (value, _), gradient = value_and_mean_gradient(loss, state.params)
        updates, optimiser = self.optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, updates)
        average = optax.incremental_update(params, state.average, 1.0 - self.averaging)
        metrics = {"loss/gaze": value, "gradient/estimator": optax.tree.norm(gradient)}
        return state.replace(params=params, average=average, optimiser=optimiser), metrics

    def pictures(self, state: GazeEstimatorState, batch: Batch) -> jax.Array:
        """One row of training eyes, ``[1, n, H, W, C]``: whether they look as they should."""
        del state
        return to_float(batch["eyes"]["image"][:, 0])[None]

    def read(self, params: Any, images: jax.Array) -> jax.Array:
        """Gaze vectors ``[B, 3]`` (not normalised) of uint8 ``images [B, H, W, C]``; params: ``state.average``."""
        return self.network.apply(params, to_float(images))


def build(config: ml_collections.ConfigDict) -> GazeEstimatorSystem:
    """The system that ``config`` describes; raises UserError where the network is unknown."""
    c = config.gaze_estimator
    if c.network not in NETWORKS:
        raise UserError(f"config.gaze_estimator.network: expected one of {', '.join(NETWORKS)}, found {c.network!r}")
    return GazeEstimatorSystem(
        network=NETWORKS[c.network].clone(dtype=jnp.dtype(config.dtype)),
        optimiser=build_optimiser(c.optimiser),
        averaging=c.averaging,
        steps=config.steps,
    )
