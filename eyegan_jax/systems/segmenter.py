"""The eye segmenter as a system: RITnet's network and losses on images with masks."""

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
from eyegan_jax.data.augmentation import WIDE, Augmentation, augment
from eyegan_jax.data.preprocessing import border_weights, equalise, signed_distances
from eyegan_jax.errors import UserError
from eyegan_jax.images import to_float, to_gray, to_uint8
from eyegan_jax.layers import keys
from eyegan_jax.networks.segmenter import RITnet
from eyegan_jax.pictures import MASK_COLOURS
from eyegan_jax.systems.base import (
    AXIS,
    Batch,
    Metrics,
    Phase,
    mean_over_devices,
    sample_keys,
    value_and_mean_gradient,
)
from eyegan_jax.systems.optimisers import build_optimiser

PUPIL = 3
"""The pupil's id in OpenEDS masks."""

CLASSES = {"eye": 4, "pupil": 2, "eye_and_frame": 5}
"""What a segmenter tells apart: the four OpenEDS classes, the pupil from everything else, or the four and the frame of
glasses where it lies on skin; on an eye the eye is the class."""

FRAME = 4
"""The id of a frame on skin."""

DROPOUT = 2**31
"""Folded into a step's key for its dropout masks; smaller numbers are positions in the batch."""

AUGMENTATIONS = {"none": None, "ritnet": Augmentation(), "wide": WIDE}


class SegmenterState(flax.struct.PyTreeNode):
    """Arrays only. ``average`` holds moving averages of params and batch_stats: the variables to use afterwards."""

    step: jax.Array
    params: Any
    batch_stats: Any
    average: Any
    optimiser: Any


@dataclass(frozen=True)
class Segmenter:
    """Network, losses and augmentation of one run; immutable. See ``configs/segmenter.py`` for every field.

    boundary_steps: number of steps over which the weight goes from the boundary term to the Dice term; the Dice
        term alone has weight 1 afterwards. 0 leaves the boundary term out.
    """

    network: Any  # RITnet
    optimiser: optax.GradientTransformation
    augmentation: Augmentation | None
    equalised: bool
    border_weight: float
    boundary_steps: int
    averaging: float
    steps: int

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("train", self.steps, self.training_step, {"eyes": 1}),)

    def init(self, key: jax.Array, batch: Batch, devices: int) -> SegmenterState:
        del devices
        images = self.prepare(batch["eyes"]["image"][:1, 0])
        variables = self.network.init(keys.compact(key), images)
        return SegmenterState(
            step=jnp.zeros((), jnp.int32),
            params=variables["params"],
            batch_stats=variables["batch_stats"],
            average=jax.tree.map(jnp.copy, dict(variables)),
            optimiser=self.optimiser.init(variables["params"]),
        )

    def sharding(self, state: SegmenterState) -> SegmenterState:
        return jax.tree.map(lambda _: False, state)

    def prepare(self, images: jax.Array) -> jax.Array:
        """uint8 ``[..., H, W, 1 or 3]`` to what the network reads: gray, equalised, float32 in [-1, 1]."""
        if images.shape[-1] == 3:
            images = jnp.round(to_gray(images.astype(jnp.float32))).astype(jnp.uint8)
        return to_float(equalise(images) if self.equalised else images)

    def truth(self, eyes: Mapping[str, jax.Array]) -> jax.Array:
        """This network's classes ``[B, H, W]`` from OpenEDS ids ``mask [B, 1, H, W]`` and, where it knows frames, bool
        ``frame``.
        """
        mask = eyes["mask"][:, 0].astype(jnp.int32)
        if self.network.classes == CLASSES["pupil"]:
            return (mask == PUPIL).astype(jnp.int32)
        if self.network.classes == CLASSES["eye_and_frame"]:
            if "frame" not in eyes:
                raise UserError("config.data.fields.eyes: expected 'frame' for segmenter.classes 'eye_and_frame'")
            return jnp.where((mask == 0) & (eyes["frame"][:, 0] > 0), FRAME, mask)
        return mask

    def training_step(self, state: SegmenterState, batch: Batch, key: jax.Array) -> tuple[SegmenterState, Metrics]:
        """One descent. batch: "eyes" with uint8 image ``[B, 1, H, W, C]``, mask ``[B, 1, H, W]`` and, for frames,
        bool ``frame [B, 1, H, W]``.
        """
        images, masks = batch["eyes"]["image"][:, 0], self.truth(batch["eyes"])
        if self.augmentation is not None:
            if images.shape[-1] == 3:
                images = to_uint8(to_gray(to_float(images)))
            each = sample_keys(key, len(images))
            changed, masks = jax.vmap(partial(augment, how=self.augmentation))(each, to_float(images), masks)
            images = to_uint8(changed)
        inputs = self.prepare(images)
        weights = border_weights(masks, self.border_weight)
        dropout = keys.compact(jax.random.fold_in(jax.random.fold_in(key, DROPOUT), jax.lax.axis_index(AXIS)))

        def loss(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            logits, updated = self.network.apply(
                variables, inputs, train=True, mutable=["batch_stats"], rngs={"dropout": dropout}
            )
            entropy = losses.weighted_cross_entropy(logits, masks, weights)
            dice = losses.generalised_dice(logits, masks)
            parts = {"loss/entropy": entropy, "loss/dice": dice}
            total = entropy + dice
            if self.boundary_steps:
                border = losses.boundary(logits, signed_distances(masks, self.network.classes))
                share = jnp.maximum(1.0 - state.step / self.boundary_steps, 0.0)
                # Dice from weight 0 to 1 while the boundary term goes from 1 to 0.
                total = entropy + (1.0 - share) * dice + share * border
                parts |= {"loss/boundary": border}
            accuracy = {"accuracy/pixels": jnp.mean(logits.argmax(-1) == masks)}
            return total, (parts | accuracy, updated["batch_stats"])

        (value, (parts, batch_stats)), gradient = value_and_mean_gradient(loss, state.params)
        updates, optimiser = self.optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, updates)
        average = optax.incremental_update(
            {"params": params, "batch_stats": batch_stats}, state.average, 1.0 - self.averaging
        )
        metrics = mean_over_devices(parts) | {"loss/segmenter": value, "gradient/segmenter": optax.tree.norm(gradient)}
        return state.replace(params=params, batch_stats=batch_stats, average=average, optimiser=optimiser), metrics

    def pictures(self, state: SegmenterState, batch: Batch) -> jax.Array:
        """Rows of (image, true mask, predicted mask) in colour, ``[3, n, H, W, 3]``."""
        images = batch["eyes"]["image"][:, 0]
        predicted = self.segment(state.average, images).argmax(-1)
        gray = jnp.broadcast_to(to_float(images), (*images.shape[:-1], 3))
        return jnp.stack([gray, self._coloured(self.truth(batch["eyes"])), self._coloured(predicted)])

    def _coloured(self, masks: jax.Array) -> jax.Array:
        colours = MASK_COLOURS[[0, PUPIL]] if self.network.classes == CLASSES["pupil"] else MASK_COLOURS
        return to_float(jnp.asarray(colours))[masks]

    def segment(self, variables: Any, images: jax.Array) -> jax.Array:
        """Class probabilities ``[B, H, W, 4 or 2]`` of uint8 ``images [B, H, W, 1 or 3]``, any height and width.

        variables: ``state.average`` of a trained state. The argmax over the last axis is the mask; a frame is skin.
        """
        return jax.nn.softmax(frame_as_skin(self.network.apply(variables, self.prepare(images), train=False)))


def frame_as_skin(logits: jax.Array) -> jax.Array:
    """Logits ``[..., 4]`` of the OpenEDS classes, where a frame is part of the skin, from ``[..., 4 or 5]``; others as
    they are.
    """
    if logits.shape[-1] != CLASSES["eye_and_frame"]:
        return logits
    skin = jnp.logaddexp(logits[..., 0], logits[..., FRAME])
    return jnp.concatenate([skin[..., None], logits[..., 1:FRAME]], axis=-1)


def mask_and_frame(logits: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """Probabilities ``[..., 4]`` of the OpenEDS classes and ``[..., 1]`` of a frame; None of a network without it."""
    frame = jax.nn.softmax(logits)[..., FRAME:] if logits.shape[-1] == CLASSES["eye_and_frame"] else None
    return jax.nn.softmax(frame_as_skin(logits)), frame


def build(config: ml_collections.ConfigDict) -> Segmenter:
    """The system that ``config`` describes; raises UserError where a setting is unknown."""
    c = config.segmenter
    for name, known in (("classes", CLASSES), ("augmentation", AUGMENTATIONS)):
        if c[name] not in known:
            raise UserError(f"config.segmenter.{name}: expected one of {list(known)}, found {c[name]!r}")
    return Segmenter(
        network=RITnet(
            classes=CLASSES[c.classes],
            features=c.features,
            levels=c.levels,
            dropout=c.dropout,
            initialisation=c.initialisation,
            axis_name=AXIS,
            dtype=jnp.dtype(config.dtype),
        ),
        optimiser=build_optimiser(c.optimiser),
        augmentation=AUGMENTATIONS[c.augmentation],
        equalised=c.equalised,
        border_weight=c.border_weight,
        boundary_steps=int(c.boundary_share * config.steps),
        averaging=c.averaging,
        steps=config.steps,
    )
