"""2-D convolution, NHWC, in one place: padding conventions and the derivative that suits the device."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from eyegan_jax.layers import winograd

Padding = Literal["explicit", "SAME", "VALID"]

DEEP, SHALLOW = 48, 16
"""With DEEP channels in and out 3x3 convolutions are faster by Winograd's algorithm, their weight gradients already
with SHALLOW on one side and more on the other; measured."""

LARGE = 2**18
"""... where at least so many numbers come out; measured."""

FEW_CHANNELS = 16
"""Up to so many output channels XLA's CPU code for one image at a time is slow; measured, not understood."""

FITS_CACHE = 2**16
"""Up to so many numbers to an image, the gradient is as quickly taken for the whole batch at once; measured."""

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

    On a CPU, 3x3 convolutions of stride 1 with enough channels go by Winograd's algorithm (:mod:`.winograd`), and 1x1
    ones are matrix products. For the others XLA has a fast path in canonical dimension order only, and its own weight
    gradient takes the whole batch for one patch, which falls out of the cache: image by image it is faster where an
    image's gradient is large, and slower where it is small or has few channels (docs/performance.md).

    On a GPU in bfloat16, layers of one channel in or out leave cuDNN's fast paths: a 3x3 convolution of one channel is
    a matrix product of neighbourhoods, a 1x1 convolution to one channel a sum of products. Everything else, and other
    accelerators, keep lax's convolution and derivatives.
    """
    plain = (
        x.ndim == 4
        and options.get("feature_group_count", 1) == 1
        and all(d == 1 for d in (*(options.get("lhs_dilation") or ()), *(options.get("rhs_dilation") or ())))
    )
    exported = not isinstance(x.shape[0], int)  # for any batch: and so for any platform
    if plain and not exported:
        steps, around = tuple(strides or (1, 1)), padding
        if isinstance(padding, str):
            around = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], steps, padding)
        around = tuple(tuple(pair) for pair in around)
        if jax.default_backend() == "cpu":
            return _on_cpu(x, kernel, steps, around)
        if jax.default_backend() == "gpu" and x.dtype == jnp.bfloat16:
            if kernel.shape[:3] == (3, 3, 1):
                return _product_of_neighbourhoods(x, kernel, steps, around)
            if kernel.shape[3] == 1 and steps == (1, 1) and _pointwise(kernel, around):
                return _sum_of_products(x, kernel)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)


def _on_cpu(x: jax.Array, kernel: jax.Array, strides: tuple, padding: tuple) -> jax.Array:
    if x.dtype == jnp.bfloat16:  # XLA's CPU code would widen it as well, and leave its fast path
        return _cpu_convolution(x.astype(jnp.float32), kernel.astype(jnp.float32), strides, padding).astype(x.dtype)
    return _cpu_convolution(x, kernel, strides, padding)


def _product_of_neighbourhoods(x: jax.Array, kernel: jax.Array, strides: tuple, padding: tuple) -> jax.Array:
    """Of images of one channel: what each output sees, side by side, times the kernel."""
    height, width = kernel.shape[:2]
    x = jnp.pad(x.astype(jnp.float32), ((0, 0), *padding, (0, 0)))  # float32 for the sums of the gradient
    rows, columns = ((n - k) // s * s + 1 for n, k, s in zip(x.shape[1:3], (height, width), strides, strict=True))
    seen = [x[:, i : i + rows : strides[0], j : j + columns : strides[1]] for i in range(height) for j in range(width)]
    # Zeros up to a multiple of eight numbers: matrix units read no less at a time.
    zeros = -len(seen) % 8
    seen.append(jnp.zeros((*seen[0].shape[:3], zeros), x.dtype))
    matrix = jnp.pad(kernel.reshape(height * width, -1), ((0, zeros), (0, 0)))
    return jnp.einsum("bhwi,io->bhwo", jnp.concatenate(seen, axis=-1).astype(kernel.dtype), matrix)


def _sum_of_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 1x1 convolution to one channel, summed in float32 as in a matrix unit."""
    products = x.astype(jnp.float32) * kernel[0, 0, :, 0].astype(jnp.float32)
    return jnp.sum(products, axis=-1, keepdims=True).astype(x.dtype)


def _canonical(x: jax.Array, kernel: jax.Array, padding: Any, **options: Any) -> jax.Array:
    if all(stride == 1 for pair in options.values() for stride in pair):
        if _pointwise(kernel, padding):
            return jnp.einsum("bhwi,io->bhwo", x, kernel[0, 0])
        if _suits_winograd(x, kernel, padding, DEEP):
            return winograd.convolve(x, kernel, padding)
    strides = options.pop("strides", (1, 1))
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers, **options)


def _suits_winograd(x: jax.Array, kernel: jax.Array, padding: Any, channels: int) -> bool:
    """Whether F(4x4, 3x3) pays at stride 1 where so many channels in and out are enough."""
    if x.dtype != jnp.float32 or kernel.shape[:2] != (3, 3):
        return False
    if min(kernel.shape[2:]) < channels or max(kernel.shape[2:]) <= SHALLOW:
        return False
    height, width = winograd.output_size(x, padding)
    return len(x) * height * width * kernel.shape[3] >= LARGE and winograd.filled(height, width) >= 0.75


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

    if strides == (1, 1) and _suits_winograd(x, kernel, padding, SHALLOW):
        return winograd.weight_gradient(x, gradient, padding)

    # Zeros around the image, so that it has what the kernel reads and nothing else.
    wide = [
        (size - 1) * stride + k for size, stride, k in zip(gradient.shape[1:3], strides, kernel.shape[:2], strict=True)
    ]
    around = [(low, n - size - low) for n, size, (low, _) in zip(wide, x.shape[1:3], padding, strict=True)]
    # A kernel larger than its image, even where padding makes up for it, leaves the fast path.
    if any(n - k + 1 > size for n, k, size in zip(wide, kernel.shape[:2], x.shape[1:3], strict=True)):
        x, around = winograd.padded(x, around), [(0, 0), (0, 0)]

    def of_images(images, gradient):
        # Every input channel is an image, whose channels are the batch; the gradient is the kernel.
        channels, kernels = images.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3)
        found = _canonical(channels, kernels, around, rhs_dilation=strides)
        return found.transpose(1, 2, 0, 3).astype(jnp.float32)

    if gradient.shape[-1] <= FEW_CHANNELS or gradient.size // len(gradient) <= FITS_CACHE:
        return of_images(x, gradient)

    def add(total, one):
        image, slope = one
        return total + of_images(image[None], slope[None]), None

    return jax.lax.scan(add, of_images(x[:1], gradient[:1]), (x[1:], gradient[1:]))[0]


_cpu_convolution.defvjp(_forward, _backward, symbolic_zeros=True)


def count_parameters(variables: Any) -> int:
    """Number of scalars in a pytree of parameters (or of their shapes)."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables))
