"""RITnet: its published size, any image size, and what its statistics depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax.layers import keys
from eyegan_jax.layers.convolution import count_parameters
from eyegan_jax.networks.segmenter import RITnet

SMALL = RITnet(features=4)
SHAPE = (2, 35, 55, 1)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(lambda k: SMALL.init(k, jnp.zeros(SHAPE)))(keys.compact(jax.random.key(0)))


def test_published_parameter_count():
    shapes = jax.eval_shape(RITnet().init, jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
    assert count_parameters(shapes["params"]) == 248_900
    sizes = {
        part: sum(count_parameters(v) for name, v in shapes["params"].items() if name.startswith(part))
        for part in ("down1", "down2", "down5", "up1", "up4", "head")
    }
    assert sizes == {"down1": 22_080, "down2": 32_992, "down5": 32_992, "up1": 23_680, "up4": 23_680, "head": 132}


def test_any_size_in_same_size_out(variables):
    images = jnp.linspace(-1, 1, np.prod(SHAPE)).reshape(SHAPE)
    logits = SMALL.apply(variables, images)
    assert logits.shape == (2, 35, 55, 4) and logits.dtype == jnp.float32
    assert np.isfinite(logits).all() and np.ptp(np.asarray(logits)) > 0


def test_trained_network_treats_every_image_alone(variables):
    images = jax.random.normal(jax.random.key(1), SHAPE)
    both = SMALL.apply(variables, images)
    np.testing.assert_allclose(SMALL.apply(variables, images[:1]), both[:1], atol=1e-4)


def test_padding_does_not_reach_far(variables):
    """An image of 35x55 and its own extension by repeated edges give the same logits where both exist."""
    image = jax.random.normal(jax.random.key(2), SHAPE)[:1]
    padded = jnp.pad(image, ((0, 0), (0, 13), (0, 9), (0, 0)), mode="edge")
    np.testing.assert_allclose(SMALL.apply(variables, padded)[:, :35, :55], SMALL.apply(variables, image), atol=1e-5)
