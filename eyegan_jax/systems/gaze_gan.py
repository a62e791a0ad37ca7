"""Photo-realistic monocular gaze redirection using generative adversarial networks (He et al., ICCV 2019).

An image and two angles in, the image of the same eye with these angles out. It learns from pairs of labelled pictures
of the same person. Losses and sizes are the publication's; its VGG16 is replaced by a network that is trained here, in
a first phase, to tell the gaze of the same pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import ml_collections
import optax

from eyegan_jax import losses
from eyegan_jax.errors import UserError
from eyegan_jax.gaze import vector_to_angles
from eyegan_jax.images import to_float
from eyegan_jax.layers import keys as random_keys
from eyegan_jax.layers.detail import Change
from eyegan_jax.networks.gaze_gan import ANGLE_UNIT, GazeDiscriminator, GazeGenerator
from eyegan_jax.networks.small_resnet import ResidualStage, SmallResNet
from eyegan_jax.systems.base import (
    Batch,
    Metrics,
    Phase,
    mean_over_devices,
    repeat,
    sample_keys,
    value_and_mean_gradient,
)
from eyegan_jax.systems.optimisers import build_optimiser
from eyegan_jax.systems.pairs import Redirecting, coin, flipped, with_brightness

FLIP, SHARE = range(2)
"""Purposes of a sample's keys."""


class GazeGanState(flax.struct.PyTreeNode):
    """Arrays only. ``average``: the averaged generator and the discriminator, whose gaze head is used afterwards."""

    step: jax.Array
    perceptual: Any
    perceptual_optimiser: Any
    generator: Any
    generator_optimiser: Any
    discriminator: Any
    discriminator_optimiser: Any
    average: dict[str, Any]


@dataclass(frozen=True)
class Weights:
    gaze: float
    cycle: float
    content: float
    style: float
    penalty: float


@dataclass(frozen=True)
class GazeGan(Redirecting):
    """Networks, weights and schedule of one run; immutable. See ``configs/redirect.py:baseline``.

    The stream "pairs" is that of :class:`eyegan_jax.systems.redirect.Redirect`, without its masks.
    """

    generator: GazeGenerator
    discriminator: GazeDiscriminator
    perceptual: SmallResNet
    generator_optimiser: optax.GradientTransformation
    discriminator_optimiser: optax.GradientTransformation
    perceptual_optimiser: optax.GradientTransformation
    weights: Weights
    critics: int
    mirror: bool
    averaging: float
    perceptual_steps: int
    steps: int

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("perceive", self.perceptual_steps, self.perceiving_step, {"pairs": 1}),
            Phase("adversarial", self.steps, self.adversarial_step, {"pairs": self.critics}),
        )

    def init(self, key: jax.Array, batch: Batch, devices: int) -> GazeGanState:
        del devices
        image = to_float(batch["pairs"]["image"][:1, 0])
        key = random_keys.compact(key)
        perceptual = self.perceptual.init(jax.random.fold_in(key, 0), image)
        generator = self.generator.init(jax.random.fold_in(key, 1), image, jnp.zeros((1, 2)))
        discriminator = self.discriminator.init(jax.random.fold_in(key, 2), image)
        return GazeGanState(
            step=jnp.zeros((), jnp.int32),
            perceptual=perceptual,
            perceptual_optimiser=self.perceptual_optimiser.init(perceptual),
            generator=generator,
            generator_optimiser=self.generator_optimiser.init(generator),
            discriminator=discriminator,
            discriminator_optimiser=self.discriminator_optimiser.init(discriminator),
            average=jax.tree.map(jnp.copy, {"generator": generator, "discriminator": discriminator}),
        )

    def sharding(self, state: GazeGanState) -> GazeGanState:
        return jax.tree.map(lambda _: False, state)

    def perceiving_step(self, state: GazeGanState, batch: Batch, key: jax.Array) -> tuple[GazeGanState, Metrics]:
        """One step of the perceptual network towards telling the gaze."""
        pairs = self._samples({name: value[:, 0] for name, value in batch["pairs"].items()}, key)

        def loss(params):
            found = self.perceptual.apply(params, pairs["image"])
            return _gaze_loss(found, pairs["gaze"]), ()

        (value, _), gradient = value_and_mean_gradient(loss, state.perceptual)
        updates, optimiser = self.perceptual_optimiser.update(gradient, state.perceptual_optimiser, state.perceptual)
        state = state.replace(perceptual=optax.apply_updates(state.perceptual, updates), perceptual_optimiser=optimiser)
        return state, {"loss/perceptual": value, "gradient/perceptual": optax.tree.norm(gradient)}

    def adversarial_step(self, state: GazeGanState, batch: Batch, key: jax.Array) -> tuple[GazeGanState, Metrics]:
        """``critics`` updates of the discriminator, each on samples of its own, then one of the generator."""
        samples = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), dict(batch["pairs"]))
        turns = jnp.arange(self.critics)

        def criticise(state, turn):
            number, pairs = turn
            return self._update_discriminator(state, pairs, jax.random.fold_in(key, number))

        state, metrics = repeat(criticise, state, (turns, samples))
        last = {name: value[-1] for name, value in samples.items()}
        state, of_generator = self._update_generator(state, self._samples(last, jax.random.fold_in(key, self.critics)))
        return state, metrics | of_generator

    def _samples(self, pairs: Mapping[str, jax.Array], key) -> dict[str, jax.Array]:
        """Images in [-1, 1] and angles of a batch ``[B, ...]``, half of it mirrored."""
        keys = sample_keys(key, pairs["image"].shape[0])
        if self.mirror:
            pairs = flipped(pairs, coin(keys, FLIP))
        images = {name: to_float(pairs[name]) for name in ("image", "target_image")}
        return images | {name: vector_to_angles(pairs[name]) for name in ("gaze", "target_gaze")}

    def _update_discriminator(self, state: GazeGanState, pairs, key) -> tuple[GazeGanState, Metrics]:
        keys = sample_keys(key, pairs["image"].shape[0])
        pairs = self._samples(pairs, key)
        fake = self.generator.apply(state.generator, pairs["image"], pairs["target_gaze"])
        shares = jax.vmap(lambda k: jax.random.uniform(jax.random.fold_in(k, SHARE)))(keys)

        def loss(params):
            # Real and painted pictures in one pass: no layer mixes samples.
            scores, gaze = self.discriminator.apply(params, jnp.concatenate([pairs["image"], fake]))
            of_real, of_fake = jnp.split(_mean(scores), 2)
            penalty = losses.gradient_penalty(
                lambda x: _mean(self.discriminator.apply(params, x)[0]), pairs["image"], fake, shares
            )
            parts = {
                "distance": jnp.mean(of_real) - jnp.mean(of_fake),
                "penalty": penalty,
                "gaze_head": _gaze_loss(gaze[: len(fake)], pairs["gaze"]),
            }
            w = self.weights
            total = w.penalty * penalty + w.gaze * parts["gaze_head"] - parts["distance"]
            return total, {f"loss/{name}": part for name, part in parts.items()}

        (value, parts), gradient = value_and_mean_gradient(loss, state.discriminator)
        updates, optimiser = self.discriminator_optimiser.update(
            gradient, state.discriminator_optimiser, state.discriminator
        )
        discriminator = optax.apply_updates(state.discriminator, updates)
        state = state.replace(
            discriminator=discriminator,
            discriminator_optimiser=optimiser,
            average=state.average | {"discriminator": discriminator},
        )
        metrics = {"loss/discriminator": value, "gradient/discriminator": optax.tree.norm(gradient)}
        return state, metrics | mean_over_devices(parts)

    def _update_generator(self, state: GazeGanState, pairs) -> tuple[GazeGanState, Metrics]:
        image, target = pairs["image"], pairs["target_image"]
        truth = self._features(state, target)

        def loss(params):
            fake = self.generator.apply(params, image, pairs["target_gaze"])
            back = self.generator.apply(params, fake, pairs["gaze"])
            scores, gaze = self.discriminator.apply(state.discriminator, fake)
            found = self._features(state, fake)
            parts = {
                "adversarial": -jnp.mean(scores),
                "gaze": _gaze_loss(gaze, pairs["target_gaze"]),
                "cycle": jnp.mean(jnp.abs(back - image)),
                "content": losses.style_features(found[-1:], truth[-1:]),
                "style": losses.gram_style(found, truth, order=2),
            }
            w = self.weights
            total = parts["adversarial"] + sum(
                getattr(w, name) * parts[name] for name in ("gaze", "cycle", "content", "style")
            )
            return total, {f"loss/{name}": part for name, part in parts.items()}

        (value, parts), gradient = value_and_mean_gradient(loss, state.generator)
        updates, optimiser = self.generator_optimiser.update(gradient, state.generator_optimiser, state.generator)
        generator = optax.apply_updates(state.generator, updates)
        average = optax.incremental_update(generator, state.average["generator"], 1.0 - self.averaging)
        state = state.replace(
            generator=generator, generator_optimiser=optimiser, average=state.average | {"generator": average}
        )
        metrics = {"loss/generator": value, "gradient/generator": optax.tree.norm(gradient)}
        return state, metrics | mean_over_devices(parts)

    def _features(self, state: GazeGanState, images) -> list[jax.Array]:
        """What the frozen perceptual network sees at each of its stages, fine to coarse."""
        _, seen = self.perceptual.apply(
            state.perceptual, images, capture_intermediates=lambda module, _: isinstance(module, ResidualStage)
        )
        stages = seen["intermediates"]
        return [stages[f"ResidualStage_{i}"]["__call__"][0] for i in range(len(self.perceptual.widths))]

    def read_gaze(self, variables: Mapping[str, Any], images: jax.Array) -> jax.Array:
        """(pitch, yaw) ``[N, 2]`` in radians that the discriminator's gaze head sees in ``images`` in [-1, 1]."""
        return self.discriminator.apply(variables["discriminator"], images)[1]

    def change(self, variables, images, gaze, references=None, colours=None) -> Change:
        """Nothing is moved before it is painted, and there is no use for references."""
        del references
        painted: Any = self.generator.apply(variables["generator"], images, gaze)
        if colours is not None:
            images, painted = colours, with_brightness(colours, painted)
        still = jnp.zeros((*images.shape[:3], 3))
        return Change(still[..., :2], still[..., 2:], images, painted)

    def pictures(self, state: GazeGanState, batch: Batch) -> jax.Array:
        """Rows of (simulated eye, turned eye, truth), ``[3, n, H, W, C]``."""
        pairs = batch["pairs"]
        image, target = (to_float(pairs[name][:, 0]) for name in ("image", "target_image"))
        wanted = vector_to_angles(pairs["target_gaze"][:, 0])
        return jnp.stack([image, self.redirect(state.average, image, wanted), target])


def _mean(scores) -> jax.Array:
    return jnp.mean(scores, axis=(1, 2, 3))


def _gaze_loss(found, true) -> jax.Array:
    """Mean squared error of angles in the networks' unit."""
    return jnp.mean(jnp.square((found - true) / ANGLE_UNIT))


def build(config: ml_collections.ConfigDict) -> GazeGan:
    """The system that ``config`` describes; raises UserError for a size that cannot be halved twice."""
    c, dtype = config.gaze_gan, jnp.dtype(config.dtype)
    height, width, _ = config.image_shape
    if height % 4 or width % 4:
        raise UserError(f"config.image_shape: expected multiples of 4 for gaze_gan, found {height}x{width}")
    return GazeGan(
        generator=GazeGenerator(**c.generator, dtype=dtype),
        discriminator=GazeDiscriminator(**c.discriminator, dtype=dtype),
        perceptual=SmallResNet(c.perceptual, outputs=2, dtype=dtype),
        generator_optimiser=build_optimiser(c.generator_optimiser),
        discriminator_optimiser=build_optimiser(c.discriminator_optimiser),
        perceptual_optimiser=optax.adam(1e-3),
        weights=Weights(**c.loss),
        critics=c.critics,
        mirror=c.mirror,
        averaging=c.averaging,
        perceptual_steps=c.perceptual_steps,
        steps=config.steps,
    )
