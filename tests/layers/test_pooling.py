"""Max-pooling against Flax's, values and gradients."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax.layers.pooling import max_pool


@pytest.mark.parametrize("padding", ["VALID", "SAME", ((1, 1), (1, 1)), ((0, 2), (1, 0))])
@pytest.mark.parametrize(("window", "stride"), [(3, 1), (3, 2), (2, 2)])
def test_values_and_gradient_are_those_of_flax(window, stride, padding):
    size = (7, 10)
    # No two values are alike, so both send the gradient to the same place.
    x = jnp.asarray(np.random.default_rng(0).permutation(2 * size[0] * size[1] * 3).reshape(2, *size, 3), jnp.float32)
    x = x / x.size - 0.7  # mostly negative: padding with zeros would win
    ours = max_pool(x, window, stride, padding)
    theirs = nn.max_pool(x, (window, window), (stride, stride), padding)
    np.testing.assert_array_equal(ours, theirs)
    weights = jax.random.normal(jax.random.key(1), ours.shape)
    gradient = jax.grad(lambda x: jnp.sum(weights * max_pool(x, window, stride, padding)))(x)
    expected = jax.grad(lambda x: jnp.sum(weights * nn.max_pool(x, (window, window), (stride, stride), padding)))(x)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


def test_equal_values_share_the_gradient():
    gradient = jax.grad(lambda x: max_pool(x, 2, 2).sum())(jnp.ones((1, 2, 2, 1)))
    np.testing.assert_allclose(gradient, 0.25)
