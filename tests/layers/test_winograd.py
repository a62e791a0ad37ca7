"""Winograd's algorithm against the sums that define a convolution, in NumPy and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, PartitionSpec

from eyegan_jax.layers import winograd
from eyegan_jax.layers.convolution import convolve

PAIR = st.tuples(st.integers(0, 3), st.integers(0, 3))


def windows(x, padding):
    """``[B, H', W', 3, 3, I]``: what every output sees."""
    padded = np.pad(x.astype(np.float64), ((0, 0), *padding, (0, 0)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    return seen.transpose(0, 1, 2, 4, 5, 3)


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@settings(max_examples=20)
@given(
    batch=st.integers(1, 6),
    size=st.tuples(st.integers(3, 13), st.integers(3, 13)),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    padding=st.tuples(PAIR, PAIR),
    chunk=st.sampled_from([1, 40, 2**15]),  # image by image, some at a time, all at once
)
def test_value_and_weight_gradient_are_the_sums(batch, size, channels, padding, chunk):
    x, kernel = numbers(0, batch, *size, channels[0]), numbers(1, 3, 3, *channels)
    seen = windows(x, padding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "CHUNK", chunk)
        made = winograd.convolve(jnp.asarray(x), jnp.asarray(kernel), padding)
        slopes = numbers(2, *made.shape)
        gradient = winograd.weight_gradient(jnp.asarray(x), jnp.asarray(slopes), padding)
    value = np.einsum("bhwijc,ijcd->bhwd", seen, kernel)
    np.testing.assert_allclose(made, value, atol=3e-5 * np.abs(value).max())
    by_kernel = np.einsum("bhwijc,bhwd->ijcd", seen, slopes)
    np.testing.assert_allclose(gradient, by_kernel, atol=3e-5 * np.abs(by_kernel).max())


def refiner_layer():
    """A layer of the refiner, as large as :func:`convolve` takes it to Winograd in all three directions."""
    return numbers(0, 8, 35, 55, 64), numbers(1, 3, 3, 64, 64) / 24


def loss(x, kernel):
    return jnp.sum(jnp.sin(convolve(x, kernel, (1, 1), ((1, 1), (1, 1)))))


def test_a_layer_of_the_refiner_goes_this_way():
    x, kernel = refiner_layer()
    program = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(x, kernel))
    assert "conv_general_dilated" not in program
    made = convolve(x, kernel, (1, 1), ((1, 1), (1, 1)))
    np.testing.assert_allclose(made, np.einsum("bhwijc,ijcd->bhwd", windows(x, ((1, 1),) * 2), kernel), atol=1e-4)


def test_devices_that_share_the_images_agree_with_one():
    x, kernel = refiner_layer()
    x = np.concatenate([x, x[::-1]])  # two for each device
    mesh = Mesh(np.array(jax.devices()), ("data",))
    wanted = jax.jit(jax.grad(loss, (0, 1)))(x, kernel)

    def shared(x, kernel):
        by_x, by_kernel = jax.grad(loss, (0, 1))(x, jax.lax.pcast(kernel, "data", to="varying"))
        return by_x, jax.lax.psum(by_kernel, "data")

    specs = PartitionSpec("data"), PartitionSpec()
    by_shard_map = jax.jit(jax.shard_map(shared, mesh=mesh, in_specs=specs, out_specs=specs))(x, kernel)
    for ours, one in zip(by_shard_map, wanted, strict=True):
        np.testing.assert_allclose(ours, one, atol=2e-5 * np.abs(one).max())
