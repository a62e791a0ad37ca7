"""SimGAN's losses against the identities that follow from the paper's equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyegan_jax import losses


def test_undecided_discriminator_costs_ln2_per_patch():
    logits = jnp.zeros((3, 9, 14, 2))
    real = losses.patch_cross_entropy(logits, losses.REAL)
    both = losses.patch_cross_entropy(logits, losses.REFINED) + real
    np.testing.assert_allclose(real, 126 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(both, 252 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(losses.patch_cross_entropy(logits, losses.REAL, "mean"), np.log(2), rtol=1e-6)


@given(a=st.floats(-20, 20), b=st.floats(-20, 20))
def test_sign_convention(a, b):
    """Constant logits (a, b): target real costs P softplus(b - a), target refined P softplus(a - b)."""
    logits = jnp.broadcast_to(jnp.array([a, b], jnp.float32), (2, 3, 5, 2))
    difference = float(np.float32(b)) - float(np.float32(a))
    np.testing.assert_allclose(
        losses.patch_cross_entropy(logits, losses.REAL), 15 * np.logaddexp(0, difference), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        losses.patch_cross_entropy(logits, losses.REFINED), 15 * np.logaddexp(0, -difference), rtol=1e-3, atol=1e-4
    )


PSIS = [losses.psi_identity, losses.psi_gradient, losses.psi_channel_mean]


@pytest.mark.parametrize("psi", PSIS)
def test_identity_refiner_costs_nothing(psi):
    x = jax.random.uniform(jax.random.key(0), (2, 35, 55, 3))
    assert losses.self_regularisation(x, x, psi) == 0


def test_brightness_shift_costs_its_size_times_the_pixels():
    x = jnp.zeros((4, 35, 55, 1))
    np.testing.assert_allclose(losses.self_regularisation(x + 0.25, x, losses.psi_identity), 1925 * 0.25)
    np.testing.assert_allclose(losses.self_regularisation(x + 0.25, x, losses.psi_gradient), 0, atol=1e-6)


def test_channel_mean_lets_hue_change():
    x = jnp.zeros((1, 4, 5, 3))
    hue = x + jnp.array([0.3, -0.2, -0.1])
    np.testing.assert_allclose(losses.self_regularisation(hue, x, losses.psi_channel_mean), 0, atol=1e-6)
    assert losses.self_regularisation(hue, x, losses.psi_identity) > 1


def test_sum_and_mean_reductions_are_proportional():
    x, y = jax.random.uniform(jax.random.key(1), (2, 3, 35, 55, 1))
    total = losses.self_regularisation(x, y, losses.psi_identity)
    np.testing.assert_allclose(losses.self_regularisation(x, y, losses.psi_identity, "mean") * 1925, total, rtol=1e-5)


def test_the_simulated_image_gets_no_gradient():
    x, y = jax.random.uniform(jax.random.key(2), (2, 1, 6, 7, 1))
    gradient = jax.grad(lambda s: losses.self_regularisation(y, s, losses.psi_identity))(x)
    np.testing.assert_array_equal(gradient, 0)
