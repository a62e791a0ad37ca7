"""Losses of gaze redirection against NumPy and against functions whose slopes are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax import losses


def test_mask_cross_entropy_of_soft_masks():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 5, 4))
    target = rng.dirichlet(np.ones(4), size=(2, 3, 5))
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -(target * np.log(probability)).sum(-1).mean()
    np.testing.assert_allclose(losses.mask_cross_entropy(jnp.asarray(logits), jnp.asarray(target)), expected, rtol=1e-5)


@pytest.mark.parametrize("length", [0.5, 1.0, 3.0])
def test_gradient_penalty_of_a_linear_critic_is_known(length):
    rng = np.random.default_rng(1)
    direction = rng.normal(size=(4, 5, 1))
    direction *= length / np.linalg.norm(direction)
    real, fake = (jnp.asarray(rng.normal(size=(3, 4, 5, 1))) for _ in range(2))
    penalty = losses.gradient_penalty(lambda x: (x * direction).sum((1, 2, 3)), real, fake, jnp.array([0.0, 0.3, 1.0]))
    np.testing.assert_allclose(penalty, (length - 1.0) ** 2, atol=1e-5)


def test_gradient_penalty_looks_between_the_two_images():
    """Of a quadratic critic the slope is the point itself: its norm tells where the penalty was taken."""
    real, fake = jnp.full((2, 2, 2, 1), 1.0), jnp.full((2, 2, 2, 1), -3.0)
    shares = jnp.array([1.0, 0.25])

    def critic(x):
        return 0.5 * (x**2).sum((1, 2, 3))

    # ||1||_2 = 2 over four pixels; 0.25 * 1 - 0.75 * 3 = -2, whose norm is 4.
    np.testing.assert_allclose(losses.gradient_penalty(critic, real, fake, shares), (1.0 + 9.0) / 2, rtol=1e-5)
    slope = jax.grad(lambda f: losses.gradient_penalty(critic, real, f, shares))(fake)
    assert np.isfinite(slope).all()
