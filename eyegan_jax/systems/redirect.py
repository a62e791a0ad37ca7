"""Subject-guided gaze redirection: a person's eye repainted as it would look elsewhere.

A reconstruction after Kaur and Manduchi, "Subject guided eye image synthesis with application to gaze redirection"
(WACV 2021), from its abstract and descriptions; code and layer sizes are not public. Three stages, each of which
learns from the masks of the stage before:

1. A segmenter finds the mask of an eye; it learns from simulated eyes of all kinds.
2. A redirector turns the mask to a wanted gaze and says from where each point of the eyeball comes; it learns from
   pairs of simulated pictures, the only gaze labels.
3. A style generator paints the turned mask in the style of one to four pictures of the person. It learns from
   simulated pairs, where the truth is known, and in cycles from real pictures, of which nothing is known: there, back
   by the mask and the style of what was painted, and equal to the start.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import ml_collections
import optax

from eyegan_jax import losses
from eyegan_jax.data.augmentation import OTHER_CAMERA, augment
from eyegan_jax.errors import UserError
from eyegan_jax.gaze import vector_to_angles
from eyegan_jax.images import to_float, to_gray
from eyegan_jax.layers import keys as random_keys
from eyegan_jax.networks.redirector import Redirector
from eyegan_jax.pictures import MASK_COLOURS
from eyegan_jax.systems import seg2eye, segmenter
from eyegan_jax.systems.base import (
    Batch,
    Metrics,
    Phase,
    mean_over_devices,
    of_the_size,
    sample_keys,
    value_and_mean_gradient,
    vary,
)
from eyegan_jax.systems.optimisers import build_optimiser
from eyegan_jax.systems.pairs import PURPOSES, coin, either, labelled, together, unlabelled
from eyegan_jax.systems.seg2eye import Seg2EyeState
from eyegan_jax.systems.segmenter import SegmenterState
from eyegan_jax.systems.turning import Turning

REACH = (25.0, 30.0)
"""Largest pitch and yaw in degrees that the simulated eyes of the training take in their heads."""

COIN, WISH, HIDE, CAMERA = range(PURPOSES, PURPOSES + 4)
"""Purposes of a sample's keys, beside those of :mod:`eyegan_jax.systems.pairs`."""


PARTS = {"segmenter": ("segmenter",), "redirector": ("redirector",), "painter": ("generator", "encoder")}
"""What ``config.start`` can name, with the networks that each part consists of."""


class RedirectState(flax.struct.PyTreeNode):
    """Arrays only. ``average`` is what is used after training: the averaged variables of all four networks."""

    step: jax.Array
    segmenter: SegmenterState
    redirector: Any
    redirector_optimiser: Any
    painter: Seg2EyeState
    average: dict[str, Any]


@dataclass(frozen=True)
class Weights:
    """Of the painter's losses beside those of :class:`eyegan_jax.systems.seg2eye.Weights`.

    adversarial: of real eyes turned away. mask: of the segmenter's opinion of what was turned. cycle: of the way back;
    not computed where it is 0. style: of the style that the encoder finds in a turned eye.
    """

    adversarial: float
    mask: float
    cycle: float
    style: float


@dataclass(frozen=True)
class Redirect(Turning):
    """Networks, weights and schedule of one run; immutable. See ``configs/redirect.py`` for every field.

    Streams: "eyes" (``image``, ``mask``, ``frame``) for the segmenter; "pairs" (``image``, ``mask``, ``gaze``, the same
    with ``target_`` in front, ``motion``, ``references [k, H, W, C]``) of simulated people; "real" (``image`` and,
    where there are several pictures of a person, ``references``), of which no label is read.
    """

    redirector_optimiser: optax.GradientTransformation
    weights: Weights
    context_share: float
    reading_weight: float
    motion_weight: float
    averaging: float
    segmenter_steps: int
    redirector_steps: int
    steps: int

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("segment", self.segmenter_steps, self.segmenting_step, {"eyes": 1}),
            Phase("redirect", self.redirector_steps, self.redirecting_step, {"pairs": 1}),
            Phase("paint", self.steps, self.painting_step, {"pairs": 1, "real": 1}),
        )

    def init(self, key: jax.Array, batch: Batch, devices: int) -> RedirectState:
        segmenting = self.segmenter.init(jax.random.fold_in(key, 0), batch, devices)
        pairs = {name: value[:1] for name, value in batch["pairs"].items()}
        mask = jax.nn.one_hot(pairs["mask"][:, 0], self.redirector.labels)
        compact = random_keys.compact(key)
        gaze = jnp.zeros((1, 2))
        redirector = self.redirector.init(jax.random.fold_in(compact, 1), mask, gaze)["params"]
        painted = {
            "image": pairs["image"],
            "mask": self.condition(mask, self.draft(mask, to_float(pairs["image"][:, 0]), mask))[:, None],
            "references": pairs["references"],
        }
        painter = self.painter.init(jax.random.fold_in(key, 2), {"eyes": painted}, devices)
        # The discriminator judges by the mask alone: what surrounds the eye would tell it which pictures are turned.
        network = self.painter.discriminator
        critic = network.init(jax.random.fold_in(compact, 3), mask, to_float(pairs["image"][:, 0]))
        painter = painter.replace(
            discriminator=critic["params"],
            spectral=painter.spectral | {"discriminator": critic["spectral"]},
            discriminator_optimiser=self.painter.discriminator_optimiser.init(critic["params"]),
        )
        average = {"segmenter": segmenting.average, "redirector": {"params": redirector}, **painter.average}
        return RedirectState(
            step=jnp.zeros((), jnp.int32),
            segmenter=segmenting,
            redirector=redirector,
            redirector_optimiser=self.redirector_optimiser.init(redirector),
            painter=painter,
            average=jax.tree.map(jnp.copy, average),
        )

    def start_from(self, state: RedirectState, trained: Mapping[str, Any]) -> RedirectState:
        """``state`` with networks that are trained already: averaged variables for any of :data:`PARTS`.

        Optimisers and the discriminator start afresh. Raises UserError for networks of other sizes.
        """
        average = dict(state.average)
        for part, found in trained.items():
            for name in PARTS[part]:
                average[name] = of_the_size(f"config.start.{part}", name, average[name], found.get(name))
        segmenting, painter = state.segmenter, state.painter
        if "segmenter" in trained:
            segmenting = segmenting.replace(**average["segmenter"], average=average["segmenter"])
        if "painter" in trained:
            named = {name: average[name] for name in PARTS["painter"]}
            painter = painter.replace(
                painter={name: variables["params"] for name, variables in named.items()},
                spectral=painter.spectral | {name: variables["spectral"] for name, variables in named.items()},
                average=named,
            )
        redirector = average["redirector"]["params"] if "redirector" in trained else state.redirector
        state = state.replace(segmenter=segmenting, redirector=redirector, painter=painter, average=average)
        # A step gives every array away, so none may be there twice.
        return jax.tree.map(jnp.copy, state)

    def sharding(self, state: RedirectState) -> RedirectState:
        return jax.tree.map(lambda _: False, state)

    @property
    def _choices(self) -> dict[str, bool]:
        return {"mirror": self.painter.mirror, "vary": self.painter.vary_references}

    # Stage 1

    def segmenting_step(self, state: RedirectState, batch: Batch, key: jax.Array) -> tuple[RedirectState, Metrics]:
        """One step of the segmenter on simulated eyes."""
        inner, metrics = self.segmenter.training_step(state.segmenter, batch, key)
        return state.replace(segmenter=inner, average=state.average | {"segmenter": inner.average}), metrics

    # Stage 2

    def redirecting_step(self, state: RedirectState, batch: Batch, key: jax.Array) -> tuple[RedirectState, Metrics]:
        """One step of the redirector: there, staying, and back from its own mask; and of the reading of gaze."""
        keys = sample_keys(key, batch["pairs"]["image"].shape[0])
        eyes = labelled(batch["pairs"], keys, **self._choices)
        true, turned = (jax.nn.one_hot(m, self.redirector.labels) for m in (eyes.mask, eyes.target_mask))
        # What it is given in use are the segmenter's masks, of pictures of any camera; the true ones keep it exact.
        gray = to_gray(eyes.image) if eyes.image.shape[-1] == 3 else eyes.image
        cameras = jax.vmap(lambda k: jax.random.fold_in(k, CAMERA))(keys)
        pictures, _ = jax.vmap(partial(augment, how=OTHER_CAMERA))(cameras, gray, eyes.mask)
        given = either(coin(keys, COIN), self.masks(state.average, pictures), true)

        def loss(params):
            move = partial(self.redirector.apply, {"params": params})
            count = len(given)
            found = move(jnp.concatenate([given, turned]), method="read")
            # Going and staying in one pass.
            twice = jnp.concatenate([found[:count], found[:count]])
            first, flow = move(jnp.concatenate([given, given]), jnp.concatenate([eyes.wanted, eyes.gaze]), twice)
            back, _ = move(jax.nn.softmax(first[:count]), eyes.gaze)
            logits = jnp.concatenate([first, back])
            truth = jnp.concatenate([turned, true, true])
            wrong = found - jnp.concatenate([eyes.gaze, eyes.wanted])
            parts = {
                "entropy": losses.mask_cross_entropy(logits, truth),
                "dice": losses.generalised_dice(logits, truth.argmax(-1)),
                "reading": jnp.mean(jnp.sum(jnp.square(wrong), axis=-1)),
            }
            total = parts["entropy"] + parts["dice"] + self.reading_weight * parts["reading"]
            if self.redirector.moves:
                # An eye that stays comes from where it is.
                still = jnp.zeros_like(eyes.motion).at[..., 2].set(eyes.mask > 0)
                parts["motion"] = losses.motion_error(flow, jnp.concatenate([eyes.motion, still]))
                total += self.motion_weight * parts["motion"]
            degrees = jnp.degrees(jnp.mean(jnp.linalg.norm(wrong, axis=-1)))
            right = jnp.mean(first[:count].argmax(-1) == eyes.target_mask)
            shown = {f"loss/{name}": part for name, part in parts.items()}
            return total, shown | {"error/gaze_degrees": degrees, "accuracy/pixels": right}

        (value, parts), gradient = value_and_mean_gradient(loss, state.redirector)
        updates, optimiser = self.redirector_optimiser.update(gradient, state.redirector_optimiser, state.redirector)
        redirector = optax.apply_updates(state.redirector, updates)
        average = optax.incremental_update(redirector, state.average["redirector"]["params"], 1.0 - self.averaging)
        metrics = mean_over_devices(parts) | {"loss/redirector": value}
        metrics["gradient/redirector"] = optax.tree.norm(gradient)
        state = state.replace(
            redirector=redirector,
            redirector_optimiser=optimiser,
            average=state.average | {"redirector": {"params": average}},
        )
        return state, metrics

    # Stage 3

    def painting_step(self, state: RedirectState, batch: Batch, key: jax.Array) -> tuple[RedirectState, Metrics]:
        """One step of generator and encoder, and one of the discriminator on the same pictures."""
        keys = sample_keys(key, batch["pairs"]["image"].shape[0])
        pairs = labelled(batch["pairs"], keys, **self._choices)
        real = unlabelled(batch["real"], keys, **self._choices)
        tools, count = state.average, len(keys)
        both = jnp.concatenate([pairs.image, real.image])
        seen, frame = self.seen(tools, both)
        home = self.read(tools, seen)
        reach = jnp.radians(jnp.array(REACH))
        away = jax.vmap(lambda k: jax.random.uniform(jax.random.fold_in(k, WISH), (2,), minval=-1.0))(keys) * reach
        turned, flow = self.turn(tools, seen, jnp.concatenate([pairs.wanted, away]), home)
        # Half of the simulated eyes by their true mask, half by the redirector's, as in use.
        true = jax.nn.one_hot(pairs.target_mask, self.redirector.labels)
        shown = either(coin(keys, COIN), turned[:count], true)
        masks = jnp.concatenate([shown, seen[count:], turned[count:]])
        target = jnp.concatenate([pairs.target, real.image])
        with_context = jnp.tile(coin(keys, HIDE, self.context_share), 3)
        repeated = jnp.concatenate([jnp.arange(2 * count), jnp.arange(count, 2 * count)])
        drafts = self.draft(jnp.concatenate([shown, turned[count:]]), both, seen, frame, flow)
        # Rebuilt from its own pixels a real eye would teach nothing: there its inside is not shown.
        rebuilt = self.draft(seen[count:], real.image, seen[count:], None if frame is None else frame[count:])
        drafts = jax.tree.map(lambda d, r: jnp.concatenate([d[:count], r, d[count:]]), drafts, rebuilt)
        condition = self.condition(masks, drafts, with_context)
        people, present = together(pairs, real)

        def loss(painter):
            def encode(params, *pictures):
                variables = {"params": params["encoder"], "spectral": state.painter.spectral["encoder"]}
                return self.painter.encoder.apply(variables, *pictures)

            paint = partial(self.painted, self.painter.generator_variables(painter, state.painter), train=True)
            style, features = encode(painter, people, present)
            images = paint(condition, style[repeated])
            made, aside = images[: 2 * count], images[2 * count :]
            parts = self.painter.generator_losses(state.painter, masks[: 2 * count], made, target, style, features)
            total = sum(getattr(self.painter.weights, name) * value for name, value in parts.items())
            # What the segmenter sees in painted pictures has to be what was asked for, without glasses.
            found = self.logits(tools, jnp.concatenate([images[:count], aside]))
            # The encoder only measures here: it must not learn to see the same style everywhere.
            own_style, _ = encode(state.painter.painter, aside[:, None])
            extra = {
                "mask": losses.mask_cross_entropy(found, self.without_frame(jnp.concatenate([true, turned[count:]]))),
                "style": losses.style_code(own_style, style[count:]),
            }
            if self.weights.cycle:
                mask, glasses = segmenter.mask_and_frame(found[count:])
                returned, way = self.turn(tools, mask, home[count:])
                back = paint(self.condition(returned, self.draft(returned, aside, mask, glasses, way)), own_style)
                extra["cycle"] = jnp.mean(jnp.abs(back - real.image))
            if self.weights.adversarial:
                critic = {"params": state.painter.discriminator, "spectral": state.painter.spectral["discriminator"]}
                scales: Any = self.painter.discriminator.apply(critic, turned[count:], aside)
                extra["adversarial"] = losses.hinge_generator([scale[-1] for scale in scales])
            total += sum(getattr(self.weights, name) * value for name, value in extra.items())
            parts = {f"loss/{name}": value for name, value in parts.items()}
            parts |= {f"loss/turned_{name}": value for name, value in extra.items()}
            return total, (parts, jax.lax.stop_gradient(images))

        # vary: gradients are those of this device, averaged below, see systems.base.
        (value, (parts, images)), gradient = jax.value_and_grad(loss, has_aux=True)(vary(state.painter.painter))
        gradient = mean_over_devices(gradient)
        metrics = mean_over_devices(parts | {"loss/painter": value}) | {"gradient/painter": optax.tree.norm(gradient)}
        painter = state.painter
        if self.painter.weights.criticise:
            # Painted, rebuilt and turned pictures against the truth and, twice, the real ones.
            real_masks = jnp.concatenate([shown, seen[count:], seen[count:]])
            truth = jnp.concatenate([target, real.image])
            painter, of_critic = self.painter.update_discriminator(painter, masks, images, real_masks, truth)
            metrics |= of_critic
        painter = self.painter.update_painter(painter, gradient, {})
        return state.replace(painter=painter, average=state.average | painter.average), metrics

    def pictures(self, state: RedirectState, batch: Batch) -> jax.Array:
        """Rows of (simulated eye, mask, turned mask, turned eye, truth, real eye, real eye turned by 15 degrees)."""
        image, target = (to_float(batch["pairs"][name][:, 0]) for name in ("image", "target_image"))
        wanted = vector_to_angles(batch["pairs"]["target_gaze"][:, 0])
        real, variables = to_float(batch["real"]["image"][:, 0]), state.average
        seen = self.masks(variables, image)
        aside = self.read_gaze(variables, real) + jnp.radians(jnp.array([0.0, 15.0]))
        turned, _ = self.turn(variables, seen, wanted)
        rows = [image, _coloured(seen), _coloured(turned), self.redirect(variables, image, wanted), target]
        rows += [real, self.redirect(variables, real, aside)]
        shape = (*image.shape[:3], max(row.shape[-1] for row in rows))
        return jnp.stack([jnp.broadcast_to(row, shape) for row in rows])


def _coloured(mask) -> jax.Array:
    return to_float(jnp.asarray(MASK_COLOURS))[mask.argmax(-1)]


def build(config: ml_collections.ConfigDict) -> Redirect:
    """The system that ``config`` describes; raises UserError for settings that contradict each other."""
    c = config.redirect
    classes = config.segmenter.classes
    if classes not in ("eye", "eye_and_frame"):
        raise UserError(
            f"config.segmenter.classes: expected 'eye' or 'eye_and_frame' for redirection, found {classes!r}"
        )
    if config.seg2eye.generator.statistics != "instance":
        raise UserError("config.seg2eye.generator.statistics: expected 'instance' for redirection, found 'batch'")
    if not config.data.pairs.get("references"):
        raise UserError("config.data.pairs.references: expected at least 1 further picture of a person, found 0")
    # Gradients pass through the segmenter, so it reads pictures as they are; its losses have no schedule of their own.
    plain = dataclasses.replace(segmenter.build(config), equalised=False, boundary_steps=0)
    return Redirect(
        segmenter=plain,
        redirector=Redirector(**c.redirector, dtype=jnp.dtype(config.dtype)),
        painter=seg2eye.build(config),
        redirector_optimiser=build_optimiser(c.redirector_optimiser),
        weights=Weights(**c.loss),
        context=c.context,
        context_share=c.context_share,
        reading_weight=c.reading_weight,
        motion_weight=c.get("motion_weight", 0.0),
        averaging=c.averaging,
        segmenter_steps=c.segmenter_steps,
        redirector_steps=c.redirector_steps,
        steps=config.steps,
    )
