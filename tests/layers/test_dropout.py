"""Dropout from bytes against what dropout promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax.layers.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_zeroes_its_share_and_keeps_the_mean(rate, dtype):
    x = jnp.full((33, 41, 13), 3.0, dtype)  # 17,589 numbers: not a multiple of four
    out = np.asarray(Dropout(rate).apply({}, x, False, rngs={"dropout": jax.random.key(0)}), np.float32)
    kept = out != 0
    spread = np.sqrt(rate * (1 - rate) / x.size)
    assert abs(kept.mean() - (1 - rate)) < 4 * spread + 1 / 512  # the rate is rounded to a 256th
    np.testing.assert_allclose(out[kept], out[kept][0])
    assert abs(out.mean() - 3) < 4 * 3 * spread / (1 - rate) + (0.02 if dtype == jnp.bfloat16 else 0)


def test_neighbours_fall_independently():
    """The four bytes of a word are four draws."""
    out = Dropout(0.5).apply({}, jnp.ones((1, 4 * 20000)), False, rngs={"dropout": jax.random.key(1)})
    together = np.corrcoef((np.asarray(out).reshape(-1, 4) > 0).T)
    np.testing.assert_allclose(together, np.eye(4), atol=4 / np.sqrt(20000))


def test_without_training_nothing_changes():
    x = jax.random.normal(jax.random.key(0), (3, 5))
    assert Dropout(0.3).apply({}, x, True) is x
    assert Dropout(0.0).apply({}, x, False) is x


def test_gradient_is_the_mask():
    x, rngs = jnp.ones((64,)), {"dropout": jax.random.key(2)}
    out = Dropout(0.25).apply({}, x, False, rngs=rngs)
    gradient = jax.grad(lambda x: Dropout(0.25).apply({}, x, False, rngs=rngs).sum())(x)
    np.testing.assert_array_equal(out, gradient)
