"""CUT: contrastive learning for unpaired image translation (Park et al., ECCV 2020, arXiv 2007.15651).

SimGAN's modern rival, with the same refiner and discriminator: what keeps the eye in place is not its brightness pixel
by pixel (self-regularisation) but that each patch of the output can be told by its features from the other patches of
its own input. The adversarial loss is this library's local cross-entropy where the publication has least squares.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from eyegan_jax import losses
from eyegan_jax.errors import UserError
from eyegan_jax.images import to_float
from eyegan_jax.networks.discriminator import Discriminator
from eyegan_jax.networks.patch_projection import PatchProjection
from eyegan_jax.networks.refiner import FEATURES, Refiner
from eyegan_jax.systems.base import Batch, Metrics, Phase, mean_over_devices, value_and_mean_gradient
from eyegan_jax.systems.optimisers import build_optimiser
from eyegan_jax.systems.simgan import before_and_after, discriminator_loss


class CUTState(flax.struct.PyTreeNode):
    """Arrays only. ``generator`` holds the refiner and the projection heads, which learn together;
    ``refiner_average`` is the moving average of the refiner, used after training."""

    step: jax.Array
    generator: Any
    discriminator: Any
    refiner_average: Any
    generator_optimiser: Any
    discriminator_optimiser: Any


@dataclass(frozen=True)
class CUT:
    """Networks and loss weights of one run; immutable. See ``configs/cut.py`` for every field."""

    refiner: Refiner
    discriminator: Discriminator
    projection: PatchProjection
    generator_optimiser: optax.GradientTransformation
    discriminator_optimiser: optax.GradientTransformation
    contrast: float
    identity: float
    temperature: float
    patches: int
    averaging: float
    steps: int

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("adversarial", self.steps, self.adversarial_step, {"simulated": 1, "real": 1}),)

    def init(self, key: jax.Array, batch: Batch, devices: int) -> CUTState:
        del devices
        images = to_float(batch["simulated"]["image"][:1, 0])
        refiner = self.refiner.init(jax.random.fold_in(key, 0), images)["params"]
        discriminator = self.discriminator.init(jax.random.fold_in(key, 1), images)["params"]
        features = self.features(refiner, images)
        heads = self.projection.init(jax.random.fold_in(key, 2), features, self._places(key, features))["params"]
        generator = {"refiner": refiner, "heads": heads}
        return CUTState(
            step=jnp.zeros((), jnp.int32),
            generator=generator,
            discriminator=discriminator,
            refiner_average=jax.tree.map(jnp.copy, refiner),
            generator_optimiser=self.generator_optimiser.init(generator),
            discriminator_optimiser=self.discriminator_optimiser.init(discriminator),
        )

    def sharding(self, state: CUTState) -> CUTState:
        return jax.tree.map(lambda _: False, state)

    def features(self, refiner: Any, images: jax.Array) -> tuple[jax.Array, ...]:
        """The refiner's own feature maps of ``images``, after the stem and after each block."""
        _, kept = self.refiner.apply({"params": refiner}, images, mutable=[FEATURES])
        return tuple(kept[FEATURES]["maps"])

    def _places(self, key: jax.Array, features) -> list[jax.Array]:
        """Which pixels of each map are compared: the same ones in every image of a batch and on every device."""
        sizes = [int(np.prod(values.shape[1:3])) for values in features]
        return [
            jax.random.permutation(jax.random.fold_in(key, i), size)[: min(self.patches, size)]
            for i, size in enumerate(sizes)
        ]

    def contrastive(self, generator: Any, images: jax.Array, refined: jax.Array, key: jax.Array) -> jax.Array:
        """PatchNCE between the input and the output of the refiner, the mean over its layers (equation 4)."""
        queries, keys = (self.features(generator["refiner"], x) for x in (refined, images))
        places = self._places(key, queries)
        project = partial(self.projection.apply, {"params": generator["heads"]})
        terms = [
            losses.patch_nce(q, k, self.temperature)
            for q, k in zip(project(queries, places), project(keys, places), strict=True)
        ]
        return jnp.mean(jnp.stack(terms))

    def adversarial_step(self, state: CUTState, batch: Batch, key: jax.Array) -> tuple[CUTState, Metrics]:
        """One update of refiner and heads, then one of the discriminator on the same refined images.

        batch: "simulated" and "real" ``[B, 1, H, W, C]``, this device's uint8 images.
        """
        simulated, real = (to_float(batch[name]["image"][:, 0]) for name in ("simulated", "real"))

        def generator_loss(generator):
            refine = partial(self.refiner.apply, {"params": generator["refiner"]})
            refined = refine(simulated)
            logits = self.discriminator.apply({"params": state.discriminator}, refined)
            parts = {
                "loss/realism": losses.patch_cross_entropy(logits, losses.REAL, "mean"),
                "loss/contrast": self.contrastive(generator, simulated, refined, jax.random.fold_in(key, 0)),
            }
            total = parts["loss/realism"] + self.contrast * parts["loss/contrast"]
            if self.identity:
                # A real image is to stay as it is (equation 5): the refiner must not change what needs no change.
                parts["loss/identity"] = self.contrastive(generator, real, refine(real), jax.random.fold_in(key, 1))
                total += self.identity * parts["loss/identity"]
            return total, (parts, refined)

        (value, (parts, refined)), gradient = value_and_mean_gradient(generator_loss, state.generator)
        updates, generator_optimiser = self.generator_optimiser.update(
            gradient, state.generator_optimiser, state.generator
        )
        generator = optax.apply_updates(state.generator, updates)

        def of_patches(params):
            return discriminator_loss(self.discriminator, params, refined, real, "mean")

        (of_discriminator, accuracies), slope = value_and_mean_gradient(of_patches, state.discriminator)
        updates, discriminator_optimiser = self.discriminator_optimiser.update(
            slope, state.discriminator_optimiser, state.discriminator
        )
        metrics = mean_over_devices(parts | accuracies) | {
            "loss/refiner": value,
            "loss/discriminator": of_discriminator,
            "gradient/refiner": optax.tree.norm(gradient),
            "gradient/discriminator": optax.tree.norm(slope),
        }
        return state.replace(
            generator=generator,
            refiner_average=optax.incremental_update(generator["refiner"], state.refiner_average, 1.0 - self.averaging),
            discriminator=optax.apply_updates(state.discriminator, updates),
            generator_optimiser=generator_optimiser,
            discriminator_optimiser=discriminator_optimiser,
        ), metrics

    def pictures(self, state: CUTState, batch: Batch) -> jax.Array:
        return before_and_after(self.refine, state, batch)

    def refine(self, params: Any, images: jax.Array) -> jax.Array:
        """Make simulated ``images [B, H, W, C]`` in [-1, 1] look real: what a user calls after training."""
        return self.refiner.apply({"params": params}, images)


def build(config: ml_collections.ConfigDict) -> CUT:
    """The system that ``config`` describes; raises UserError where a setting makes no sense."""
    c, dtype = config.cut, jnp.dtype(config.dtype)
    for name in ("temperature", "patches"):
        if not c[name] > 0:
            raise UserError(f"config.cut.{name}: expected more than 0, found {c[name]:g}")
    return CUT(
        refiner=Refiner(**c.refiner, dtype=dtype),
        discriminator=Discriminator(**c.discriminator, dtype=dtype),
        projection=PatchProjection(c.projection),
        generator_optimiser=build_optimiser(c.generator_optimiser),
        discriminator_optimiser=build_optimiser(c.discriminator_optimiser),
        contrast=c.loss.contrast,
        identity=c.loss.identity,
        temperature=c.temperature,
        patches=c.patches,
        averaging=c.averaging,
        steps=config.steps,
    )
