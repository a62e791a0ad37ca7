"""2-D convolution, NHWC, in one place: padding conventions and the derivative that suits the device."""

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

Padding = Literal["explicit", "SAME", "VALID"]

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
        name=name,
    )


def count_parameters(variables: Any) -> int:
    """Number of scalars in a pytree of parameters (or of their shapes)."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables))
