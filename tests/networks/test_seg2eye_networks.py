"""Seg2Eye's networks: published sizes, any image size, independence of samples and of the references'
order.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyegan_jax.errors import UserError
from eyegan_jax.layers import spectral
from eyegan_jax.layers.convolution import count_parameters
from eyegan_jax.networks.patch_discriminator import PatchDiscriminator, halve
from eyegan_jax.networks.style_encoder import StyleEncoder
from eyegan_jax.networks.style_generator import StyleGenerator

KEY = jax.random.key(0)
SMALL = {"width": 3, "scales": 2, "mask_features": 5}
SMALLEST = SMALL | {"scales": 1}


def masks(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, 4, shape))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def lively(module, *inputs, seed=0):
    """Variables that make every layer matter (the published initialisation is nearly zero), without compiling
    init.
    """
    shapes = jax.eval_shape(module.init, KEY, *inputs)
    numbers = np.random.default_rng(seed)

    def fill(path, leaf):
        if path[0].key == "batch_stats":
            return jnp.full(leaf.shape, float(path[-1].key == "variance"))
        spread = 0.5 / np.sqrt(max(leaf.size // leaf.shape[-1], 1)) if path[-1].key == "kernel" else 0.3
        return jnp.asarray(numbers.normal(size=leaf.shape) * spread, jnp.float32)

    variables = jax.tree_util.tree_map_with_path(fill, shapes)
    return variables | {"spectral": spectral.advance(variables["params"], variables["spectral"])}


def parameters(module, *args):
    return count_parameters(jax.eval_shape(module.init, KEY, *args)["params"])


@pytest.mark.parametrize(
    ("module", "inputs", "expected"),
    [
        (StyleGenerator(), [masks(1, 320, 256), jnp.zeros((1, 16))], 92_460_481),
        (StyleGenerator(raw_adain=True), [masks(1, 320, 256), jnp.zeros((1, 16))], 92_460_481),
        (StyleGenerator(), [masks(1, 320, 256), jnp.zeros((1, 1024))], 114_523_585),
        (StyleGenerator(channels=3, modulation="spade"), [masks(1, 320, 256)], 92_089_539),
        (PatchDiscriminator(), [masks(1, 320, 256), jnp.zeros((1, 320, 256, 1))], 5_531_778),
        (PatchDiscriminator(), [masks(1, 320, 256), jnp.zeros((1, 320, 256, 3))], 5_535_874),
        (StyleEncoder(released=True), [jnp.zeros((1, 4, 320, 256, 1))], 6_529_632),
        (StyleEncoder(released=True, code=1024), [jnp.zeros((1, 1, 320, 256, 1))], 23_046_720),
    ],
)
def test_parameter_counts_are_the_published_ones(module, inputs, expected):
    assert parameters(module, *inputs) == expected


def test_discriminator_feature_sizes_are_the_published_ones():
    def features(mask, image):
        return PatchDiscriminator().init_with_output(KEY, mask, image)[0]

    scales = jax.eval_shape(features, masks(1, 320, 256), jnp.zeros((1, 320, 256, 1)))
    assert [f.shape[1:3] for f in scales[0]] == [(161, 129), (81, 65), (41, 33), (42, 34), (43, 35)]
    assert [f.shape[1:3] for f in scales[1]] == [(81, 65), (41, 33), (21, 17), (22, 18), (23, 19)]


def test_halve_leaves_positions_outside_of_the_image_out_of_the_mean():
    np.testing.assert_allclose(halve(jnp.ones((1, 5, 4, 2))), 1.0)
    corner = np.arange(12.0).reshape(1, 3, 4, 1)
    np.testing.assert_allclose(halve(jnp.asarray(corner))[0, 0, 0, 0], (0 + 1 + 4 + 5) / 4)


@pytest.mark.parametrize(
    "change",
    [{}, {"raw_adain": True}, {"shared_trunk": True}, {"modulation": "spade"}, {"modulation": "adain"}],
    ids=str,
)
def test_samples_of_a_batch_do_not_touch_each_other(change):
    generator = StyleGenerator(**SMALL, **change)
    mask, style = masks(3, 21, 18), normal(3, 6)
    variables = lively(generator, mask, style)
    apply = jax.jit(generator.apply)
    together = apply(variables, mask, style)
    alone = jnp.concatenate([apply(variables, mask[i : i + 1], style[i : i + 1]) for i in range(3)])
    assert np.std(together) > 0.05
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_instance_statistics_are_the_same_in_training_and_use():
    generator = StyleGenerator(**SMALLEST)
    mask, style = masks(2, 16, 16), normal(2, 6)
    variables = lively(generator, mask, style)
    train, use = (jax.jit(functools.partial(generator.apply, train=train)) for train in (True, False))
    np.testing.assert_array_equal(train(variables, mask, style), use(variables, mask, style))


def test_batch_statistics_mix_samples_in_training_and_run_on_averages_in_use():
    generator = StyleGenerator(**SMALLEST, statistics="batch")
    mask, style = masks(3, 16, 16), normal(3, 6)
    variables = lively(generator, mask, style)

    train = jax.jit(functools.partial(generator.apply, train=True, mutable=["batch_stats"]))
    together, changed = train(variables, mask, style)
    alone, _ = train(variables, mask[:1], style[:1])
    assert np.abs(together[:1] - alone).max() > 1e-3
    for _ in range(100):
        variables = variables | changed
        _, changed = train(variables, mask, style)
    np.testing.assert_allclose(jax.jit(generator.apply)(variables, mask, style), together, atol=1e-3)


@settings(max_examples=6)
@given(st.integers(1, 40), st.integers(1, 40))
def test_any_height_and_width(height, width):
    generator = StyleGenerator(width=2, scales=3, mask_features=2)
    variables = jax.eval_shape(generator.init, KEY, masks(1, 8, 8), normal(1, 4))
    image = jax.eval_shape(generator.apply, variables, masks(1, height, width), normal(1, 4))
    assert image.shape == (1, height, width, 1) and image.dtype == jnp.float32


def test_padding_is_the_mask_continued():
    """An image of odd size is the crop of that of its mask, continued by hand to the next multiple of 4."""
    generator = StyleGenerator(**SMALL)
    mask, style = masks(1, 13, 10), normal(1, 6)
    variables = lively(generator, mask, style)
    continued = np.pad(mask, ((0, 0), (1, 2), (1, 1)), mode="edge")
    paint = jax.jit(functools.partial(generator.apply, variables))
    np.testing.assert_allclose(paint(mask, style), paint(continued, style)[:, 1:14, 1:11], atol=1e-5)


def test_reading_a_mask_once_serves_every_style():
    generator = StyleGenerator(**SMALL)
    mask, styles = masks(2, 13, 10), normal(3, 6)
    variables = lively(generator, mask, styles[:2])
    code = jax.jit(functools.partial(generator.apply, method=generator.read_mask))(variables, mask)
    paint = jax.jit(functools.partial(generator.apply, size=(13, 10), method=generator.paint))
    whole = jax.jit(generator.apply)
    for style in styles:
        pair = jnp.stack([style, style])
        np.testing.assert_allclose(paint(variables, code, pair), whole(variables, mask, pair), atol=1e-5)


def test_style_and_mask_both_reach_the_image_only_where_they_should():
    mask, style = masks(1, 16, 16), normal(1, 6)
    for modulation, style_matters in (("both", True), ("adain", True), ("spade", False)):
        generator = StyleGenerator(**SMALLEST, modulation=modulation)
        variables = lively(generator, mask, style)
        paint = jax.jit(functools.partial(generator.apply, variables))
        image = paint(mask, style)
        assert (np.abs(image - paint(mask, style + 1)).max() > 1e-3) == style_matters
        assert np.abs(image - paint(masks(1, 16, 16, seed=1), style)).max() > 1e-3


def test_unknown_settings_are_refused():
    for change in ({"modulation": "film"}, {"statistics": "layer"}):
        with pytest.raises(UserError, match="expected modulation"):
            StyleGenerator(**SMALL, **change).init(KEY, masks(1, 8, 8), normal(1, 4))
    with pytest.raises(UserError, match="power of two"):
        StyleEncoder(size=48).init(KEY, normal(1, 1, 20, 20, 1))


@pytest.fixture(scope="module", params=["max", "mean", "attention"])
def encoder(request):
    module = StyleEncoder(width=3, size=16, code=5, aggregate=request.param)
    references = normal(2, 4, 20, 12, 1)
    variables = lively(module, references)
    return jax.jit(lambda r, p=None: module.apply(variables, r, p)), references


def assert_same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), a, b)


def test_order_of_references_does_not_matter(encoder):
    apply, references = encoder
    assert_same(apply(references), apply(references[:, [2, 0, 3, 1]]))


def test_absent_references_do_not_matter(encoder):
    apply, references = encoder
    present = jnp.array([[True, True, False, False]] * 2)
    scribbled = references.copy()
    scribbled[:, 2:] = 5.0
    assert_same(apply(scribbled, present), apply(references[:, :2]))


def test_a_repeated_reference_says_nothing_new(encoder):
    apply, references = encoder
    assert_same(apply(references[:, :1]), apply(references[:, [0, 0, 0]]))


def test_only_the_released_encoder_is_blind_to_brightness():
    """A gain and an offset cancel in the released encoder, but for the zero padding at the border."""
    image = normal(1, 1, 40, 40, 1) * 0.3
    image -= image[:, :, 0].mean()
    change = {}
    for released in (True, False):
        module = StyleEncoder(width=4, size=32, released=released)
        variables = lively(module, image)
        apply = jax.jit(module.apply)
        code, dimmed = (apply(variables, x)[0] for x in (image, image * 0.5))
        change[released] = np.linalg.norm(code - dimmed) / np.linalg.norm(code)
    assert change[True] < 1e-2 and change[False] > 10 * change[True]
