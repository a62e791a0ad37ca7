"""The residual refiner: repair a retrieved picture of the person until it fits the wanted mask, trained on the metric.

Presets: the OpenEDS 2019 winner's (one reference, DeepLab, nothing but the metric), and a compact refiner of several
references with an optional discriminator. See :mod:`eyegan_jax.networks.residual_refiner`.
"""

from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import ml_collections
import optax

from eyegan_jax import losses
from eyegan_jax.errors import UserError
from eyegan_jax.images import to_float
from eyegan_jax.layers import keys, spectral
from eyegan_jax.networks.deeplab import DeepLab
from eyegan_jax.networks.patch_discriminator import PatchDiscriminator
from eyegan_jax.networks.residual_refiner import ReferenceRefiner, ResidualRefiner, paint_classes
from eyegan_jax.systems.base import AXIS, Batch, Metrics, Phase, mean_over_devices, value_and_mean_gradient
from eyegan_jax.systems.optimisers import build_optimiser


class ResidualState(flax.struct.PyTreeNode):
    """Arrays only. ``average`` holds moving averages of params and batch_stats: the variables to use afterwards.

    discriminator, spectral, discriminator_optimiser: empty where the adversarial term has no weight.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    average: Any
    optimiser: Any
    discriminator: Any
    spectral: Any
    discriminator_optimiser: Any


@dataclass(frozen=True)
class Residual:
    """Network, loss weights and schedule of one run; immutable. See ``configs/residual.py`` for every field.

    The stream "eyes" has ``image [H, W, 1]`` (the target), its ``mask [H, W]``, and ``references [k, H, W, 1]`` with
    ``reference_masks [k, H, W]``: pictures of the same person, nearest mask first.
    """

    network: Any  # ResidualRefiner or ReferenceRefiner
    discriminator: Any  # PatchDiscriminator, or None where its losses have no weight
    optimiser: optax.GradientTransformation
    discriminator_optimiser: optax.GradientTransformation
    openeds_weight: float
    adversarial_weight: float
    matching_weight: float
    averaging: float
    steps: int

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("train", self.steps, self.training_step, {"eyes": 1}),)

    def init(self, key: jax.Array, batch: Batch, devices: int) -> ResidualState:
        """``batch`` gives the image size and the number of references."""
        del devices
        mask, image, references, reference_masks = samples(batch, 1)
        key = keys.compact(key)
        variables = self.network.init(jax.random.fold_in(key, 0), mask, references, reference_masks)
        params, batch_stats = variables["params"], variables.get("batch_stats", {})
        critic: Any = {"params": {}, "spectral": {}}
        if self.discriminator is not None:
            critic = self.discriminator.init(jax.random.fold_in(key, 1), mask, image)
        return ResidualState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=batch_stats,
            average=jax.tree.map(jnp.copy, {"params": params, "batch_stats": batch_stats}),
            optimiser=self.optimiser.init(params),
            discriminator=critic["params"],
            spectral=critic["spectral"],
            discriminator_optimiser=self.discriminator_optimiser.init(critic["params"]),
        )

    def sharding(self, state: ResidualState) -> ResidualState:
        return jax.tree.map(lambda _: False, state)

    def training_step(self, state: ResidualState, batch: Batch, key: jax.Array) -> tuple[ResidualState, Metrics]:
        """One update of the refiner, and before it one of the discriminator where there is one."""
        mask, target, references, reference_masks = samples(batch)
        return self.update(state, mask, target, references, reference_masks, key)

    def update(
        self, state: ResidualState, mask, target, references, reference_masks, key: jax.Array
    ) -> tuple[ResidualState, Metrics]:
        """The training step on arrays: images in [-1, 1], shapes as in :class:`Residual` with a batch axis in front."""
        dropout = keys.compact(jax.random.fold_in(key, jax.lax.axis_index(AXIS)))
        metrics: Metrics = {}
        if self.discriminator is not None:
            # D sees the images of the averaged refiner: they lag a little behind and need no second training pass.
            fake = self.refine(state.average, mask, references, reference_masks)
            state, metrics = self._update_discriminator(state, mask, fake, target)

        def loss(params):
            (image, residual), updated = self.network.apply(
                {"params": params, "batch_stats": state.batch_stats},
                mask,
                references,
                reference_masks,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": dropout},
            )
            parts = {"openeds": losses.openeds(image, target)}
            total = self.openeds_weight * parts["openeds"]
            if self.discriminator is not None:
                variables = {"params": state.discriminator, "spectral": state.spectral}
                of_fake = self.discriminator.apply(variables, mask, image)
                of_real = self.discriminator.apply(variables, mask, target)
                parts["adversarial"] = losses.hinge_generator([scale[-1] for scale in of_fake])
                parts["feature_matching"] = losses.feature_matching(
                    [scale[:-1] for scale in of_fake], [scale[:-1] for scale in of_real]
                )
                total += self.adversarial_weight * parts["adversarial"]
                total += self.matching_weight * parts["feature_matching"]
            size = {"residual/mean_abs": jnp.mean(jnp.abs(residual))}
            shown = {f"loss/{name}": part for name, part in parts.items()}
            return total, (shown | size, updated.get("batch_stats", {}))

        (value, (parts, batch_stats)), gradient = value_and_mean_gradient(loss, state.params)
        updates, optimiser = self.optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, updates)
        average = optax.incremental_update(
            {"params": params, "batch_stats": batch_stats}, state.average, 1.0 - self.averaging
        )
        metrics |= mean_over_devices(parts) | {"loss/refiner": value, "gradient/refiner": optax.tree.norm(gradient)}
        state = state.replace(params=params, batch_stats=batch_stats, average=average, optimiser=optimiser)
        return state, metrics

    def _update_discriminator(self, state: ResidualState, mask, fake, target) -> tuple[ResidualState, Metrics]:
        """One descent of D on the hinge loss."""
        masks, images = jnp.concatenate([mask, mask]), jnp.concatenate([jax.lax.stop_gradient(fake), target])

        def loss(params):
            scales = self.discriminator.apply({"params": params, "spectral": state.spectral}, masks, images)
            of_fake, of_real = zip(*(jnp.split(features[-1], 2) for features in scales), strict=True)
            return losses.hinge_discriminator(of_real, of_fake), ()

        (value, _), gradient = value_and_mean_gradient(loss, state.discriminator)
        updates, optimiser = self.discriminator_optimiser.update(
            gradient, state.discriminator_optimiser, state.discriminator
        )
        discriminator = optax.apply_updates(state.discriminator, updates)
        state = state.replace(
            discriminator=discriminator,
            spectral=spectral.advance(discriminator, state.spectral),
            discriminator_optimiser=optimiser,
        )
        return state, {"loss/discriminator": value, "gradient/discriminator": optax.tree.norm(gradient)}

    def pictures(self, state: ResidualState, batch: Batch) -> jax.Array:
        """Rows of (nearest reference, its mask, wanted mask, residual, result, target), ``[6, n, H, W, 1]``."""
        mask, target, references, reference_masks = samples(batch)
        image, residual = self.network.apply(state.average, mask, references, reference_masks)
        painted = paint_classes(reference_masks[:, 0]), paint_classes(mask)
        return jnp.stack([references[:, 0], *painted, jnp.clip(2 * residual, -1, 1), image, target])

    def refine(self, variables: Any, mask: jax.Array, references: jax.Array, reference_masks: jax.Array) -> jax.Array:
        """Eyes ``[B, H, W, 1]`` in [-1, 1] that fit ``mask [B, H, W]``: what a user calls after training.

        variables: ``state.average``. references ``[B, k, H, W, 1]`` in [-1, 1] of the same person and their masks
        ``[B, k, H, W]``, nearest first (:func:`eyegan_jax.retrieval.nearest`); any k (the published preset uses one).
        """
        return self.network.apply(variables, mask, references, reference_masks)[0]


def samples(batch: Batch, count: int | None = None):
    """(mask, image, references, reference_masks) of the first ``count`` samples, images in [-1, 1]."""
    eyes = {name: batch["eyes"][name][:count, 0] for name in ("mask", "image", "references", "reference_masks")}
    return eyes["mask"], to_float(eyes["image"]), to_float(eyes["references"]), eyes["reference_masks"]


def build(config: ml_collections.ConfigDict) -> Residual:
    """The system that ``config`` describes; raises UserError for an unknown network and for colour images."""
    c, dtype = config.residual, jnp.dtype(config.dtype)
    if config.image_shape[2] != 1:
        raise UserError(
            f"config.image_shape: expected gray images for residual, found {config.image_shape[2]} channels"
        )
    network: ResidualRefiner | ReferenceRefiner
    if c.network == "deeplab":
        network = ResidualRefiner(DeepLab(1, **c.deeplab, axis_name=AXIS, dtype=dtype))
    elif c.network == "references":
        network = ReferenceRefiner(**c.references, dtype=dtype)
    else:
        raise UserError(f"config.residual.network: expected 'deeplab' or 'references', found {c.network!r}")
    adversarial = c.loss.adversarial or c.loss.feature_matching
    return Residual(
        network=network,
        discriminator=PatchDiscriminator(**c.discriminator, dtype=dtype) if adversarial else None,
        optimiser=build_optimiser(c.optimiser),
        discriminator_optimiser=build_optimiser(c.discriminator_optimiser),
        openeds_weight=c.loss.openeds,
        adversarial_weight=c.loss.adversarial,
        matching_weight=c.loss.feature_matching,
        averaging=c.averaging,
        steps=config.steps,
    )
