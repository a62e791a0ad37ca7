"""Spectral normalisation against NumPy's singular values and against its own definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax.errors import UserError
from eyegan_jax.layers import spectral


@pytest.fixture
def kernel():
    return np.random.default_rng(0).normal(size=(3, 3, 5, 7)).astype(np.float32)


def test_one_iteration_is_the_definition(kernel):
    matrix = kernel.reshape(-1, 7).T.astype(np.float64)
    u = np.random.default_rng(1).normal(size=7)
    u /= np.linalg.norm(u)
    v = matrix.T @ u
    v /= np.linalg.norm(v)
    expected_u = matrix @ v / np.linalg.norm(matrix @ v)
    state = spectral.power_iteration(kernel, u.astype(np.float32))
    np.testing.assert_allclose(state["v"].reshape(-1), v, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state["u"], expected_u, rtol=1e-4, atol=1e-6)
    sigma = spectral.spectral_norm(kernel, **state)
    np.testing.assert_allclose(sigma, expected_u @ matrix @ v, rtol=1e-5)


def test_iteration_finds_the_largest_singular_value(kernel):
    state = spectral.initial_state(jax.random.key(0), kernel, iterations=200)
    largest = np.linalg.svd(kernel.reshape(-1, 7), compute_uv=False)[0]
    np.testing.assert_allclose(spectral.spectral_norm(kernel, **state), largest, rtol=1e-5)


def test_gradient_treats_the_singular_vectors_as_constant(kernel):
    state = spectral.initial_state(jax.random.key(0), kernel)
    gradient = jax.grad(lambda k: spectral.spectral_norm(k, **state))(kernel)
    outer = np.asarray(state["v"])[..., None] * np.asarray(state["u"])
    np.testing.assert_allclose(gradient, outer, rtol=1e-5, atol=1e-7)
    to_state = jax.grad(lambda s: spectral.spectral_norm(kernel, **s))(state)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(to_state))


def test_convolution_has_unit_spectral_norm_and_plain_bias():
    conv = spectral.SpectralConv(6, 1)
    x = np.random.default_rng(2).normal(size=(2, 4, 4, 5)).astype(np.float32)
    variables = conv.init(jax.random.key(0), x)
    kernel = variables["params"]["kernel"]
    settled = spectral.power_iteration(kernel, variables["spectral"]["u"], iterations=200)
    variables = {"params": variables["params"] | {"bias": jnp.arange(6.0)}, "spectral": settled}
    largest = np.linalg.svd(kernel[0, 0], compute_uv=False)[0]
    np.testing.assert_allclose(
        conv.apply(variables, x), x @ kernel[0, 0] / largest + np.arange(6), rtol=1e-4, atol=1e-4
    )


def test_advance_follows_the_tree_and_only_where_there_is_state(kernel):
    params = {"a": {"b": {"kernel": kernel, "bias": np.zeros(7)}}, "plain": {"kernel": kernel}}
    start = spectral.initial_state(jax.random.key(3), kernel)
    advanced = spectral.advance(params, {"a": {"b": start}})
    expected = spectral.power_iteration(kernel, start["u"])
    assert list(advanced) == ["a"]
    np.testing.assert_array_equal(advanced["a"]["b"]["u"], expected["u"])
    with pytest.raises(UserError, match="kernel"):
        spectral.advance({"a": {"weight": kernel}}, {"a": start})
