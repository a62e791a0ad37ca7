"""The residual refiners: published size, the identity at the start, warping and order against direct evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax.images import to_uint8
from eyegan_jax.layers import keys
from eyegan_jax.layers.convolution import count_parameters
from eyegan_jax.networks.deeplab import DeepLab
from eyegan_jax.networks.residual_refiner import ReferenceRefiner, ResidualRefiner, paint_classes

SMALL = ReferenceRefiner(width=4, detail=4)


def people(count=2, references=3, size=(22, 19), seed=0):
    rng = np.random.default_rng(seed)
    return (
        jnp.asarray(rng.integers(0, 4, (count, *size))),
        jnp.asarray(rng.uniform(-0.9, 0.9, (count, references, *size, 1)), jnp.float32),
        jnp.asarray(rng.integers(0, 4, (count, references, *size))),
    )


@pytest.fixture(scope="module")
def variables():
    return jax.jit(lambda k: SMALL.init(k, *people()))(keys.compact(jax.random.key(0)))


@pytest.fixture(scope="module")
def trained(variables):
    """Variables whose heads are no longer zero."""
    noise = lambda p: p + 0.05 * np.random.default_rng(1).normal(size=p.shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(noise, variables)


def test_published_parameter_counts():
    image = jnp.zeros((1, 64, 48, 3))
    for outputs, expected in ((1, 59_339_169), (4, 59_339_940)):
        shapes = jax.eval_shape(DeepLab(outputs).init, jax.random.key(0), image)
        assert count_parameters(shapes["params"]) == expected


def test_painted_mask_has_exactly_the_four_published_levels():
    painted = to_uint8(paint_classes(np.array([[0, 1], [2, 3]])))
    np.testing.assert_array_equal(painted[..., 0], [[125, 103], [76, 34]])


def test_deeplab_output_is_smooth_and_of_the_input_size():
    net = DeepLab(1, stages=(1, 1, 1, 1), width=4, pyramid=8)
    image = jax.random.normal(jax.random.key(0), (1, 37, 45, 3))
    output, _ = jax.jit(lambda k: net.init_with_output(k, image))(keys.compact(jax.random.key(1)))
    assert output.shape == (1, 37, 45, 1)
    # Interpolated from 10x12 with aligned corners: linear between nodes, so second differences vanish mostly.
    second = np.abs(np.diff(np.asarray(output)[0, :, 0, 0], 2))
    assert np.median(second) < 1e-4 * np.ptp(output) and np.ptp(output) > 0


def test_zero_residual_gives_the_nearest_reference_back_exactly():
    mask, references, reference_masks = people()
    net = ResidualRefiner(DeepLab(1, stages=(1, 1, 1, 1), width=4, pyramid=8))
    made = jax.jit(lambda k: net.init(k, mask, references, reference_masks))(keys.compact(jax.random.key(0)))
    silent = jax.tree_util.tree_map_with_path(lambda path, p: 0 * p if "head" in str(path) else p, made)
    image, residual = net.apply(silent, mask, references, reference_masks)
    np.testing.assert_array_equal(image, references[:, 0])
    np.testing.assert_array_equal(residual, 0)


def test_at_the_start_one_reference_comes_back_exactly(variables):
    mask, references, reference_masks = people(references=1)
    image, residual = SMALL.apply(variables, mask, references, reference_masks)
    np.testing.assert_array_equal(image, references[:, 0])
    np.testing.assert_array_equal(residual, 0)


def test_at_the_start_agreeing_pixels_win(variables):
    mask, references, reference_masks = people(references=2)
    reference_masks = reference_masks.at[:, 0].set(mask).at[:, 1].set((mask + 1) % 4)
    image, _ = SMALL.apply(variables, mask, references, reference_masks)
    weight = 1 / (1 + np.exp(-np.log1p(np.exp(4.0))))
    expected = weight * references[:, 0] + (1 - weight) * references[:, 1]
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_the_order_of_references_does_not_matter_but_their_number_may_vary(trained):
    mask, references, reference_masks = people(references=3)
    image, _ = SMALL.apply(trained, mask, references, reference_masks)
    turned, _ = SMALL.apply(trained, mask, references[:, ::-1], reference_masks[:, ::-1])
    np.testing.assert_allclose(turned, image, atol=1e-5)
    fewer, _ = SMALL.apply(trained, mask, references[:, :1], reference_masks[:, :1])
    assert fewer.shape == image.shape and np.abs(fewer - image).max() > 1e-3
