"""Seg2Eye's generator: paints an eye into a mask, in the style of a person (Buehler et al., ICCVW 2019).

A stack of residual blocks from a few pixels up to the full size. Before every convolution the mask modulates
the features per pixel (SPADE, Park et al. 2019) and the style code per channel (AdaIN, Huang and Belongie
2017).
"""

from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.errors import UserError
from eyegan_jax.layers.convolution import Conv
from eyegan_jax.layers.normalisation import EPSILON, batch_moments, instance_statistics, normalise
from eyegan_jax.layers.resizing import double, nearest
from eyegan_jax.layers.spectral import SpectralConv

MaskCode = dict[str, Any]
"""All that the generator reads from a mask: a pytree of arrays with the batch in front."""

xavier = nn.initializers.variance_scaling(0.02**2, "fan_avg", "normal")
"""Xavier-normal with gain 0.02, the initialisation of the released generator, discriminator and encoder."""


def leaky(x):
    return nn.leaky_relu(x, 0.2)


def one_hot(mask, labels: int):
    """Integer ``[N, H, W]`` to float ``[N, H, W, labels]``; anything with a channel axis passes as it is."""
    if mask.ndim == 4:
        return mask
    return jax.nn.one_hot(mask, labels, dtype=jnp.float32)


class MaskModulation(nn.Module):
    """``gamma(m)`` and ``beta(m)`` of one or more SPADE layers: ``[N, h, w, labels]`` to a list of pairs.

    conv3x3 to ``features`` maps, ReLU, then one conv3x3 for all gammas and betas at once: they read the same
    maps, and one wide convolution is faster than many narrow ones.
    """

    outputs: tuple[int, ...]
    features: int
    dtype: Any

    @nn.compact
    def __call__(self, mask: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        parts = [channels for channels in self.outputs for _ in range(2)]

        def separately(key, shape, dtype):
            """Every gamma and beta has the initialisation of a convolution of its own."""
            keys = jax.random.split(key, len(parts))
            kernels = [xavier(k, (*shape[:-1], n), dtype) for k, n in zip(keys, parts, strict=True)]
            return jnp.concatenate(kernels, axis=-1)

        def conv(features, init, name):
            return Conv(features, 3, padding=1, dtype=self.dtype, kernel_init=init, name=name)

        trunk = nn.relu(conv(self.features, xavier, "trunk")(mask))
        maps = conv(sum(parts), separately, "gamma_beta")(trunk)
        splits = [sum(parts[: i + 1]) for i in range(len(parts) - 1)]
        pieces = jnp.split(maps, splits, axis=-1)
        return list(zip(pieces[::2], pieces[1::2], strict=True))


class Normaliser(nn.Module):
    """Parameter-free normalisation in front of SPADE, ``[N, H, W, C] -> [N, H, W, C]``.

    "instance": per sample, the same in training and use. "batch": over samples, height and width, as in the
    seed's equations, across the devices of ``axis_name``; after training by running averages (collection
    ``batch_stats``).
    """

    statistics: str
    axis_name: str | None
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if self.statistics == "instance":
            return normalise(x, *instance_statistics(x))
        shape = (1, 1, 1, x.shape[-1])
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        variance = self.variable("batch_stats", "variance", jnp.ones, shape)
        if not train:
            return normalise(x, mean.value, jnp.sqrt(variance.value + EPSILON))
        now = batch_moments(x, self.axis_name)
        for running, value in zip((mean, variance), now, strict=True):
            running.value = self.momentum * running.value + (1 - self.momentum) * jax.lax.stop_gradient(value)
        return normalise(x, now[0], jnp.sqrt(now[1] + EPSILON))


class StyleBlock(nn.Module):
    """SPADE+Style residual block, ``[N, h, w, inputs] -> [N, h, w, outputs]``; see
    :class:`StyleGenerator`.
    """

    inputs: int
    outputs: int
    mask_features: int
    shared_trunk: bool
    modulation: str
    statistics: str
    raw_adain: bool
    axis_name: str | None
    dtype: Any

    def setup(self):
        middle = min(self.inputs, self.outputs)
        channels = [self.inputs, middle] + ([self.inputs] if self.inputs != self.outputs else [])
        if self.modulation != "adain":
            groups = [tuple(channels)] if self.shared_trunk else [(n,) for n in channels]
            self.mask = [MaskModulation(group, self.mask_features, self.dtype) for group in groups]
            self.content = [Normaliser(self.statistics, self.axis_name) for _ in range(2)]
        if self.modulation != "spade":
            # The released networks' initialisation leaves these alone: N(0, 1 / D).
            init = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
            self.style = [nn.Dense(2 * n, kernel_init=init, dtype=self.dtype) for n in channels]

        def conv(features, kernel, bias):
            return SpectralConv(features, kernel, 1, kernel // 2, bias, self.dtype, xavier)

        self.conv_0 = conv(middle, 3, True)
        self.conv_1 = conv(self.outputs, 3, True)
        if len(channels) == 3:
            self.conv_s = conv(self.outputs, 1, False)

    def read_mask(self, mask: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        if self.modulation == "adain":
            return []
        return [pair for modulation in self.mask for pair in modulation(mask)]

    def __call__(self, x: jax.Array, pairs: Sequence, style: jax.Array | None, train: bool) -> jax.Array:
        first = self._normalised(x, 0, train)
        hidden = self.conv_0(leaky(self._modulated(first, 0, pairs, style)))
        second = self._normalised(hidden, 1, train)
        hidden = self.conv_1(leaky(self._modulated(second, 1, pairs, style)))
        if self.inputs != self.outputs:
            # The shortcut normalises the same x, so it shares the first layer's statistics.
            x = self.conv_s(self._modulated(first, 2, pairs, style))
        return x + hidden

    def _normalised(self, x, layer: int, train: bool) -> dict[str, jax.Array]:
        """The features as SPADE and as AdaIN want them."""
        views = {}
        if self.modulation != "adain":
            views["spade"] = self.content[layer](x, train)
        if self.modulation != "spade":
            views["adain"] = x if self.raw_adain else normalise(x, *instance_statistics(x))
        return views

    def _modulated(self, views, layer: int, pairs, style) -> jax.Array:
        results = []
        if "spade" in views:
            gamma, beta = pairs[layer]
            results.append(views["spade"] * (1 + gamma) + beta)
        if "adain" in views:
            code = self.style[layer](style)
            if self.raw_adain:
                code = leaky(code)
            scale, shift = jnp.split(code[:, None, None, :], 2, axis=-1)
            results.append(views["adain"] * (1 + scale) + shift)
        return sum(results) / len(results)


class StyleGenerator(nn.Module):
    """Mask ``[N, H, W]`` and style ``[N, D]`` to an eye ``[N, H, W, channels]`` in [-1, 1]; any H and W.

    Per layer, with ``S = PN(x) (1 + gamma(m)) + beta(m)`` and ``A = IN(x) (1 + s(w)) + t(w)``, the features
    become ``(S + A) / 2``. The defaults are the paper's sizes: 92,460,481 parameters for a style code of 16.

    width: channels of the last block; every step down doubles them.
    scales: number of doublings (5: the coarsest features are 1/32 of the image).
    labels: mask classes. Integer masks are one-hot encoded inside; ``[N, H, W, labels]`` is taken as it is.
    channels: of the image.
    mask_features: width of the mask's hidden layer in SPADE.
    shared_trunk: one hidden mask layer per block instead of one per SPADE layer. Fewer operations.
    modulation: "both", or an ablation, "spade" or "adain" (the mask then enters at the coarsest scale alone).
    statistics: of PN, "instance" or "batch" (see :class:`Normaliser`; ``axis_name`` joins devices in
        training).
    raw_adain: A as the released code computes it: x is not normalised and s, t pass a LeakyReLU.
    dtype: of the computation; parameters, statistics and the output are float32.
    """

    width: int = 64
    scales: int = 5
    labels: int = 4
    channels: int = 1
    mask_features: int = 128
    shared_trunk: bool = False
    modulation: Literal["both", "spade", "adain"] = "both"
    statistics: Literal["instance", "batch"] = "instance"
    raw_adain: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32

    def setup(self):
        if self.modulation not in ("both", "spade", "adain") or self.statistics not in ("instance", "batch"):
            raise UserError(
                "generator: expected modulation 'both', 'spade' or 'adain' and statistics 'instance' or "
                f"'batch', found {self.modulation!r} and {self.statistics!r}"
            )
        top = self.width * 2 ** (self.scales - 1)
        widths = [top] * 3 + [top // 2 ** (i + 1) for i in range(self.scales - 1)]
        settings = {
            name: getattr(self, name)
            for name in (
                "mask_features",
                "shared_trunk",
                "modulation",
                "statistics",
                "raw_adain",
                "axis_name",
                "dtype",
            )
        }
        self.blocks = [
            StyleBlock(inputs, outputs, **settings) for inputs, outputs in zip([top, *widths[:-1]], widths, strict=True)
        ]
        self.fc = Conv(top, 3, padding=1, dtype=self.dtype, kernel_init=xavier)
        self.conv_img = Conv(self.channels, 3, padding=1, dtype=self.dtype, kernel_init=xavier)

    def _block_scales(self) -> list[int]:
        """How many doublings are still to come at each block."""
        return [self.scales, self.scales - 1, *range(self.scales - 1, -1, -1)]

    def read_mask(self, mask: jax.Array) -> MaskCode:
        """Everything that depends on the mask alone: two thirds of the work, to be shared by many styles."""
        mask = one_hot(mask, self.labels).astype(self.dtype)
        height, width = mask.shape[1:3]
        unit = 2**self.scales
        above, left = (-height % unit) // 2, (-width % unit) // 2
        below, right = -height % unit - above, -width % unit - left
        mask = jnp.pad(mask, ((0, 0), (above, below), (left, right), (0, 0)), mode="edge")

        def at(doublings):
            return nearest(mask, (mask.shape[1] >> doublings, mask.shape[2] >> doublings))

        pairs = [b.read_mask(at(s)) for b, s in zip(self.blocks, self._block_scales(), strict=True)]
        return {"start": self.fc(at(self.scales)), "pairs": pairs}

    def paint(self, code: MaskCode, style: jax.Array | None, size: tuple[int, int], train: bool = False) -> jax.Array:
        """The image of ``size`` (H, W), that of the mask, from :meth:`read_mask`'s code and a style ``[N,
        D]``.
        """
        x, doublings = code["start"], self.scales
        for block, remaining, pairs in zip(self.blocks, self._block_scales(), code["pairs"], strict=True):
            if remaining < doublings:
                x, doublings = double(x), remaining
            x = block(x, pairs, style, train)
        x = jnp.tanh(self.conv_img(leaky(x)).astype(jnp.float32))
        above, left = (x.shape[1] - size[0]) // 2, (x.shape[2] - size[1]) // 2
        return x[:, above : above + size[0], left : left + size[1]]

    def __call__(self, mask: jax.Array, style: jax.Array | None = None, train: bool = False) -> jax.Array:
        height, width = mask.shape[1:3]
        return self.paint(self.read_mask(mask), style, (height, width), train)
