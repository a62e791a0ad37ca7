"""2-D convolution, NHWC, in one place: padding conventions and the derivative that suits the device."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

Padding = Literal["explicit", "SAME", "VALID"]

FEW_CHANNELS = 16
"""Up to so many output channels XLA's CPU code for one image at a time is slow; measured, not understood."""

FITS_CACHE = 2**18
"""Up to so many numbers the output's gradient of a whole batch is quick to read again and again; measured."""

BAND = 2048
"""Positions of an image that the weight gradient takes at a time; measured: several times as many are slower again."""

GLOROT = nn.initializers.glorot_uniform()


def explicit_padding(padding: Padding, kernel: int) -> Any:
    """``"explicit"`` to PyTorch's symmetric ``kernel // 2`` on every side; ``"SAME"`` and ``"VALID"`` as they are.

    With stride 2 on an even size, SAME pads (0, 1) where explicit pads (1, 1): the same shape, shifted samples.
    """
    return ((kernel // 2, kernel // 2),) * 2 if padding == "explicit" else padding


def Conv(
    features: int,
    kernel: int,
    stride: int = 1,
    padding: Any = "SAME",
    *,
    use_bias: bool = True,
    dtype: Any = jnp.float32,
    kernel_init: Callable = GLOROT,
    name: str | None = None,
) -> nn.Conv:
    """A square Linen convolution with float32 parameters that computes in ``dtype``."""
    return nn.Conv(
        features,
        (kernel, kernel),
        (stride, stride),
        padding,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=kernel_init,
        conv_general_dilated=convolve,
        name=name,
    )


def convolve(x: jax.Array, kernel: jax.Array, strides: Any, padding: Any, **options: Any) -> jax.Array:
    """``lax.conv_general_dilated`` of NHWC images and an HWIO kernel, with derivatives that suit the device.

    XLA's CPU compiler has a fast path for convolutions in canonical dimension order only, and its own weight gradient
    takes the whole batch for one patch, which falls out of the cache: written image by image, large images band by
    band, it is several times faster where the gradient is large, and several times slower where it is small or has few
    channels (docs/performance.md). A 1x1 convolution is a matrix product. Accelerators keep the derivatives of lax.
    """
    plain = (
        x.ndim == 4
        and options.get("feature_group_count", 1) == 1
        and all(d == 1 for d in (*(options.get("lhs_dilation") or ()), *(options.get("rhs_dilation") or ())))
    )
    if not plain or jax.default_backend() != "cpu":
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)
    strides = tuple(strides or (1, 1))
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    return _cpu_convolution(x, kernel, strides, tuple(tuple(pair) for pair in padding))


def _canonical(x: jax.Array, kernel: jax.Array, padding: Any, **options: Any) -> jax.Array:
    if _pointwise(kernel, padding) and all(stride == 1 for pair in options.values() for stride in pair):
        return jnp.einsum("bhwi,io->bhwo", x, kernel[0, 0])
    strides = options.pop("strides", (1, 1))
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers, **options)


def _pointwise(kernel: jax.Array, padding: Any) -> bool:
    """Whether every output position reads one position of the image."""
    return kernel.shape[:2] == (1, 1) and not any(low or high for low, high in padding)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _cpu_convolution(x: jax.Array, kernel: jax.Array, strides: tuple, padding: tuple) -> jax.Array:
    return _canonical(x, kernel, padding, strides=strides)


def _forward(x: Any, kernel: Any, strides: tuple, padding: tuple) -> tuple[jax.Array, Any]:
    # What nobody differentiates needs no gradient: the images of a first layer, a frozen network.
    residuals = (x.value, kernel.value, x.perturbed, kernel.perturbed)
    return _canonical(x.value, kernel.value, padding, strides=strides), residuals


def _backward(strides: tuple, padding: tuple, residuals: Any, gradient: Any) -> tuple[Any, Any]:
    x, kernel, x_wanted, kernel_wanted = residuals
    if isinstance(gradient, SymbolicZero):
        return None, None
    by_x = by_kernel = None
    if x_wanted:
        by_x = _input_gradient(gradient, kernel, x.shape[1:3], strides, padding)
    if kernel_wanted:
        by_kernel = _weight_gradient(x, kernel, gradient, strides, padding).astype(kernel.dtype)
    return by_x, by_kernel


def _input_gradient(gradient: jax.Array, kernel: jax.Array, size: Any, strides: tuple, padding: tuple) -> jax.Array:
    """The gradient by images of ``size``.

    The positions that lie between two outputs each see a part of the kernel of their own. All parts are one
    convolution (sub-pixel convolution, Shi et al. 2016), where lax would convolve with the zeros between the outputs.
    """
    # Per axis: the size of a part, the output before the first position, and the number of outputs that are needed.
    reach = [-(-k // stride) for k, stride in zip(kernel.shape[:2], strides, strict=True)]
    first = [low // stride for (low, _), stride in zip(padding, strides, strict=True)]
    last = [(low + n - 1) // stride for (low, _), n, stride in zip(padding, size, strides, strict=True)]
    filled = [(0, k * stride - n) for k, stride, n in zip(reach, strides, kernel.shape[:2], strict=True)]
    parts = jnp.pad(kernel, (*filled, (0, 0), (0, 0)))
    parts = parts.reshape(reach[0], strides[0], reach[1], strides[1], *kernel.shape[2:])
    parts = parts[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4)
    around = [(k - 1 - f, l + 1 - n) for k, f, l, n in zip(reach, first, last, gradient.shape[1:3], strict=True)]
    found = _canonical(gradient, parts.reshape(*parts.shape[:3], -1), around)
    if strides == (1, 1):
        return found
    # Every output's channels to the positions that follow it.
    batch, rows, columns, _ = found.shape
    found = found.reshape(batch, rows, columns, *strides, -1).transpose(0, 1, 3, 2, 4, 5)
    found = found.reshape(batch, rows * strides[0], columns * strides[1], -1)
    top, left = (low % stride for (low, _), stride in zip(padding, strides, strict=True))
    return found[:, top : top + size[0], left : left + size[1]]


def _weight_gradient(x: jax.Array, kernel: jax.Array, gradient: jax.Array, strides: tuple, padding: tuple) -> jax.Array:
    """The gradient by ``kernel``, float32."""
    if _pointwise(kernel, padding) and strides == (1, 1):
        # Positions as one axis: several make XLA contract out of order, which takes ten times as long for one channel.
        x, gradient = (images.reshape(len(images), -1, images.shape[-1]) for images in (x, gradient))
        each = jnp.einsum("bpi,bpo->bio", x, gradient, preferred_element_type=jnp.float32)
        return each.sum(0)[None, None]

    at_once = gradient.shape[-1] <= FEW_CHANNELS or gradient.size <= FITS_CACHE
    height, width = gradient.shape[1:3]
    bands = 1 if at_once else -(-height // max(BAND // width, 1))
    rows = -(-height // bands)
    if bands > 1:  # of equal height
        gradient = _padded(gradient, [(0, bands * rows - height), (0, 0)])

    # Zeros around the image, so that it has what the kernel reads and nothing else.
    wide = [
        (size - 1) * stride + k for size, stride, k in zip(gradient.shape[1:3], strides, kernel.shape[:2], strict=True)
    ]
    around = [(low, n - size - low) for n, size, (low, _) in zip(wide, x.shape[1:3], padding, strict=True)]
    # A kernel larger than its image, even where padding makes up for it, leaves the fast path.
    if bands > 1 or any(n - k + 1 > size for n, k, size in zip(wide, kernel.shape[:2], x.shape[1:3], strict=True)):
        x, around = _padded(x, around), [(0, 0), (0, 0)]
    if bands > 1:  # each is an image of its own
        step = rows * strides[0]
        x = jnp.stack([x[:, i * step : i * step + step + kernel.shape[0] - strides[0]] for i in range(bands)], 1)
        x = x.reshape(-1, *x.shape[2:])
        gradient = gradient.reshape(len(x), rows, *gradient.shape[2:])

    def of_images(images, gradient):
        # Every input channel is an image, whose channels are the batch; the gradient is the kernel.
        channels, kernels = images.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3)
        found = _canonical(channels, kernels, around, rhs_dilation=strides)
        return found.transpose(1, 2, 0, 3).astype(jnp.float32)

    if at_once:
        return of_images(x, gradient)

    def add(total, one):
        image, slope = one
        return total + of_images(image[None], slope[None]), None

    return jax.lax.scan(add, of_images(x[:1], gradient[:1]), (x[1:], gradient[1:]))[0]


def _padded(images: jax.Array, around: Any) -> jax.Array:
    """Zeros around ``[B, H, W, C]``; a negative number cuts instead."""
    zero = jnp.zeros((), images.dtype)
    return jax.lax.pad(images, zero, ((0, 0, 0), *((*pair, 0) for pair in around), (0, 0, 0)))


_cpu_convolution.defvjp(_forward, _backward, symbolic_zeros=True)


def count_parameters(variables: Any) -> int:
    """Number of scalars in a pytree of parameters (or of their shapes)."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables))
