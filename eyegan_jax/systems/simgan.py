"""SimGAN: learning from simulated and unsupervised images (Shrivastava et al., CVPR 2017, arXiv 1612.07828)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import ml_collections
import optax

from eyegan_jax import losses
from eyegan_jax.data.preprocessing import equalise_histogram
from eyegan_jax.errors import UserError
from eyegan_jax.images import to_float, to_uint8
from eyegan_jax.networks.discriminator import GAZE, HAND, Discriminator
from eyegan_jax.networks.gaze_estimator import GazeFeatures
from eyegan_jax.networks.refiner import Refiner
from eyegan_jax.systems import history as histories
from eyegan_jax.systems.base import (
    AXIS,
    Batch,
    Metrics,
    Phase,
    mean_over_devices,
    repeat,
    value_and_mean_gradient_in_parts,
)
from eyegan_jax.systems.optimisers import build_optimiser

SCALARS = {"simgan.loss.regularisation": "regularisation", "simgan.averaging": "averaging"}
"""Settings that the members of one ensemble may differ in (see :mod:`eyegan_jax.systems.ensemble`)."""


class SimGANState(flax.struct.PyTreeNode):
    """Arrays only. ``refiner_average`` is the exponential moving average of the refiner, used after training."""

    step: jax.Array
    refiner: Any
    discriminator: Any
    refiner_average: Any
    refiner_optimiser: Any
    discriminator_optimiser: Any
    history: histories.History | None


@dataclass(frozen=True)
class SimGAN:
    """Networks, loss weights and schedule of one run; immutable. See ``configs/simgan.py`` for every field."""

    refiner: Refiner
    discriminator: Discriminator
    refiner_optimiser: optax.GradientTransformation
    discriminator_optimiser: optax.GradientTransformation
    psi: Callable
    regularisation: float
    reduction: str
    refiner_updates: int
    discriminator_updates: int
    history_size: int
    history_strata: int
    averaging: float
    equalised: bool
    steps: tuple[int, int, int]

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Algorithm 1 of the paper: refiner alone, discriminator alone, then both in turn."""
        r, d = self.refiner_updates, self.discriminator_updates
        return (
            Phase("refiner", self.steps[0], self.pretrain_refiner, {"simulated": 1}),
            Phase("discriminator", self.steps[1], self.pretrain_discriminator, {"simulated": 1, "real": 1}),
            Phase("adversarial", self.steps[2], self.adversarial_step, {"simulated": r + d, "real": d}),
        )

    def init(self, key: jax.Array, batch: Batch, devices: int) -> SimGANState:
        """``batch`` gives the image shape; ``devices`` the leading axis of the history."""
        images = to_float(batch["simulated"]["image"][:1, 0])
        refiner = self.refiner.init(jax.random.fold_in(key, 0), images)["params"]
        discriminator = self.discriminator.init(jax.random.fold_in(key, 1), images)["params"]
        history = None
        if self.history_size:
            history = histories.create(self.history_size, self.history_strata, devices, images.shape[1:])
        return SimGANState(
            step=jnp.zeros((), jnp.int32),
            refiner=refiner,
            discriminator=discriminator,
            refiner_average=jax.tree.map(jnp.copy, refiner),
            refiner_optimiser=self.refiner_optimiser.init(refiner),
            discriminator_optimiser=self.discriminator_optimiser.init(discriminator),
            history=history,
        )

    def sharding(self, state: SimGANState) -> SimGANState:
        """Everything is replicated but the images of the history."""
        replicated = jax.tree.map(lambda _: False, state)
        if state.history is None:
            return replicated
        return replicated.replace(history=replicated.history.replace(images=True))

    def pretrain_refiner(self, state: SimGANState, batch: Batch, key: jax.Array) -> tuple[SimGANState, Metrics]:
        """One step on the self-regularisation alone: R learns to be the identity."""
        del key
        images = self.prepare(batch["simulated"]["image"][:, 0])
        return self._update_refiner(state, images, adversarial=False)

    def pretrain_discriminator(self, state: SimGANState, batch: Batch, key: jax.Array) -> tuple[SimGANState, Metrics]:
        """One step of D on wholly fresh refined images; R stays. The history begins to fill."""
        simulated, real = self.prepare(batch["simulated"]["image"][:, 0]), to_float(batch["real"]["image"][:, 0])
        return self._update_discriminator(state, simulated, real, key, use_history=False)

    def adversarial_step(self, state: SimGANState, batch: Batch, key: jax.Array) -> tuple[SimGANState, Metrics]:
        """One alternation of Algorithm 1: K_r refiner updates, then K_d discriminator updates.

        batch: "simulated" ``[B, K_r + K_d, H, W, C]`` and "real" ``[B, K_d, H, W, C]``, this device's uint8 images.
        """
        simulated = jnp.moveaxis(batch["simulated"]["image"], 1, 0)
        real = jnp.moveaxis(batch["real"]["image"], 1, 0)

        def refiner_update(state, images):
            return self._update_refiner(state, self.prepare(images), adversarial=True)

        state, refiner_metrics = repeat(refiner_update, state, simulated[: self.refiner_updates])
        for i in range(self.discriminator_updates):
            images = self.prepare(simulated[self.refiner_updates + i])
            state, discriminator_metrics = self._update_discriminator(
                state, images, to_float(real[i]), jax.random.fold_in(key, i), use_history=True
            )
        return state, refiner_metrics | discriminator_metrics

    def _update_refiner(self, state: SimGANState, images: jax.Array, adversarial: bool) -> tuple[SimGANState, Metrics]:
        """One descent on ``L_R = l_real + lambda l_reg`` (equation 4), D fixed."""

        def loss(params, images):
            refined = self.refiner.apply({"params": params}, images)
            regularisation = losses.self_regularisation(refined, images, self.psi, self.reduction)
            if not adversarial:
                # With its weight: SGD at the paper's learning rate leaves the range of tanh on the bare sum.
                return self.regularisation * regularisation, {"loss/regularisation": regularisation}
            logits = self.discriminator.apply({"params": state.discriminator}, refined)
            realism = losses.patch_cross_entropy(logits, losses.REAL, self.reduction)
            total = realism + self.regularisation * regularisation
            return total, {"loss/realism": realism, "loss/regularisation": regularisation}

        (value, parts), gradient = value_and_mean_gradient_in_parts(loss, state.refiner, images)
        updates, optimiser = self.refiner_optimiser.update(gradient, state.refiner_optimiser, state.refiner)
        refiner = optax.apply_updates(state.refiner, updates)
        average = optax.incremental_update(refiner, state.refiner_average, 1.0 - self.averaging)
        metrics = mean_over_devices(parts) | {
            "loss/refiner": value,
            "gradient/refiner": optax.tree.norm(gradient),
        }
        return state.replace(refiner=refiner, refiner_average=average, refiner_optimiser=optimiser), metrics

    def _update_discriminator(
        self, state: SimGANState, images: jax.Array, real: jax.Array, key: jax.Array, use_history: bool
    ) -> tuple[SimGANState, Metrics]:
        """One descent on ``L_D`` (equation 2), R fixed; half of the refined images from the history."""
        refined, history = self._refined_batch(state, images, key, use_history)

        def loss(params, refined, real):
            return discriminator_loss(self.discriminator, params, refined, real, self.reduction)

        (value, parts), gradient = value_and_mean_gradient_in_parts(loss, state.discriminator, refined, real)
        updates, optimiser = self.discriminator_optimiser.update(
            gradient, state.discriminator_optimiser, state.discriminator
        )
        discriminator = optax.apply_updates(state.discriminator, updates)
        metrics = mean_over_devices(parts) | {
            "loss/discriminator": value,
            "gradient/discriminator": optax.tree.norm(gradient),
        }
        state = state.replace(discriminator=discriminator, discriminator_optimiser=optimiser, history=history)
        return state, metrics

    def _refined_batch(self, state: SimGANState, images: jax.Array, key: jax.Array, use_history: bool):
        """Refined images ``[B, H, W, C]`` for D, and the history after it has taken the fresh half."""
        refine_ = partial(self.refiner.apply, {"params": state.refiner})
        if state.history is None:
            return refine_(images), None
        strata = state.history.images.shape[0]
        groups = images.reshape(strata, -1, *images.shape[1:])
        half = groups.shape[1] // 2
        if use_history:
            # Only the half that D sees is refined: the other half comes from the history.
            groups = groups[:, :half]
        fresh = refine_(groups.reshape(-1, *images.shape[1:])).reshape(groups.shape)
        stratum = jax.lax.axis_index(AXIS) * strata + jnp.arange(strata)
        keys = jax.vmap(partial(jax.random.fold_in, key))(stratum)
        sample_keys, push_keys = (jax.vmap(partial(jax.random.fold_in, data=i))(keys) for i in (0, 1))
        refined = fresh
        if use_history:
            refined = jnp.concatenate([fresh, histories.sample(state.history, sample_keys, fresh)], axis=1)
        # Old images are read before new ones take their place: XLA would keep a copy of all of them instead. Images
        # alone: JAX 0.10 takes all that passes a barrier together to differ over devices, and `filled` does not.
        refined, old = jax.lax.optimization_barrier((refined, state.history.images))
        history = histories.push(state.history.replace(images=old), push_keys, fresh[:, :half])
        return refined.reshape(images.shape), history

    def pictures(self, state: SimGANState, batch: Batch) -> jax.Array:
        return before_and_after(self.refine, state, batch)

    def refine(self, params: Any, images: jax.Array) -> jax.Array:
        """Make simulated ``images [B, H, W, C]`` in [-1, 1] look real: what a user calls after training."""
        if self.equalised:
            images = self.prepare(to_uint8(images))
        return self.refiner.apply({"params": params}, images)

    def prepare(self, images: jax.Array) -> jax.Array:
        """uint8 simulated ``images [B, H, W, C]`` to what R starts from and is held to, float32 in [-1, 1]."""
        return to_float(equalise_histogram(images[..., 0])[..., None] if self.equalised else images)


def discriminator_loss(
    discriminator: Discriminator, params: Any, refined: jax.Array, real: jax.Array, reduction: str
) -> tuple[jax.Array, Metrics]:
    """Equation 2 for images ``[B, H, W, C]``, in one pass of D, and the share of patches that D calls right."""
    logits = discriminator.apply({"params": params}, jnp.concatenate([refined, real]))
    of_refined, of_real = jnp.split(logits, [len(refined)])
    total = losses.patch_cross_entropy(of_refined, losses.REFINED, reduction)
    total += losses.patch_cross_entropy(of_real, losses.REAL, reduction)
    return total, {
        "accuracy/refined": jnp.mean(of_refined[..., 1] > of_refined[..., 0]),
        "accuracy/real": jnp.mean(of_real[..., 1] < of_real[..., 0]),
    }


def before_and_after(refine: Callable, state: Any, batch: Batch) -> jax.Array:
    """Rows of (simulated, refined by the averaged refiner, real), ``[3, n, H, W, C]``."""
    simulated, real = (to_float(batch[name]["image"][:, 0]) for name in ("simulated", "real"))
    return jnp.stack([simulated, refine(state.refiner_average, simulated), real])


PSI = {
    "identity": losses.psi_identity,
    "gradient": losses.psi_gradient,
    "channel_mean": losses.psi_channel_mean,
}


def frozen_features(image_shape: tuple[int, int, int]) -> Callable:
    """psi as the features of a frozen network: the gaze estimator's convolutions with fixed random weights.

    Random convolutional features already separate textures and edges; nothing has to be downloaded.
    """
    network = GazeFeatures()
    params = network.init(jax.random.key(0), jnp.zeros((1, *image_shape)))
    return partial(network.apply, params)


def build(config: ml_collections.ConfigDict) -> SimGAN:
    """The system that ``config`` describes; raises UserError where settings contradict each other."""
    c = config.simgan
    dtype = jnp.dtype(config.dtype)
    half_groups = 2 * c.history.strata
    if c.history.size and config.batch_size % half_groups:
        raise UserError(
            f"config.batch_size: expected a multiple of 2 * simgan.history.strata = {half_groups}, "
            f"found {config.batch_size}"
        )
    if c.history.size % max(c.history.strata, 1) or (c.history.size and 2 * c.history.size < config.batch_size):
        raise UserError(
            f"config.simgan.history.size: expected a multiple of strata ({c.history.strata}) that holds at least half "
            f"a batch ({config.batch_size // 2}), found {c.history.size}"
        )
    psi = frozen_features(tuple(config.image_shape)) if c.loss.psi == "features" else PSI.get(c.loss.psi)
    if psi is None:
        raise UserError(f"config.simgan.loss.psi: expected one of {[*PSI, 'features']}, found {c.loss.psi!r}")
    equalised = c.get("equalised", False)  # models of before this setting do not name it
    if equalised and config.image_shape[2] != 1:
        raise UserError(
            f"config.simgan.equalised: expected gray images, found {config.image_shape[2]} channels; "
            "--config.simgan.equalised=False refines colour"
        )
    hand = c.discriminator.variant == "hand"
    return SimGAN(
        refiner=Refiner(**c.refiner, dtype=dtype),
        discriminator=Discriminator(
            stem=HAND if hand else GAZE,
            pool_stride=2 if hand else 1,
            neck=(32, 3, 2) if hand else (32, 3, 1),
            activation=c.discriminator.activation,
            norm=c.discriminator.norm,
            padding=c.discriminator.padding,
            decision=c.discriminator.decision,
            dtype=dtype,
        ),
        refiner_optimiser=build_optimiser(c.refiner_optimiser),
        discriminator_optimiser=build_optimiser(c.discriminator_optimiser),
        psi=psi,
        regularisation=c.loss.regularisation,
        reduction=c.loss.reduction,
        refiner_updates=c.refiner_updates,
        discriminator_updates=c.discriminator_updates,
        history_size=c.history.size,
        history_strata=c.history.strata,
        averaging=c.averaging,
        equalised=equalised,
        steps=(c.pretrain_refiner_steps, c.pretrain_discriminator_steps, config.steps),
    )
