"""The rectifiers against their definition; what they keep for the gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eyegan_jax.layers.activation import leaky_relu, relu

# XLA may take numbers below the smallest normal one for 0.
same = partial(np.testing.assert_allclose, rtol=0, atol=np.finfo(np.float32).tiny)
VECTORS = arrays(np.float32, (7,), elements=st.floats(-100, 100, width=32, allow_subnormal=False))


@given(VECTORS, VECTORS, st.sampled_from([0.0, 0.2]))
def test_value_and_gradient(x, slopes, slope):
    value, pull = jax.vjp(lambda x: leaky_relu(x, slope), jnp.asarray(x))
    same(value, np.where(x > 0, x, np.float32(slope) * x))
    same(pull(jnp.asarray(slopes))[0], np.where(x > 0, slopes, np.float32(slope) * slopes))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_infinities_and_nan(dtype):
    x = jnp.array([-jnp.inf, jnp.inf, jnp.nan, -2.0], dtype)
    assert relu(x).dtype == dtype
    np.testing.assert_array_equal(np.asarray(relu(x), np.float32), [0, np.inf, np.nan, 0])
    # A slope of infinity on the side that is cut off is nothing, not "not a number".
    assert float(jax.vjp(relu, jnp.array(-1.0))[1](jnp.array(jnp.inf))[0]) == 0


def test_the_gradient_keeps_the_result_alone():
    """Under jit, mapped over a batch and differentiated twice it stays what it is."""
    x = jax.random.normal(jax.random.key(0), (5, 4))
    value, pull = jax.vjp(relu, x)
    (kept,) = [leaf for leaf in jax.tree.leaves(pull) if getattr(leaf, "shape", None) == x.shape]
    np.testing.assert_array_equal(kept, value)

    def cost(x):
        return jnp.sum(leaky_relu(x, 0.2) ** 3)

    each = jax.jit(jax.vmap(jax.grad(lambda x: jnp.sum(jax.grad(cost)(x) ** 2))))(x)
    y, bend = np.where(x > 0, x, 0.2 * x), np.where(x > 0, 1, 0.2)
    np.testing.assert_allclose(each, 2 * (3 * y**2 * bend) * (6 * y * bend**2), rtol=1e-5)
