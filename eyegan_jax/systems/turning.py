"""What the networks of gaze redirection do together; how they learn is in :mod:`eyegan_jax.systems.redirect`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from eyegan_jax.images import to_gray
from eyegan_jax.layers.detail import Change, move
from eyegan_jax.networks.redirector import Redirector
from eyegan_jax.systems import draft as drafts
from eyegan_jax.systems import segmenter
from eyegan_jax.systems.draft import Draft
from eyegan_jax.systems.pairs import Redirecting, with_brightness
from eyegan_jax.systems.seg2eye import Seg2Eye
from eyegan_jax.systems.segmenter import Segmenter


@dataclass(frozen=True)
class Turning(Redirecting):
    """Finds the mask of an eye, turns it, and paints what it turned; pure functions of variables and arrays.

    context: whether the painter starts from a draft of the picture, :mod:`eyegan_jax.systems.draft`.
    """

    segmenter: Segmenter
    redirector: Redirector
    painter: Seg2Eye
    context: bool

    def draft(self, mask, image, image_mask, frame=None, flow=None) -> Draft | None:
        """See :func:`eyegan_jax.systems.draft.draft`; None without ``context``."""
        if not self.context:
            return None
        return drafts.draft(mask, image, image_mask, frame, flow if self.redirector.moves else None)

    def condition(self, mask, drafted: Draft | None, shown=None) -> jax.Array:
        """What the generator paints from, ``[N, H, W, K]``: the wanted mask and, with ``context`` and where ``shown``,
        the draft and how much of it is known."""
        if drafted is None:
            return mask
        parts = (drafted.image, drafted.known)
        if shown is not None:
            parts = tuple(part * shown[:, None, None, None] for part in parts)
        return jnp.concatenate([mask, *parts], axis=-1)

    def without_frame(self, mask) -> jax.Array:
        """Masks ``[N, H, W, 4]`` with as many classes as the segmenter tells apart: nowhere is a frame."""
        return jnp.pad(mask, ((0, 0), (0, 0), (0, 0), (0, self.segmenter.network.classes - mask.shape[-1])))

    def logits(self, variables: Mapping[str, Any], images: jax.Array) -> jax.Array:
        """The segmenter's, ``[N, H, W, 4 or 5]``, of images ``[N, H, W, C]`` in [-1, 1]; differentiable in the images.

        variables: ``state.average``, here and below.
        """
        gray = to_gray(images) if images.shape[-1] == 3 else images
        return self.segmenter.network.apply(variables["segmenter"], gray, train=False)

    def seen(self, variables: Mapping[str, Any], images: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """:meth:`masks` and the probability of a frame ``[N, H, W, 1]``; None where the segmenter knows no frames."""
        return segmenter.mask_and_frame(self.logits(variables, images))

    def masks(self, variables: Mapping[str, Any], images: jax.Array) -> jax.Array:
        """Class probabilities ``[N, H, W, 4]`` of images ``[N, H, W, C]`` in [-1, 1]; differentiable in the images."""
        return self.seen(variables, images)[0]

    def read(self, variables: Mapping[str, Any], mask: jax.Array) -> jax.Array:
        """(pitch, yaw) ``[N, 2]`` in radians of the eyes in masks ``[N, H, W, 4]``."""
        return self.redirector.apply(variables["redirector"], mask, method="read")

    def turn(
        self, variables: Mapping[str, Any], mask: jax.Array, gaze: jax.Array, seen: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Masks ``[N, H, W, 4]`` of the same eyes looking along ``gaze [N, 2]`` (pitch, yaw) in radians, and the flow
        ``[N, H, W, 2]``, (down, right) in pixels: where each pixel was before.

        seen: what :meth:`read` finds in ``mask``, where that is known already.
        """
        found: Any = self.redirector.apply(variables["redirector"], mask, gaze, seen)
        return jax.nn.softmax(found[0]), found[1]

    def encode(self, variables: Mapping[str, Any], references: jax.Array) -> jax.Array:
        """Style codes ``[N, D]`` of ``references [N, k, H, W, C]`` in [-1, 1]; any k."""
        return self.painter.encode(_of_painter(variables), references)

    def read_gaze(self, variables: Mapping[str, Any], images: jax.Array) -> jax.Array:
        """(pitch, yaw) ``[N, 2]`` in radians that the system sees in images ``[N, H, W, C]`` in [-1, 1]."""
        return self.read(variables, self.masks(variables, images))

    def change(self, variables, images, gaze, references=None, colours=None) -> Change:
        """In colour the draft is made of ``colours`` and gets the brightness of what is painted."""
        mask, frame = self.seen(variables, images)
        shown = images[:, None]
        if references is not None:
            shown = jnp.concatenate([shown, references], axis=1)
        turned, flow = self.turn(variables, mask, gaze)
        drafted = self.draft(turned, images, mask, frame, flow)
        painted = self._paint(variables, self.condition(turned, drafted), self.encode(variables, shown))
        if colours is not None:
            tinted = self.draft(turned, colours, mask, frame, flow)
            base = colours if tinted is None else tinted.image
            images, painted = colours, with_brightness(base, painted)
        arrived = jnp.zeros((*flow.shape[:3], 1)) if drafted is None else drafted.arrived
        flow = drafts.smoothed(flow, arrived) / jnp.array(images.shape[1:3])
        return Change(flow, arrived, move(images, flow, arrived), painted)

    def synthesize(self, variables: Mapping[str, Any], mask: jax.Array, references: jax.Array) -> jax.Array:
        """Eyes ``[N, H, W, C]`` painted from masks ``[N, H, W, 4]`` alone, in the style of ``references``."""
        unseen = jnp.zeros((*mask.shape[:3], references.shape[-1]))
        condition = self.condition(mask, self.draft(mask, unseen, jnp.zeros_like(mask)))
        return self._paint(variables, condition, self.encode(variables, references))

    def _paint(self, variables, condition, style) -> jax.Array:
        return jnp.clip(self.painted(variables["generator"], condition, style), -1.0, 1.0)

    def painted(self, generator, condition, style, **options) -> jax.Array:
        """The draft in the condition and, on top of it, what the generator paints.

        Norms in the generator forget brightness and contrast; what is there already need not pass through them.
        """
        painted: Any = self.painter.generator.apply(generator, condition, style, **options)
        if not self.context:
            return painted
        first = self.redirector.labels
        return condition[..., first : first + painted.shape[-1]] + painted


def _of_painter(variables):
    return {name: variables[name] for name in ("generator", "encoder")}
