"""The paper's networks: sizes, maps, receptive fields, padding (Shrivastava et al. 2017, section 3)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax.images import to_uint8
from eyegan_jax.layers.convolution import count_parameters
from eyegan_jax.networks.discriminator import HAND, Discriminator
from eyegan_jax.networks.gaze_estimator import GazeEstimator, GazeFeatures
from eyegan_jax.networks.refiner import Refiner

KEY = jax.random.key(0)


def shapes(module, *shape):
    """Parameters and output of a module without computing either."""
    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = jax.eval_shape(module.init, KEY, image)
    return count_parameters(variables), jax.eval_shape(module.apply, variables, image).shape


@pytest.mark.parametrize(
    ("module", "image", "parameters", "output"),
    [
        (Refiner(), (1, 35, 55, 1), 296_129, (1, 35, 55, 1)),
        (Refiner(blocks=10, stem_kernel=7), (1, 224, 224, 1), 741_825, (1, 224, 224, 1)),
        (Discriminator(), (1, 35, 55, 1), 75_906, (1, 9, 14, 2)),
        (Discriminator(padding="SAME"), (1, 64, 64, 1), 75_906, (1, 16, 16, 2)),
        (Discriminator(padding="VALID"), (1, 35, 55, 1), 75_906, (1, 4, 9, 2)),
        (Discriminator(HAND, 2, (32, 3, 2), padding="VALID"), (1, 224, 224, 1), None, (1, 5, 5, 2)),
        (Discriminator(decision="global"), (1, 35, 55, 1), None, (1, 1, 1, 2)),
        (GazeEstimator(), (1, 35, 55, 1), 9_816_659, (1, 3)),
        (GazeEstimator(fc9600=True), (1, 35, 55, 1), 101_986_259, (1, 3)),
        (GazeFeatures(), (1, 35, 55, 1), None, (1, 5, 10, 192)),
    ],
)
def test_published_sizes(module, image, parameters, output):
    found, shape = shapes(module, *image)
    assert shape == output
    if parameters is not None:
        assert found == parameters


def changed_pixels(module, shape, pixel):
    """Which outputs move when one input pixel does."""
    image = jax.random.uniform(KEY, (1, *shape, 1), minval=-1, maxval=1)
    variables = module.init(KEY, image)
    moved = module.apply(variables, image.at[0, pixel[0], pixel[1]].add(0.5))
    return np.abs(np.asarray(moved - module.apply(variables, image)))[0].max(-1) > 0


def test_refiner_sees_nine_pixels_around():
    rows, columns = np.nonzero(changed_pixels(Refiner(width=8, activation="elu"), (35, 55), (17, 27)))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (17 - 9, 17 + 9, 27 - 9, 27 + 9)


def test_discriminator_patch_sees_23_pixels():
    # Patch (i, j) is centred on pixel (4 i, 4 j): two stride-2 layers with symmetric padding.
    moved = changed_pixels(Discriminator(activation="elu"), (35, 55), (16, 24))
    rows, columns = np.nonzero(moved)
    assert rows.min() >= 4 - 2 and rows.max() <= 4 + 2 and columns.min() >= 6 - 2 and columns.max() <= 6 + 2
    assert moved[4, 6]


def test_padding_conventions_differ_on_even_sizes_only():
    # The second stride-2 layer sees 18x28: SAME pads (0, 1), explicit padding (1, 1).
    image = jax.random.uniform(KEY, (1, 35, 55, 1))
    variables = Discriminator().init(KEY, image)
    explicit, same = (Discriminator(padding=p).apply(variables, image) for p in ("explicit", "SAME"))
    assert explicit.shape == same.shape
    assert float(jnp.max(jnp.abs(explicit - same))) > 1e-4


def test_residual_output_starts_as_the_identity():
    image = jax.random.uniform(KEY, (2, 12, 16, 1), minval=-1, maxval=1)
    refiner = Refiner(width=8, blocks=1, output="residual")
    refined = refiner.apply(refiner.init(KEY, image), image)
    np.testing.assert_allclose(refined, image, atol=0.0021)
    np.testing.assert_array_equal(to_uint8(refined), to_uint8(image))


def test_valid_padding_of_the_refiner_is_refused():
    with pytest.raises(ValueError, match="image size"):
        Refiner(padding="VALID").init(KEY, jnp.zeros((1, 8, 8, 1)))
