"""Seg2Eye's training step against an independent account of it, on one and on eight devices; and its use."""

import runpy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import stepping

from eyegan_jax.errors import UserError
from eyegan_jax.images import to_float
from eyegan_jax.layers import spectral
from eyegan_jax.systems import seg2eye

SIZE = (18, 14)


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def config_of(root):
    """The smoke config, smaller yet, with plain SGD: its parameters show the size of a gradient."""

    def make(variant="smoke", **changes):
        config = runpy.run_path(str(root / "configs" / "seg2eye.py"))["get_config"](variant).unlock()
        s = config.seg2eye
        s.generator.width = s.encoder.width = s.discriminator.width = 2
        s.generator.scales, s.generator.mask_features = 2, 3
        s.encoder.size, s.encoder.code = 16, 3
        s.discriminator.layers, s.discriminator.scales = 2, 2
        config.image_shape = (*SIZE, 1)
        for name in ("painter_optimiser", "discriminator_optimiser"):
            s[name].name, s[name].learning_rate = "sgd", 0.05
        config.update_from_flattened_dict(changes)
        return config

    return make


def batch_of(size=8, references=3, seed=0):
    numbers = np.random.default_rng(seed)
    return {
        "eyes": {
            "image": numbers.integers(0, 256, (size, 1, *SIZE, 1), dtype=np.uint8),
            "mask": numbers.integers(0, 4, (size, 1, *SIZE), dtype=np.uint8),
            "references": numbers.integers(0, 256, (size, 1, references, *SIZE, 1), dtype=np.uint8),
        }
    }


def started(system, seed=0):
    """A state whose parameters all matter: the published initialisation is nearly zero."""
    state = jax.eval_shape(partial(system.init, devices=1), jax.random.key(0), batch_of())
    numbers = np.random.default_rng(seed)

    def fill(leaf):
        scale = 0.5 / np.sqrt(max(leaf.size // leaf.shape[-1], 1)) if leaf.ndim > 1 else 0.2
        return jnp.asarray(numbers.normal(size=leaf.shape) * scale, jnp.float32)

    painter, discriminator = jax.tree.map(fill, (state.painter, state.discriminator))
    kernels = painter | {"discriminator": discriminator}
    vectors = jax.tree.map(fill, state.spectral)
    vectors = {name: spectral.advance(kernels[name], vectors[name], 3) for name in vectors}
    batch_stats = jax.tree.map(jnp.zeros_like, state.batch_stats)
    average = {name: {"params": painter[name], "spectral": vectors[name]} for name in painter}
    if batch_stats:
        average["generator"]["batch_stats"] = batch_stats
    return state.replace(
        step=jnp.zeros((), jnp.int32),
        painter=painter,
        average=jax.tree.map(jnp.copy, average),
        discriminator=discriminator,
        spectral=vectors,
        batch_stats=batch_stats,
        painter_optimiser=system.painter_optimiser.init(painter),
        discriminator_optimiser=system.discriminator_optimiser.init(discriminator),
    )


def run(system, wrapper="pmap", devices=1, repeats=1, **batch):
    schedule = [(system.adversarial_step, batch_of(seed=i, **batch)) for i in range(repeats)]
    return stepping.run(system, wrapper, devices, started(system), schedule)[-1]


@pytest.mark.parametrize(("statistics", "wrappers"), [("instance", ["pmap"]), ("batch", ["pmap", "shard_map"])])
def test_eight_devices_equal_one(config_of, statistics, wrappers):
    # Every kind of layer once: more of the same would only take longer to compile.
    smallest = {"seg2eye.generator.scales": 1, "seg2eye.discriminator.scales": 1}
    system = seg2eye.build(config_of(**smallest, **{"seg2eye.generator.statistics": statistics}))
    reference, reference_metrics = run(system, "pmap", 1, repeats=2)
    start = started(system)
    assert optax.tree.norm(jax.tree.map(jnp.subtract, reference.painter, start.painter)) > 1e-2
    for wrapper in wrappers:
        state, metrics = run(system, wrapper, 8, repeats=2)
        jax.tree.map(partial(np.testing.assert_allclose, atol=2e-5, rtol=2e-4), state, reference)
        for name, value in metrics.items():
            np.testing.assert_allclose(value, reference_metrics[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_step_is_discriminator_first_then_generator_with_a_fresh_forward_pass(config_of):
    """One forward pass of the generator gives the gradients that the textbook's two passes give."""
    config = config_of(**{"seg2eye.vary_references": False, "seg2eye.mirror": False})
    system = seg2eye.build(config)
    state, batch = started(system), batch_of(size=2)
    after, metrics = run(system, size=2)
    target, references = (to_float(batch["eyes"][name][:, 0]) for name in ("image", "references"))
    mask = batch["eyes"]["mask"][:, 0]
    network = {
        "generator": system.generator,
        "encoder": system.encoder,
        "discriminator": system.discriminator,
    }

    def apply(name, params, *inputs, vectors=state.spectral):
        return network[name].apply({"params": params, "spectral": vectors[name]}, *inputs)

    def paint(painter):
        style, features = apply("encoder", painter["encoder"], references)
        return apply("generator", painter["generator"], mask, style), style, features

    def discriminator_loss(params):
        fake, *_ = paint(state.painter)
        real, fake = apply("discriminator", params, mask, target), apply("discriminator", params, mask, fake)
        of_real, of_fake = ([features[-1] for features in scales] for scales in (real, fake))
        return (
            sum(jnp.maximum(0, 1 - r).mean() for r in of_real) / 2
            + sum(jnp.maximum(0, 1 + f).mean() for f in of_fake) / 2
        )

    rate = config.seg2eye.painter_optimiser.learning_rate
    value, gradient = jax.jit(jax.value_and_grad(discriminator_loss))(state.discriminator)
    np.testing.assert_allclose(metrics["loss/discriminator"], value, rtol=1e-4)
    discriminator = jax.tree.map(lambda p, g: p - rate * g, state.discriminator, gradient)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), after.discriminator, discriminator)
    vectors = state.spectral | {"discriminator": spectral.advance(discriminator, state.spectral["discriminator"])}

    def painter_loss(painter):
        fake, style, features = paint(painter)
        style, features = jax.lax.stop_gradient((style, features))
        judge = partial(apply, "discriminator", discriminator, mask, vectors=vectors)
        of_real, of_fake = jax.lax.stop_gradient(judge(target)), judge(fake)
        own, own_features = apply("encoder", jax.lax.stop_gradient(painter["encoder"]), fake[:, None])
        grams = []
        for a, b in zip(own_features[1:], features[1:]):  # noqa: B905
            flat = [f.reshape(2, -1, f.shape[-1]) for f in (a, b)]
            a, b = (jnp.einsum("npi,npj->nij", f, f) / f[0].size for f in flat)
            grams.append(jnp.abs(a - b).mean())
        return (
            sum(-f[-1].mean() for f in of_fake) / 2
            + 10 / 2 * sum(jnp.abs(f - r).mean() for a, b in zip(of_fake, of_real) for f, r in zip(a[:-1], b[:-1]))  # noqa: B905
            + 15 * ((fake - target) ** 2).mean()
            + 50 * sum(grams)
            + 0.5 * ((own - style) ** 2).mean()
            + 1e-3 * sum(((a - b) ** 2).mean() for a, b in zip(own_features, features))  # noqa: B905
        )

    value, gradient = jax.jit(jax.value_and_grad(painter_loss))(state.painter)
    np.testing.assert_allclose(metrics["loss/painter"], value, rtol=1e-4)
    painter = jax.tree.map(lambda p, g: p - rate * g, state.painter, gradient)
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-5, rtol=1e-3), after.painter, painter)
    decay = config.seg2eye.averaging
    average = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state.painter, painter)
    for name in painter:
        jax.tree.map(partial(np.testing.assert_allclose, atol=2e-5), after.average[name]["params"], average[name])
    # The singular vectors in the state are one iteration ahead of those that the step has used.
    for name in ("generator", "encoder"):
        expected = spectral.advance(painter[name], state.spectral[name])
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), after.spectral[name], expected)


def test_losses_of_weight_zero_are_not_computed(config_of):
    names = ("adversarial", "feature_matching", "gram", "style_code", "style_features")
    system = seg2eye.build(config_of(**{f"seg2eye.loss.{name}": 0.0 for name in names}))
    step = jax.pmap(system.adversarial_step, "data", in_axes=(None, 0, None), out_axes=None, devices=jax.devices()[:1])
    batch = jax.tree.map(lambda x: x[None], batch_of())
    _, metrics = jax.eval_shape(step, started(system), batch, jax.random.key(0))
    assert set(metrics) == {"loss/l2", "loss/painter", "gradient/painter"}


def test_a_painter_without_references_is_refused(config_of):
    eyes = {name: value for name, value in batch_of()["eyes"].items() if name != "references"}
    with pytest.raises(UserError, match=r"config\.data\.eyes\.references: expected at least 1, found none"):
        seg2eye.build(config_of()).init(jax.random.key(0), {"eyes": eyes}, 1)


def test_flip_and_number_of_references_follow_the_sample_not_the_device(config_of):
    system = seg2eye.build(config_of())
    eyes = batch_of(size=16)["eyes"]
    outputs = {}
    for devices in (1, 8):
        parts = jax.tree.map(lambda x, d=devices: x.reshape(d, 16 // d, *x.shape[1:]), eyes)
        mapped = jax.pmap(system._samples, "data", in_axes=(0, None), devices=jax.devices()[:devices])
        outputs[devices] = jax.tree.map(
            lambda x: np.asarray(x).reshape(16, *x.shape[2:]), mapped(parts, jax.random.key(3))
        )
    jax.tree.map(np.testing.assert_array_equal, outputs[1], outputs[8])
    mask, target, references, present = outputs[1]
    flips = 0
    for i in range(16):
        flipped = not np.array_equal(mask[i], eyes["mask"][i, 0])
        flips += flipped
        for result, original in ((mask, eyes["mask"]), (target, to_float(eyes["image"]))):
            expected = original[i, 0][:, ::-1] if flipped else original[i, 0]
            np.testing.assert_allclose(result[i], expected, atol=1e-6)
        expected = to_float(eyes["references"][i, 0])
        np.testing.assert_allclose(references[i], expected[:, :, ::-1] if flipped else expected, atol=1e-6)
    assert 0 < flips < 16
    counts = present.sum(1)
    assert counts.min() >= 1 and len(set(counts)) == 3


@pytest.fixture(scope="module")
def painted(config_of):
    system = seg2eye.build(config_of())
    state, batch = started(system), batch_of(size=3)["eyes"]
    return system, state.average, jnp.asarray(batch["mask"][:, 0]), to_float(batch["references"][:, 0]), state


def test_every_mask_in_every_style(painted):
    system, variables, mask, references, _ = painted
    styles = system.encode(variables, references)
    grid = jax.jit(system.paint_styles)(variables, mask, styles)
    assert grid.shape == (3, 3, *SIZE, 1)
    own = jax.jit(system.synthesize)(variables, mask, references)
    for i in range(3):
        np.testing.assert_allclose(grid[i, i], own[i], atol=1e-4)
    assert np.abs(grid[0, 0] - grid[0, 1]).max() > 1e-3 and np.abs(grid[0, 0] - grid[1, 0]).max() > 1e-3


def test_interpolation_starts_and_ends_at_the_two_people(painted):
    system, variables, mask, references, _ = painted
    way = jax.jit(system.interpolate)(variables, mask[:1], references[0], references[1, :2], jnp.array([0.0, 0.5, 1.0]))
    assert way.shape == (1, 3, *SIZE, 1)
    ends = [jax.jit(system.synthesize)(variables, mask[:1], r[None]) for r in (references[0], references[1, :2])]
    np.testing.assert_allclose(way[0, 0], ends[0][0], atol=1e-4)
    np.testing.assert_allclose(way[0, 2], ends[1][0], atol=1e-4)
    assert min(np.abs(way[0, 1] - way[0, i]).max() for i in (0, 2)) > 1e-4


def test_pictures_show_mask_reference_painting_and_truth(painted):
    system, *_, state = painted
    batch = batch_of(size=2)
    grid = jax.jit(system.pictures)(state, batch)
    assert grid.shape == (4, 2, *SIZE, 1)
    np.testing.assert_allclose(grid[1], to_float(batch["eyes"]["references"][:, 0, 0]), atol=1e-6)
    np.testing.assert_allclose(grid[3], to_float(batch["eyes"]["image"][:, 0]), atol=1e-6)
    assert set(np.unique(np.round(grid[0], 3))) <= {-1.0, np.float32(-0.333), np.float32(0.333), 1.0}


@pytest.mark.parametrize(
    "variant",
    ["", "smoke", "paper", "official", "spade", "adain", "nogram", "nomatching", "k1", "k16", "batch"],
)
def test_every_variant_builds(root, variant):
    config = runpy.run_path(str(root / "configs" / "seg2eye.py"))["get_config"](variant)
    system = seg2eye.build(config)
    assert system.phases[0].streams == {"eyes": 1}
    if variant in ("paper", "official"):
        batch = {
            name: np.zeros((1, 1, *shape), np.uint8)
            for name, shape in (
                ("image", (320, 256, 1)),
                ("mask", (320, 256)),
                ("references", (4, 320, 256, 1)),
            )
        }
        state = jax.eval_shape(partial(system.init, devices=1), jax.random.key(0), {"eyes": batch})
        sizes = {name: sum(leaf.size for leaf in jax.tree.leaves(params)) for name, params in state.painter.items()}
        assert sizes["generator"] == 92_460_481
        assert variant == "paper" or sizes["encoder"] == 6_529_632


def test_wrong_settings_are_named(config_of):
    with pytest.raises(UserError, match="aggregate"):
        seg2eye.build(config_of(**{"seg2eye.encoder.aggregate": "median"}))
    with pytest.raises(UserError, match="gram_order"):
        seg2eye.build(config_of(**{"seg2eye.loss.gram_order": 3}))
