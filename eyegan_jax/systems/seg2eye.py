"""Seg2Eye: content-consistent generation of realistic eyes with style (Buehler et al., ICCVW 2019,
1911.03346).
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
from eyegan_jax.images import to_float
from eyegan_jax.layers import keys as random_keys
from eyegan_jax.layers import spectral
from eyegan_jax.networks.patch_discriminator import PatchDiscriminator
from eyegan_jax.networks.style_encoder import StyleEncoder
from eyegan_jax.networks.style_generator import StyleGenerator
from eyegan_jax.systems.base import AXIS, Batch, Metrics, Phase, mean_over_devices, sample_keys, vary
from eyegan_jax.systems.optimisers import build_optimiser

Variables = dict[str, dict[str, Any]]
"""``{"generator": collections, "encoder": collections}``, as Flax applies them: ``state.average``."""


class Seg2EyeState(flax.struct.PyTreeNode):
    """Arrays only. ``painter`` holds the parameters of generator and encoder, which one optimiser trains.

    average: what is used after training: the exponential moving average of ``painter`` with singular vectors
        of its own, as collections for Flax.
    spectral: the singular vectors of the kernels of all three networks; always one power iteration past the
        latest update of the kernels.
    batch_stats: the generator's running averages; empty with instance statistics.
    """

    step: jax.Array
    painter: Any
    average: Variables
    discriminator: Any
    spectral: Any
    batch_stats: Any
    painter_optimiser: Any
    discriminator_optimiser: Any


def some_of(key: jax.Array, count: int) -> jax.Array:
    """Between 1 and ``count`` of so many references, bool ``[count]``: any of them, whatever their order."""
    shown = jax.random.randint(jax.random.fold_in(key, 1), (), 1, count + 1)
    return jax.random.permutation(jax.random.fold_in(key, 2), count) < shown


@dataclass(frozen=True)
class Weights:
    """Weights of the generator's losses; a loss of weight 0 is not computed."""

    adversarial: float
    feature_matching: float
    l1: float
    l2: float
    openeds: float
    gram: float
    style_code: float
    style_features: float

    @property
    def encode_fakes(self) -> bool:
        return bool(self.gram or self.style_code or self.style_features)

    @property
    def criticise(self) -> bool:
        return bool(self.adversarial or self.feature_matching)


@dataclass(frozen=True)
class Seg2Eye:
    """Networks, loss weights and schedule of one run; immutable. See ``configs/seg2eye.py`` for every field.

    The stream "eyes" has ``image [H, W, C]`` (the target), its ``mask [H, W]`` and ``references [k, H, W,
    C]``, other pictures of the same person.
    """

    generator: StyleGenerator
    encoder: StyleEncoder
    discriminator: PatchDiscriminator
    painter_optimiser: optax.GradientTransformation
    discriminator_optimiser: optax.GradientTransformation
    weights: Weights
    gram_order: int
    gram_first_layer: int
    vary_references: bool
    mirror: bool
    averaging: float
    steps: int

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("adversarial", self.steps, self.adversarial_step, {"eyes": 1}),)

    def init(self, key: jax.Array, batch: Batch, devices: int) -> Seg2EyeState:
        """``batch`` gives the image size and the number of references."""
        del devices
        if "references" not in batch["eyes"]:
            raise UserError("config.data.eyes.references: expected at least 1, found none")
        image, mask, references = (batch["eyes"][name][:1, 0] for name in ("image", "mask", "references"))
        image, references = to_float(image), to_float(references)
        key = random_keys.compact(key)
        encoder = self.encoder.init(jax.random.fold_in(key, 0), references)
        style = jnp.zeros((1, self.encoder.code))
        generator = self.generator.init(jax.random.fold_in(key, 1), mask, style)
        discriminator = self.discriminator.init(jax.random.fold_in(key, 2), mask, image)
        painter = {"generator": generator["params"], "encoder": encoder["params"]}
        average = {"generator": dict(generator), "encoder": dict(encoder)}
        return Seg2EyeState(
            step=jnp.zeros((), jnp.int32),
            painter=painter,
            average=jax.tree.map(jnp.copy, average),
            discriminator=discriminator["params"],
            spectral={
                "generator": generator["spectral"],
                "encoder": encoder["spectral"],
                "discriminator": discriminator["spectral"],
            },
            batch_stats=generator.get("batch_stats", {}),
            painter_optimiser=self.painter_optimiser.init(painter),
            discriminator_optimiser=self.discriminator_optimiser.init(discriminator["params"]),
        )

    def sharding(self, state: Seg2EyeState) -> Seg2EyeState:
        """Everything is replicated."""
        return jax.tree.map(lambda _: False, state)

    def adversarial_step(self, state: Seg2EyeState, batch: Batch, key: jax.Array) -> tuple[Seg2EyeState, Metrics]:
        """One update of D on fresh fakes, then one of G and E against the new D.

        Both updates see the same fakes, which depend on G and E alone, so one forward pass of the generator
            serves
        both: its pullback waits until D has been updated. This is the usual alternation, not an
            approximation.
        """
        mask, target, references, present = self._samples(batch["eyes"], key)

        def forward(painter):
            style, features = self.encoder.apply(
                {"params": painter["encoder"], "spectral": state.spectral["encoder"]}, references, present
            )
            fake, changed = self.generator.apply(
                self.generator_variables(painter, state), mask, style, train=True, mutable=["batch_stats"]
            )
            return fake, (style, features, changed.get("batch_stats", {}))

        fake, pullback, (style, features, batch_stats) = jax.vjp(forward, vary(state.painter), has_aux=True)
        metrics: Metrics = {}
        if self.weights.criticise:
            state, metrics = self.update_discriminator(state, mask, jax.lax.stop_gradient(fake), mask, target)

        def loss(fake):
            parts = self.generator_losses(state, mask, fake, target, style, features)
            total = sum(getattr(self.weights, name) * value for name, value in parts.items())
            return total, parts

        (value, parts), cotangent = jax.value_and_grad(loss, has_aux=True)(fake)
        gradient = mean_over_devices(pullback(cotangent)[0])
        metrics |= mean_over_devices({f"loss/{name}": part for name, part in parts.items()} | {"loss/painter": value})
        metrics["gradient/painter"] = optax.tree.norm(gradient)
        return self.update_painter(state, gradient, batch_stats), metrics

    def update_painter(self, state: Seg2EyeState, gradient: Any, batch_stats: Any) -> Seg2EyeState:
        """One step of generator and encoder along ``gradient``, which is that of all devices."""
        updates, optimiser = self.painter_optimiser.update(gradient, state.painter_optimiser, state.painter)
        painter = optax.apply_updates(state.painter, updates)
        advanced = {name: spectral.advance(painter[name], state.spectral[name]) for name in painter}
        return state.replace(
            painter=painter,
            average=self._averaged(state.average, painter, batch_stats),
            painter_optimiser=optimiser,
            spectral=state.spectral | advanced,
            batch_stats=batch_stats,
        )

    def _averaged(self, average: Variables, painter, batch_stats) -> Variables:
        """The moving average one step on."""
        result = {}
        for name, params in painter.items():
            before = average[name]
            params = optax.incremental_update(params, before["params"], 1.0 - self.averaging)
            result[name] = before | {
                "params": params,
                "spectral": spectral.advance(params, before["spectral"]),
            }
        if batch_stats:
            result["generator"]["batch_stats"] = batch_stats
        return result

    def _samples(self, eyes: Mapping[str, jax.Array], key: jax.Array):
        """Mask, target, references in [-1, 1] and which references are shown, ``[B, k]`` or None for all."""
        mask, target, references = (eyes[name][:, 0] for name in ("mask", "image", "references"))
        batch, count = references.shape[:2]
        keys = sample_keys(key, batch)
        if self.mirror:
            # The same flip for all pictures of a sample: a person's two eyes differ.
            flip = jax.vmap(jax.random.bernoulli)(keys)
            mask, target, references = (
                jnp.where(flip.reshape(-1, *(1,) * (x.ndim - 1)), jnp.flip(x, axis), x)
                for x, axis in ((mask, 2), (target, 2), (references, 3))
            )
        present = None
        if self.vary_references and count > 1:
            present = jax.vmap(lambda k: some_of(k, count))(keys)
        return mask, to_float(target), to_float(references), present

    def generator_variables(self, painter, state: Seg2EyeState) -> dict[str, Any]:
        """The generator's collections with the parameters ``painter``, for a forward pass in training."""
        variables = {"params": painter["generator"], "spectral": state.spectral["generator"]}
        return variables | ({"batch_stats": state.batch_stats} if state.batch_stats else {})

    def update_discriminator(self, state: Seg2EyeState, fake_mask, fake, mask, target) -> tuple[Seg2EyeState, Metrics]:
        """One descent of D on the hinge loss; as many fakes as targets, each with its mask."""
        masks, images = jnp.concatenate([fake_mask, mask]), jnp.concatenate([fake, target])

        def loss(params):
            scales: Any = self.discriminator.apply(
                {"params": params, "spectral": state.spectral["discriminator"]}, masks, images
            )
            of_fake, of_real = zip(*(jnp.split(features[-1], 2) for features in scales), strict=True)
            scores = {
                "score/fake": sum(jnp.mean(f) for f in of_fake) / len(scales),
                "score/real": sum(jnp.mean(r) for r in of_real) / len(scales),
            }
            return losses.hinge_discriminator(of_real, of_fake), scores

        (value, scores), gradient = jax.value_and_grad(loss, has_aux=True)(vary(state.discriminator))
        gradient = mean_over_devices(gradient)
        updates, optimiser = self.discriminator_optimiser.update(
            gradient, state.discriminator_optimiser, state.discriminator
        )
        discriminator = optax.apply_updates(state.discriminator, updates)
        advanced = spectral.advance(discriminator, state.spectral["discriminator"])
        metrics = mean_over_devices(scores | {"loss/discriminator": value})
        metrics["gradient/discriminator"] = optax.tree.norm(gradient)
        state = state.replace(
            discriminator=discriminator,
            discriminator_optimiser=optimiser,
            spectral=state.spectral | {"discriminator": advanced},
        )
        return state, metrics

    def generator_losses(self, state: Seg2EyeState, mask, fake, target, style, features) -> Metrics:
        """Every loss of non-zero weight, by its name in :class:`Weights`.

        The encoder is a measuring instrument here: it learns through the generator's use of its code, not by
        making its own features agree, for which forgetting all style would be the easiest way.
        """
        w, parts = self.weights, {}
        if w.criticise:
            variables = {"params": state.discriminator, "spectral": state.spectral["discriminator"]}
            of_fake: Any = self.discriminator.apply(variables, mask, fake)
            parts["adversarial"] = losses.hinge_generator([scale[-1] for scale in of_fake])
            if w.feature_matching:
                of_real: Any = self.discriminator.apply(variables, mask, target)
                parts["feature_matching"] = losses.feature_matching(
                    [scale[:-1] for scale in of_fake], [scale[:-1] for scale in of_real]
                )
        if w.l1:
            parts["l1"] = jnp.mean(jnp.abs(fake - target))
        if w.l2:
            parts["l2"] = jnp.mean(jnp.square(fake - target))
        if w.openeds:
            parts["openeds"] = losses.openeds(fake, target)
        if w.encode_fakes:
            variables = {"params": state.painter["encoder"], "spectral": state.spectral["encoder"]}
            own: Any = self.encoder.apply(variables, fake[:, None])
            own_style, own_features = own
            if w.style_code:
                parts["style_code"] = losses.style_code(own_style, style)
            if w.style_features:
                parts["style_features"] = losses.style_features(own_features, features)
            if w.gram:
                first = self.gram_first_layer - 1
                parts["gram"] = losses.gram_style(own_features[first:], features[first:], self.gram_order)
        return parts

    def encode(self, variables: Variables, references: jax.Array) -> jax.Array:
        """Style codes ``[N, D]`` of people, from ``references [N, k, H, W, C]`` in [-1, 1]; any k."""
        style, _ = self.encoder.apply(variables["encoder"], references)
        return style

    def synthesize(self, variables: Variables, mask: jax.Array, references: jax.Array) -> jax.Array:
        """Eyes ``[N, H, W, C]`` in [-1, 1] from masks ``[N, H, W]``, each in the style of its ``references``.

        references: ``[N, k, h, w, C]`` in [-1, 1]; any k, any size.
        """
        style = self.encode(variables, references)
        painted: Any = self.generator.apply(variables["generator"], mask, style)
        return painted

    def paint_styles(self, variables: Variables, mask: jax.Array, styles: jax.Array) -> jax.Array:
        """Every mask ``[M, H, W]`` in every style ``[S, D]``: ``[M, S, H, W, C]``. Masks are read once."""
        generator, size = self.generator, mask.shape[1:3]
        code = generator.apply(variables["generator"], mask, method=generator.read_mask)

        def paint(style):
            repeated = jnp.broadcast_to(style, (len(mask), len(style)))
            return generator.apply(variables["generator"], code, repeated, size, method=generator.paint)

        return jnp.moveaxis(jax.lax.map(paint, styles), 0, 1)

    def interpolate(self, variables: Variables, mask: jax.Array, first, second, weights: jax.Array) -> jax.Array:
        """``mask [M, H, W]`` on the way from one person to another: ``[M, len(weights), H, W, C]``.

        first, second: references ``[k, h, w, C]`` of either person (k may differ). weights: 0 = first, 1 =
            second.
        """
        a, b = (self.encode(variables, references[None]) for references in (first, second))
        weights = jnp.asarray(weights)[:, None]
        return self.paint_styles(variables, mask, (1 - weights) * a + weights * b)

    def pictures(self, state: Seg2EyeState, batch: Batch) -> jax.Array:
        """Rows of (mask, a reference, painted, true), ``[4, n, H, W, C]``."""
        eyes = batch["eyes"]
        target, references = to_float(eyes["image"][:, 0]), to_float(eyes["references"][:, 0])
        mask = eyes["mask"][:, 0]
        shades = jnp.broadcast_to((mask[..., None] / (self.generator.labels - 1)) * 2.0 - 1.0, target.shape)
        painted = self.synthesize(state.average, mask, references)
        return jnp.stack([shades, references[:, 0], painted, target])


def build(config: ml_collections.ConfigDict) -> Seg2Eye:
    """The system that ``config`` describes; raises UserError where settings contradict each other."""
    c = config.seg2eye
    dtype = jnp.dtype(config.dtype)
    if c.encoder.aggregate not in ("max", "mean", "attention"):
        raise UserError(
            f"config.seg2eye.encoder.aggregate: expected 'max', 'mean' or 'attention', found {c.encoder.aggregate!r}"
        )
    if c.loss.gram_order not in (1, 2):
        raise UserError(f"config.seg2eye.loss.gram_order: expected 1 or 2, found {c.loss.gram_order}")
    channels = config.image_shape[-1]
    weights = {name: c.loss[name] for name in Weights.__dataclass_fields__}
    return Seg2Eye(
        generator=StyleGenerator(**c.generator, channels=channels, axis_name=AXIS, dtype=dtype),
        encoder=StyleEncoder(**c.encoder, dtype=dtype),
        discriminator=PatchDiscriminator(**c.discriminator, labels=c.generator.labels, dtype=dtype),
        painter_optimiser=build_optimiser(c.painter_optimiser),
        discriminator_optimiser=build_optimiser(c.discriminator_optimiser),
        weights=Weights(**weights),
        gram_order=c.loss.gram_order,
        gram_first_layer=c.loss.gram_first_layer,
        vary_references=c.vary_references,
        mirror=c.mirror,
        averaging=c.averaging,
        steps=config.steps,
    )
