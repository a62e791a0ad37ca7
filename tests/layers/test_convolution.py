"""Our convolution against lax's own, in value and in every derivative that a network asks for."""

from functools import partial
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyegan_jax.layers import convolution
from eyegan_jax.layers.convolution import Conv, convolve, explicit_padding

NUMBERS = ("NHWC", "HWIO", "NHWC")


def reference(x, kernel, strides, padding):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NUMBERS)


def close(a, b, tolerance=2e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * np.abs(y).max()), a, b)


def image_by_image(yes: bool):
    """Take the weight gradient so, however small it is, or of the whole batch at once."""
    limit = 0 if yes else 2**30
    return patch.multiple(convolution, FEW_CHANNELS=limit, FITS_CACHE=limit, DEEP=2**30, SHALLOW=2**30)


@settings(max_examples=16)
@given(
    by_image=st.booleans(),
    batch=st.integers(1, 4),
    size=st.tuples(st.integers(5, 11), st.integers(5, 11)),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.one_of(
        st.sampled_from(["SAME", "VALID"]), st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2)
    ),
)
def test_value_and_gradients_equal_lax(by_image, batch, size, channels, kernel, strides, padding):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (batch, *size, channels[0]))
    w = jax.random.normal(keys[1], (*kernel, *channels))
    shape = jax.eval_shape(lambda x, w: reference(x, w, strides, padding), x, w).shape
    weights = jax.random.normal(keys[2], shape)

    def outcome(conv):
        def loss(x, w):
            return jnp.sum(weights * conv(x, w, strides, padding))

        return jax.value_and_grad(loss, (0, 1))(x, w)

    with image_by_image(by_image):
        ours = outcome(convolve)
    close(ours, outcome(reference))


@pytest.mark.parametrize(("wanted", "by_image"), [(0, True), (1, False), (1, True)])
def test_a_gradient_that_nobody_wants_is_not_computed(wanted, by_image):
    x, w = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))
    gradient = jax.grad(lambda *a: convolve(*a, (1, 1), "SAME").sum(), wanted)
    with image_by_image(by_image):
        count = str(jax.make_jaxpr(gradient)(x, w)).count("conv_general_dilated[")
    # Forward, and one convolution by x, or by w one or two (the first image outside of the loop, the others in it).
    assert count == 2 + (wanted and by_image)


def test_gradient_of_a_gradient():
    """As the R1 penalty takes it: the norm of the gradient by the image, differentiated by the kernel."""
    x = jax.random.normal(jax.random.key(0), (3, 7, 6, 2))
    w = jax.random.normal(jax.random.key(1), (3, 3, 2, 4))

    def penalty(conv, w):
        score = lambda x: jnp.sum(jnp.tanh(conv(x, w, (2, 2), ((1, 1), (1, 1)))))  # noqa: E731
        return jnp.sum(jax.grad(score)(x) ** 2)

    close(jax.grad(partial(penalty, convolve))(w), jax.grad(partial(penalty, reference))(w), 1e-4)


def test_under_vmap_jit_and_scan():
    x = jax.random.normal(jax.random.key(0), (2, 3, 7, 6, 2))
    w = jax.random.normal(jax.random.key(1), (2, 3, 3, 2, 4))

    def loss(conv, x, w):
        return jnp.sum(conv(x, w, (1, 1), ((1, 1), (1, 1))) ** 2)

    both = [jax.jit(jax.vmap(jax.grad(partial(loss, conv), 1)))(x, w) for conv in (convolve, reference)]
    close(*both)
    scanned = jax.lax.map(lambda a: jax.grad(partial(loss, convolve), 1)(*a), (x, w))
    close(scanned, both[1])


def test_bfloat16_sums_in_float32():
    """The weight gradient of many images keeps small contributions."""
    x = jnp.ones((300, 4, 4, 1), jnp.bfloat16)
    w = jnp.ones((1, 1, 1, 1), jnp.bfloat16)
    gradient = jax.grad(lambda w: convolve(x, w, (1, 1), "VALID").astype(jnp.float32).sum())(w)
    assert gradient.dtype == jnp.bfloat16 and float(gradient[0, 0, 0, 0]) == 4800


@settings(max_examples=12)
@given(
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(3, 11), st.integers(3, 11)),
    outputs=st.integers(1, 9),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.one_of(
        st.sampled_from(["SAME", "VALID"]), st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2)
    ),
    pointwise=st.booleans(),
)
def test_layers_of_one_channel_on_a_gpu_equal_lax(batch, size, outputs, strides, padding, pointwise):
    """One channel in, or one out of a 1x1 kernel: small whole numbers, of which bfloat16 holds every sum exactly."""
    keys = jax.random.split(jax.random.key(0), 3)
    kernel = (1, 1, outputs, 1) if pointwise else (3, 3, 1, outputs)
    strides = (1, 1) if pointwise else strides
    padding = "VALID" if pointwise else padding
    small = partial(jax.random.randint, minval=-1, maxval=2)
    x, w = small(keys[0], (batch, *size, kernel[2])), small(keys[1], kernel)
    x, w = x.astype(jnp.bfloat16), w.astype(jnp.bfloat16)
    slope = small(keys[2], jax.eval_shape(lambda x, w: reference(x, w, strides, padding), x, w).shape)

    def outcome(conv, dtype):
        made, back = jax.vjp(lambda x, w: conv(x, w, strides, padding), x.astype(dtype), w.astype(dtype))
        return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), (made, *back(slope.astype(dtype))))

    with patch.object(jax, "default_backend", lambda: "gpu"):
        assert "conv_general_dilated[" not in str(jax.make_jaxpr(lambda x, w: convolve(x, w, strides, padding))(x, w))
        ours = outcome(convolve, jnp.bfloat16)
    jax.tree.map(np.testing.assert_array_equal, ours, outcome(reference, jnp.float32))


def test_the_module_keeps_float32_parameters_and_pads_like_pytorch():
    layer = Conv(4, 3, 2, explicit_padding("explicit", 3), dtype=jnp.bfloat16)
    x = jnp.ones((1, 18, 28, 2))
    out, variables = layer.init_with_output(jax.random.key(0), x)
    assert out.shape == (1, 9, 14, 4) and out.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    assert explicit_padding("SAME", 3) == "SAME" and explicit_padding("explicit", 7) == ((3, 3), (3, 3))
