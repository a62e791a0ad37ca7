"""AdaIN, SPADE, their statistics and group normalisation against their equations, one number at a time in NumPy."""

import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyegan_jax.layers import normalisation

EPSILON = 1e-5


def activations(*shape, seed=0):
    generator = np.random.default_rng(seed)
    return (generator.normal(size=shape) * generator.uniform(0.5, 3) + generator.normal()).astype(np.float32)


def adain_by_definition(x, r):
    """mu_nc(r) = 1/HW sum_hw r; sigma_nc(r) = sqrt(1/HW sum_hw (r - mu)^2 + eps); one (n, c) at a time."""
    result = np.zeros_like(x, dtype=np.float64)
    for n in range(x.shape[0]):
        for c in range(x.shape[3]):
            own, other = x[n, :, :, c].astype(np.float64), r[n, :, :, c].astype(np.float64)
            own_mu, other_mu = own.sum() / own.size, other.sum() / other.size
            own_sigma = np.sqrt(((own - own_mu) ** 2).sum() / own.size + EPSILON)
            other_sigma = np.sqrt(((other - other_mu) ** 2).sum() / other.size + EPSILON)
            result[n, :, :, c] = other_sigma * ((own - own_mu) / own_sigma) + other_mu
    return result


@settings(max_examples=6)
@given(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(1, 4), st.integers(0, 99))
def test_adain_is_the_seeds_equation(batch, height, width, channels, seed):
    x = activations(batch, height, width, channels, seed=seed)
    r = activations(batch, width + 1, height, channels, seed=seed + 100)
    # One pixel has no spread: epsilon alone divides, and float32 keeps fewer digits.
    np.testing.assert_allclose(normalisation.adain(x, r), adain_by_definition(x, r), rtol=1e-3, atol=1e-3)


def test_adain_gives_the_references_statistics():
    x, r = activations(2, 9, 8, 3), activations(2, 5, 6, 3, seed=1)
    mean, deviation = normalisation.instance_statistics(normalisation.adain(x, r))
    np.testing.assert_allclose(mean[:, 0, 0], r.mean((1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(deviation[:, 0, 0], r.std((1, 2)), rtol=1e-4, atol=1e-5)


def test_spade_is_the_seeds_equation():
    x, gamma, beta = (activations(3, 4, 5, 2, seed=i) for i in range(3))
    expected = np.zeros_like(x, dtype=np.float64)
    for c in range(2):
        values = x[..., c].astype(np.float64)
        mu = values.sum() / values.size
        sigma = np.sqrt(((values - mu) ** 2).sum() / values.size + EPSILON)
        expected[..., c] = gamma[..., c] * ((values - mu) / sigma) + beta[..., c]
    np.testing.assert_allclose(normalisation.spade(x, gamma, beta), expected, rtol=1e-5, atol=1e-5)


def test_spade_takes_other_statistics():
    x, gamma, beta = (activations(3, 4, 5, 2, seed=i) for i in range(3))
    together = normalisation.spade(x, gamma, beta, normalisation.instance_statistics(x))
    for n in range(3):
        alone = normalisation.spade(x[n : n + 1], gamma[n : n + 1], beta[n : n + 1])
        np.testing.assert_allclose(together[n : n + 1], alone, rtol=1e-5, atol=1e-5)


def test_variance_survives_a_large_mean():
    x = np.float32(1000) + activations(1, 64, 64, 1) / 10
    _, deviation = normalisation.instance_statistics(x)
    np.testing.assert_allclose(deviation[0, 0, 0, 0], x.astype(np.float64).std(), rtol=1e-3)


def test_statistics_of_bfloat16_are_float32():
    x = jnp.asarray(activations(2, 32, 32, 3), jnp.bfloat16)
    for mean, deviation in (normalisation.instance_statistics(x), normalisation.batch_statistics(x)):
        assert mean.dtype == deviation.dtype == jnp.float32
    assert normalisation.adain(x, x).dtype == jnp.bfloat16


@pytest.mark.parametrize("wrapper", ["pmap", "shard_map"])
def test_batch_statistics_over_devices_are_those_of_the_global_batch(wrapper):
    devices = jax.device_count()
    if devices < 2:
        pytest.skip(f"needs several devices, found {devices}")
    x = activations(2 * devices, 5, 6, 3)

    def statistics(part):
        return normalisation.batch_statistics(part, axis_name="data")

    if wrapper == "pmap":
        parts = x.reshape(devices, 2, *x.shape[1:])
        results = jax.tree.map(lambda s: s[-1], jax.pmap(statistics, axis_name="data")(parts))
    else:
        mesh = jax.make_mesh((devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        mapped = jax.shard_map(statistics, mesh=mesh, in_specs=jax.P("data"), out_specs=jax.P())
        results = jax.jit(mapped)(x)
    for got, expected in zip(results, normalisation.batch_statistics(x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def group_norm_by_definition(x, groups, scale, bias):
    """One sample and one group at a time, in double precision and two passes."""
    result = np.zeros(x.shape)
    size = x.shape[-1] // groups
    for n in range(len(x)):
        for first in range(0, x.shape[-1], size):
            of = slice(first, first + size)
            own = x[n, ..., of].astype(np.float64)
            mean = own.sum() / own.size
            deviation = np.sqrt(np.square(own - mean).sum() / own.size + 1e-6)
            result[n, ..., of] = scale[of] * (own - mean) / deviation + bias[of]
    return result


@settings(max_examples=8)
@given(
    st.integers(1, 3), st.integers(2, 7), st.integers(1, 7), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99)
)
def test_group_norm_is_its_equation(batch, height, width, groups, size, seed):
    x = activations(batch, height, width, groups * size, seed=seed)
    scale, bias = activations(2, groups * size, seed=seed + 1)
    made = normalisation.GroupNorm(groups).apply({"params": {"scale": scale, "bias": bias}}, x)
    np.testing.assert_allclose(made, group_norm_by_definition(x, groups, scale, bias), rtol=1e-3, atol=2e-3)


def test_group_norm_stands_in_for_flaxs():
    """Same parameters by the same names, values and gradients; trained networks load."""
    x = jnp.asarray(activations(2, 5, 6, 12))
    wanted = jnp.asarray(activations(2, 5, 6, 12, seed=1))
    ours, theirs = normalisation.GroupNorm(size=3), nn.GroupNorm(num_groups=4)
    variables = {"params": dict(zip(("scale", "bias"), jnp.asarray(activations(2, 12, seed=2)), strict=True))}
    assert jax.tree.structure(ours.init(jax.random.key(0), x)) == jax.tree.structure(variables)
    assert type(ours).__name__ == type(theirs).__name__  # of which Linen makes the names of parameters

    def loss(module, variables, x):
        return jnp.mean(jnp.square(module.apply(variables, x) - wanted))

    for made, expected in zip(
        *(jax.tree.leaves(jax.value_and_grad(loss, (1, 2))(module, variables, x)) for module in (ours, theirs)),
        strict=True,
    ):
        np.testing.assert_allclose(made, expected, rtol=1e-3, atol=1e-5)


def test_group_norm_of_bfloat16_counts_in_float32():
    x = jnp.asarray(activations(1, 64, 64, 8) + 20.0, jnp.bfloat16)
    made = normalisation.GroupNorm(4, dtype=jnp.bfloat16).apply(
        {"params": {"scale": jnp.ones(8), "bias": jnp.zeros(8)}}, x
    )
    expected = group_norm_by_definition(np.asarray(x, np.float32), 4, np.ones(8), np.zeros(8))
    assert made.dtype == jnp.bfloat16
    np.testing.assert_allclose(made.astype(jnp.float32), expected, atol=0.03)


def test_group_norm_is_exported_for_any_number_of_images():
    variables = {"params": {"scale": jnp.ones(8), "bias": jnp.zeros(8)}}
    apply = jax.jit(lambda x: normalisation.GroupNorm(2).apply(variables, x))
    (batch,) = jax.export.symbolic_shape("n")
    exported = jax.export.export(apply)(jax.ShapeDtypeStruct((batch, 3, 5, 8), jnp.float32))
    for count in (1, 4):
        x = jnp.asarray(activations(count, 3, 5, 8))
        np.testing.assert_allclose(exported.call(x), apply(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", [{"groups": 5}, {"size": 5}, {}, {"groups": 4, "size": 3}])
def test_groups_that_do_not_fit_are_refused(how):
    with pytest.raises(ValueError, match="divisor of 12 channels"):
        normalisation.GroupNorm(**how).init(jax.random.key(0), jnp.zeros((1, 2, 2, 12)))
