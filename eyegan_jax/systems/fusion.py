"""Retrieval and painting in one: pixels are reused where masks agree and painted where they do not.

A Seg2Eye painter learns first. Then a :class:`~eyegan_jax.networks.residual_refiner.ReferenceRefiner` learns to put the
picture together from the retrieved references and the painter's picture, which joins them as one more reference: it
fits the wanted mask everywhere but is nobody's photograph. Where real pixels can be moved into place they are trusted.
"""

from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import ml_collections

from eyegan_jax.errors import UserError
from eyegan_jax.networks.residual_refiner import ReferenceRefiner, paint_classes
from eyegan_jax.systems import residual, seg2eye
from eyegan_jax.systems.base import Batch, Metrics, Phase
from eyegan_jax.systems.residual import Residual, ResidualState, samples
from eyegan_jax.systems.seg2eye import Seg2Eye, Seg2EyeState, Variables


class FusionState(flax.struct.PyTreeNode):
    """The states of both systems; ``painter`` rests in the second phase, ``refiner`` in the first."""

    step: jax.Array
    painter: Seg2EyeState
    refiner: ResidualState


@dataclass(frozen=True)
class Fusion:
    """A Seg2Eye and a residual refiner; the stream "eyes" is that of :class:`eyegan_jax.systems.residual.Residual`."""

    painter: Seg2Eye
    refiner: Residual
    painting_steps: int
    steps: int

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("paint", self.painting_steps, self.painting_step, {"eyes": 1}),
            Phase("fuse", self.steps, self.fusing_step, {"eyes": 1}),
        )

    def init(self, key: jax.Array, batch: Batch, devices: int) -> FusionState:
        return FusionState(
            step=jnp.zeros((), jnp.int32),
            painter=self.painter.init(jax.random.fold_in(key, 0), batch, devices),
            refiner=self.refiner.init(jax.random.fold_in(key, 1), batch, devices),
        )

    def sharding(self, state: FusionState) -> FusionState:
        return jax.tree.map(lambda _: False, state)

    def painting_step(self, state: FusionState, batch: Batch, key: jax.Array) -> tuple[FusionState, Metrics]:
        """One step of Seg2Eye."""
        painter, metrics = self.painter.adversarial_step(state.painter, batch, key)
        return state.replace(painter=painter), metrics

    def fusing_step(self, state: FusionState, batch: Batch, key: jax.Array) -> tuple[FusionState, Metrics]:
        """One step of the refiner on the references and the painting."""
        mask, target, references, reference_masks = samples(batch)
        shown, shown_masks = self._with_painting(state.painter.average, mask, references, reference_masks)
        refiner, metrics = self.refiner.update(state.refiner, mask, target, shown, shown_masks, key)
        return state.replace(refiner=refiner), metrics

    def _with_painting(self, variables: Variables, mask, references, reference_masks):
        painting = jax.lax.stop_gradient(self.painter.synthesize(variables, mask, references))
        masks = [reference_masks, mask[:, None].astype(reference_masks.dtype)]
        return jnp.concatenate([references, painting[:, None]], axis=1), jnp.concatenate(masks, axis=1)

    def variables(self, state: FusionState) -> dict[str, Any]:
        """What :meth:`refine` takes: the averaged networks of both systems."""
        return {"painter": state.painter.average, "refiner": state.refiner.average}

    def refine(self, variables: Any, mask: jax.Array, references: jax.Array, reference_masks: jax.Array) -> jax.Array:
        """Eyes ``[B, H, W, 1]`` in [-1, 1]; arguments as of :meth:`eyegan_jax.systems.residual.Residual.refine`."""
        shown = self._with_painting(variables["painter"], mask, references, reference_masks)
        return self.refiner.refine(variables["refiner"], mask, *shown)

    def pictures(self, state: FusionState, batch: Batch) -> jax.Array:
        """Rows of (nearest reference, its mask, wanted mask, painting, result, target), ``[6, n, H, W, 1]``."""
        mask, target, references, reference_masks = samples(batch)
        variables = self.variables(state)
        painting = self.painter.synthesize(variables["painter"], mask, references)
        image = self.refine(variables, mask, references, reference_masks)
        painted = paint_classes(reference_masks[:, 0]), paint_classes(mask)
        return jnp.stack([references[:, 0], *painted, painting, image, target])


def build(config: ml_collections.ConfigDict) -> Fusion:
    """The system that ``config`` describes; raises UserError where the refiner takes a single reference only."""
    refiner = residual.build(config)
    if not isinstance(refiner.network, ReferenceRefiner):
        raise UserError(f"config.residual.network: expected 'references' for fusion, found {config.residual.network!r}")
    return Fusion(
        painter=seg2eye.build(config),
        refiner=refiner,
        painting_steps=config.fusion.painting_steps,
        steps=config.steps,
    )
