"""From a wanted mask and other pictures of the same person to the picture that goes with the mask.

:class:`ResidualRefiner` is the OpenEDS 2019 synthesis winner (Buehler et al., ICCVW 2019, the "top performing model"
of the supplementary figure): one retrieved reference plus a smooth residual. :class:`ReferenceRefiner` takes several
references, moves each to where the mask wants it, trusts each where it fits, and adds a residual to their blend.
Both give back their reference exactly where they have nothing to add.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.convolution import Conv
from eyegan_jax.layers.resizing import bilinear, double, warp
from eyegan_jax.networks.deeplab import DeepLab

CLASS_MEANS = (125, 103, 76, 34)
"""Mean gray levels of the OpenEDS classes, cut to integers as published: skin, sclera, iris, pupil."""

CLASSES = 4


def paint_classes(mask: jax.Array, means: tuple[int, ...] = CLASS_MEANS) -> jax.Array:
    """Masks ``[..., H, W]`` as images ``[..., H, W, 1]`` in [-1, 1] of one gray level per class."""
    return (jnp.asarray(means, jnp.float32) / 127.5 - 1.0)[mask][..., None]


class ResidualRefiner(nn.Module):
    """The published refiner: ``clip(reference + DeepLab([painted mask, reference, painted reference mask]), -1, 1)``.

    ``__call__(mask [B, H, W], references [B, k, H, W, 1], reference_masks [B, k, H, W], train)`` uses the first,
    nearest reference and returns (image, residual), each ``[B, H, W, 1]``. Masks are integers.
    """

    body: DeepLab

    def __call__(self, mask, references, reference_masks, train: bool = False):
        reference = references[:, 0]
        inputs = [paint_classes(mask), reference, paint_classes(reference_masks[:, 0])]
        residual = self.body(jnp.concatenate(inputs, axis=-1), train)
        return jnp.clip(reference + residual, -1.0, 1.0), residual


class ReferenceRefiner(nn.Module):
    """Several references, moved, weighed and corrected; compact.

    Same call as :class:`ResidualRefiner`, any k, H and W; the order of the references does not matter. One U-Net,
    shared by all references, reads the wanted mask, a reference and its mask at a quarter of the resolution and says
    for each reference how far its pixels must move (``flow``), how much to add (residual) and how much to trust it.
    Flow and residual are smooth: detail comes from the references. Trust is a softmax over the references; a moved
    reference counts less where its moved mask disagrees with the wanted one, at full resolution. A small network at
    full resolution then mends what no reference shows, with the exact borders of the mask at hand.

    width: channels at a quarter of the resolution, doubled twice on the way down. detail: channels of the last,
        full-resolution network; 0 leaves it out. reach: movement in pixels of 1/4 resolution per unit of the flow head.
    """

    width: int = 48
    detail: int = 16
    reach: float = 4.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, mask, references, reference_masks, train: bool = False):
        del train  # No statistics of other samples, no dropout: training and use are the same function.
        batch, count, height, width, channels = references.shape
        wanted = jax.nn.one_hot(mask, CLASSES)
        shown = jax.nn.one_hot(reference_masks, CLASSES)
        repeated = jnp.broadcast_to(wanted[:, None], shown.shape)
        inputs = jnp.concatenate([repeated, shown, references], axis=-1).reshape(batch * count, height, width, -1)
        flow, residual, trust = self._read(inputs, channels)

        moved = warp(jnp.concatenate([references, shown], -1).reshape(batch * count, height, width, -1), flow)
        moved, residual, trust = (x.reshape(batch, count, height, width, -1) for x in (moved, residual, trust))
        picture, moved_mask = moved[..., :channels], moved[..., channels:]
        mismatch = 1.0 - (wanted[:, None] * moved_mask).sum(-1, keepdims=True)
        doubt = nn.softplus(self.param("doubt", nn.initializers.constant(4.0), ()))
        weights = jax.nn.softmax(trust - doubt * mismatch, axis=1)
        blend = (weights * picture).sum(1)
        residual = (weights * residual).sum(1)
        if self.detail:
            gap = (weights * mismatch).sum(1)
            residual += self._mend(jnp.concatenate([blend + residual, wanted, gap], axis=-1), channels)
        return jnp.clip(blend + residual, -1.0, 1.0), residual

    def _read(self, inputs, channels):
        """Flow in pixels ``[N, H, W, 2]`` (y, x), residual ``[N, H, W, C]`` and trust ``[N, H, W, 1]``."""
        height, width = inputs.shape[1:3]
        x = jnp.pad(inputs, ((0, 0), (0, -height % 16), (0, -width % 16), (0, 0)), mode="edge")
        x = _space_to_depth(x, 4).astype(self.dtype)
        x = self._block(Conv(self.width, 1, dtype=self.dtype, name="stem")(x), "in")
        quarter = x
        x = self._block(Conv(2 * self.width, 3, 2, dtype=self.dtype, name="down1")(x), "half")
        half = x
        x = Conv(4 * self.width, 3, 2, dtype=self.dtype, name="down2")(x)
        for i in range(2):
            x = self._block(x, f"bottom{i + 1}")
        x = Conv(2 * self.width, 1, dtype=self.dtype, name="up1")(double(x)) + half
        x = self._block(x, "half_out")
        x = Conv(self.width, 1, dtype=self.dtype, name="up2")(double(x)) + quarter
        x = nn.silu(self._block(x, "out"))
        # Zero heads: training starts from the plain mean of the references.
        zero = nn.initializers.zeros
        heads = Conv(3 + channels, 3, kernel_init=zero, name="heads")(x)
        full = bilinear(heads, (4 * x.shape[1], 4 * x.shape[2]), align_corners=True)[:, :height, :width]
        return 4.0 * self.reach * full[..., :2], full[..., 3:], full[..., 2:3]

    def _block(self, x, name):
        """Pre-activation residual block of two 3x3 convolutions."""
        features = x.shape[-1]
        y = Conv(features, 3, dtype=self.dtype, name=f"{name}_a")(nn.silu(x))
        return x + Conv(features, 3, dtype=self.dtype, name=f"{name}_b")(nn.silu(y))

    def _mend(self, x, channels):
        for i in range(2):
            x = nn.silu(Conv(self.detail, 3, dtype=self.dtype, name=f"mend{i + 1}")(x))
        return Conv(channels, 3, kernel_init=nn.initializers.zeros, name="mend3")(x)


def _space_to_depth(x, factor: int):
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // factor, factor, width // factor, factor, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height // factor, width // factor, -1)
