"""Stages of gaze redirection: each trains its own network on the masks of the one before, on one device as on eight."""

import runpy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from randommodel import write_model

from eyegan_jax.errors import UserError
from eyegan_jax.gaze import vector_to_angles
from eyegan_jax.images import to_float, to_gray
from eyegan_jax.layers.detail import move
from eyegan_jax.models import load_model
from eyegan_jax.systems import gaze_gan, redirect
from eyegan_jax.systems.draft import draft, smoothed
from eyegan_jax.systems.pairs import flipped
from eyegan_jax.training import loop
from eyegan_jax.training.parallel import Parallel

SIZE = (16, 24)


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def config_of(root):
    def make(variant="smoke", **changes):
        config = runpy.run_path(str(root / "configs" / "redirect.py"))["get_config"](variant).unlock()
        config.image_shape = (*SIZE, 1)
        config.segmenter.features = 2
        config.seg2eye.generator.update({"width": 2, "mask_features": 2})
        config.seg2eye.encoder.update({"width": 2, "code": 3})
        config.redirect.redirector_optimiser = config.redirect.redirector_optimiser.copy_and_resolve_references()
        config.redirect.redirector_optimiser.name = "sgd"
        config.update_from_flattened_dict(changes)
        return config

    return make


def batch_of(size=8, seed=0, references=1):
    numbers = np.random.default_rng(seed)

    def images(*lead):
        return numbers.integers(0, 256, (size, 1, *lead, *SIZE, 1), dtype=np.uint8)

    def masks():
        return numbers.integers(0, 4, (size, 1, *SIZE), dtype=np.uint8)

    def gaze():
        vector = numbers.normal(size=(size, 1, 3)) * 0.3 - [0, 0, 1]
        return (vector / np.linalg.norm(vector, axis=-1, keepdims=True)).astype(np.float32)

    pairs = {"image": images(), "mask": masks(), "gaze": gaze(), "references": images(references)}
    pairs |= {"target_image": images(), "target_mask": masks(), "target_gaze": gaze()}
    motion = numbers.uniform(-3, 3, (size, 1, *SIZE, 3))
    motion[..., 2] = motion[..., 2] > 0
    pairs["motion"] = motion.astype(np.float16)
    frame = numbers.uniform(size=(size, 1, *SIZE)) > 0.7
    return {"eyes": {"image": images(), "mask": masks(), "frame": frame}, "pairs": pairs, "real": {"image": images()}}


def started(system, seed=0):
    """A state whose parameters all matter."""
    shapes = jax.eval_shape(partial(system.init, devices=1), jax.random.key(0), batch_of())
    numbers = np.random.default_rng(seed)

    def fill(leaf):
        if leaf.dtype == jnp.int32:
            return jnp.zeros(leaf.shape, jnp.int32)
        scale = 0.5 / np.sqrt(max(leaf.size // leaf.shape[-1], 1)) if leaf.ndim > 1 else 0.2
        return jnp.asarray(np.abs(numbers.normal(size=leaf.shape)) * scale, jnp.float32)

    return jax.tree.map(fill, shapes)


def run(system, phase, devices=1, batch=None):
    parallel = Parallel("pmap", jax.devices()[:devices])
    state = started(system)
    sharding = system.sharding(state)

    def step(state, resident, batch):
        del resident
        return system.phases[phase].step(state, batch, jax.random.key(1))

    compiled = parallel.compile(step, sharding)
    after, metrics = compiled(parallel.place(state, sharding), {}, parallel.shard_batch(batch or batch_of()))
    return jax.device_get(after), jax.device_get(metrics)


def moved(before, after):
    return float(optax.tree.norm(jax.tree.map(lambda a, b: jnp.asarray(a - b, jnp.float32), before, after)))


@pytest.fixture(scope="module")
def redirected(config_of):
    system = redirect.build(config_of())
    return system, {devices: run(system, 1, devices) for devices in (1, 8)}


def test_redirector_learns_alone_and_alike_on_one_and_eight_devices(redirected):
    system, found = redirected
    before, (after, metrics) = started(system), found[1]
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5, rtol=1e-3), found[8][0], after)
    for name, value in metrics.items():
        np.testing.assert_allclose(found[8][1][name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    assert moved(before.redirector, after.redirector) > 1e-3
    assert moved(before.segmenter, after.segmenter) == moved(before.painter, after.painter) == 0


def test_average_follows_the_redirector(redirected):
    system, found = redirected
    before, after = started(system), found[1][0]
    expected = jax.tree.map(
        lambda old, new: system.averaging * old + (1 - system.averaging) * new,
        before.average["redirector"]["params"],
        after.redirector,
    )
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), after.average["redirector"]["params"], expected)


def test_without_context_nothing_of_the_picture_is_kept(config_of):
    """A painter that paints nothing then leaves a gray picture; with context, a picture of its own tones."""
    image = to_float(jnp.asarray(batch_of(2)["real"]["image"][:, 0]))
    wish = jnp.array([[0.1, 0.4], [-0.2, 0.0]])
    for context in (True, False):
        system = redirect.build(config_of(**{"redirect.context": context}))
        variables = started(system).average
        params = variables["generator"]["params"]
        params["conv_img"] = jax.tree.map(jnp.zeros_like, params["conv_img"])
        change = system.change(variables, image, wish)
        assert (np.abs(change.edited).max() > 0) == context
        # Nothing is brighter or darker than what was there.
        assert np.abs(change.edited).max() <= np.abs(image).max()


@pytest.fixture(scope="module")
def painted(config_of):
    system = redirect.build(config_of())
    return system, *run(system, 2)


def test_painting_leaves_the_earlier_stages_alone(painted):
    system, after, metrics = painted
    before = started(system)
    assert moved(before.segmenter, after.segmenter) == moved(before.redirector, after.redirector) == 0
    for name in ("segmenter", "redirector"):
        assert moved(before.average[name], after.average[name]) == 0
    for name in ("generator", "encoder"):
        assert moved(before.painter.painter[name], after.painter.painter[name]) > 1e-4
        jax.tree.map(np.testing.assert_array_equal, after.average[name], after.painter.average[name])
    assert moved(before.painter.discriminator, after.painter.discriminator) > 1e-5
    assert {"loss/turned_mask", "loss/turned_cycle", "loss/turned_style", "loss/turned_adversarial"} <= set(metrics)
    assert all(np.isfinite(value) for value in metrics.values())


def test_a_training_goes_on_from_trained_networks(config_of):
    """The parts that are named are the trained ones, as averaged; everything else is as fresh."""
    system = redirect.build(config_of())
    before, other = started(system), started(system, seed=1)
    trained = {"segmenter": other.average, "painter": other.average}
    state = system.start_from(before, trained)
    for found, taken in (
        (state.average["segmenter"], other.average["segmenter"]),
        (state.segmenter.params, other.average["segmenter"]["params"]),
        (state.painter.painter["generator"], other.average["generator"]["params"]),
        (state.painter.spectral["encoder"], other.average["encoder"]["spectral"]),
        (state.redirector, before.redirector),
        (state.painter.discriminator, before.painter.discriminator),
    ):
        assert not moved(found, taken)
    assert moved(state.average["generator"], before.average["generator"])
    arrays = jax.tree.leaves(state)
    assert len({id(array) for array in arrays}) == len(arrays)  # a step gives every one of them away


def test_a_run_starts_from_the_models_that_its_config_names(config_of, tmp_path):
    """A run of no steps has the networks that it starts from; the command does the rest as ever."""
    config = config_of(**{"redirect.segmenter_steps": 0, "redirect.redirector_steps": 0, "steps": 0})
    folder = write_model(tmp_path, config, redirect.build(config), batch_of(), 0.1)
    with config.unlocked():
        config.start.update(dict.fromkeys(config.start, str(folder)))
    state = loop.train(config, tmp_path / "run").state
    trained = load_model(folder, ("average",)).params["average"]
    assert not moved(state.average, trained)
    assert not moved(state.segmenter.params, trained["segmenter"]["params"])
    with config.unlocked():
        config.start.painter = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="nowhere: expected a run"):
        loop.train(config, tmp_path / "other")
    with config.unlocked():
        config.start.painter = ""
    assert not moved(loop.train(config, tmp_path / "other").state.segmenter.params, trained["segmenter"]["params"])


def test_networks_of_another_size_are_no_start(config_of):
    system, wider = redirect.build(config_of()), redirect.build(config_of(**{"segmenter.features": 3}))
    with pytest.raises(UserError, match=r"config.start.segmenter: expected a segmenter of this config's size"):
        system.start_from(started(system), {"segmenter": started(wider).average})


@pytest.fixture(scope="module")
def tool(config_of):
    system = redirect.build(config_of())
    return system, started(system).average, jax.jit(system.redirect)


def test_one_to_four_pictures_in_any_order(tool):
    system, variables, _ = tool
    pictures = to_float(np.random.default_rng(3).integers(0, 256, (2, 4, *SIZE, 1), dtype=np.uint8))
    encode = jax.jit(system.encode)
    codes = [encode(variables, pictures[:, :k]) for k in (1, 4)]
    assert codes[0].shape == codes[1].shape == (2, 3)
    np.testing.assert_allclose(encode(variables, pictures[:, ::-1]), codes[1], atol=1e-5)
    assert np.abs(codes[0] - codes[1]).max() > 1e-4


def test_redirect_is_turning_the_mask_and_painting_it_on_top_of_a_draft(tool):
    """The steps one by one, the frame of glasses among them; pixels of the eyeball come along the flow."""
    system, variables, whole = tool
    image = to_float(batch_of(2)["pairs"]["image"][:, 0])
    wanted = jnp.array([[0.1, -0.2], [0.0, 0.3]])
    result = whole(variables, image, wanted)
    logits = jax.jit(partial(system.segmenter.network.apply, train=False))(variables["segmenter"], image)
    shares = np.asarray(jax.nn.softmax(logits))
    assert shares.shape[-1] == 5
    mask = shares[..., :4].copy()
    mask[..., 0] += shares[..., 4]
    np.testing.assert_allclose(jax.jit(system.masks)(variables, image), mask, atol=1e-5)
    turned, flow = jax.jit(system.turn)(variables, mask, wanted)
    assert np.abs(flow).max() > 1e-3
    drafted = draft(turned, image, jnp.asarray(mask), jnp.asarray(shares[..., 4:]), flow)
    condition = np.concatenate([turned, drafted.image, drafted.known], axis=-1)
    style = jax.jit(system.painter.encoder.apply)(variables["encoder"], image[:, None])[0]
    painted = jax.jit(system.painter.generator.apply)(variables["generator"], condition, style)
    np.testing.assert_allclose(result, np.clip(drafted.image + painted, -1, 1), atol=1e-4)
    assert np.abs(whole(variables, image, wanted + 0.2) - result).max() > 1e-4
    change = jax.jit(system.change)(variables, image, wanted)
    np.testing.assert_allclose(change.edited, result, atol=1e-6)
    np.testing.assert_allclose(change.share, drafted.arrived, atol=1e-5)
    smooth = np.asarray(smoothed(flow, drafted.arrived)) / np.array(SIZE)
    np.testing.assert_allclose(change.flow, smooth, atol=1e-5)
    np.testing.assert_allclose(change.moved, move(image, smooth, drafted.arrived), atol=1e-5)


def test_a_gray_system_turns_colours_by_their_draft(config_of, tool):
    """The brightness is what it paints; what is left of a colour is that of the coloured draft."""
    systems = [tool[:2]]
    baseline = gaze_gan.build(config_of("baseline_smoke"))
    systems.append((baseline, started(baseline).average))
    colours = to_float(np.random.default_rng(4).integers(60, 200, (2, *SIZE, 3), dtype=np.uint8))
    wish = jnp.array([[0.1, -0.2], [0.0, 0.3]])
    for system, variables in systems:
        images = to_gray(colours)
        plain = jax.jit(system.change)(variables, images, wish)
        made = jax.jit(system.change)(variables, images, wish, None, colours)
        assert made.edited.shape == made.moved.shape == colours.shape
        inside = (np.abs(made.edited).max(-1) < 1) & (np.abs(plain.edited[..., 0]) < 1)
        assert inside.mean() > 0.05
        np.testing.assert_allclose(to_gray(made.edited)[inside], plain.edited[inside], atol=1e-4)
        assert (made.edited.max(-1) - made.edited.min(-1)).mean() > 0.05  # still in colour
        np.testing.assert_array_equal(made.flow, plain.flow)


def test_runs_from_before_flow_and_frames_can_still_be_used(config_of):
    """Their settings lack both: nothing moves, and no class of the segmenter is a frame."""
    config = config_of(**{"segmenter.classes": "eye"}).unlock()
    del config.redirect.redirector.moves, config.redirect.motion_weight
    system = redirect.build(config)
    variables = started(system).average
    assert "flow" not in variables["redirector"]["params"]
    image = to_float(jnp.asarray(batch_of(2)["real"]["image"][:, 0]))
    change = system.change(variables, image, jnp.array([[0.1, 0.4], [-0.2, 0.0]]))
    assert not np.any(change.share) and np.isfinite(change.edited).all()
    np.testing.assert_allclose(change.moved, image, atol=1e-6)


def test_mirrored_samples_are_those_of_the_other_eye():
    pairs = {name: value[:, 0] for name, value in batch_of(4)["pairs"].items()}
    turned = flipped(pairs, jnp.array([True, False, True, True]))
    again = flipped(turned, jnp.array([True, False, True, True]))
    jax.tree.map(np.testing.assert_array_equal, dict(again), dict(pairs))
    np.testing.assert_array_equal(turned["references"][0], pairs["references"][0][:, :, ::-1])
    np.testing.assert_array_equal(turned["mask"][2], pairs["mask"][2][:, ::-1])
    np.testing.assert_array_equal(turned["image"][1], pairs["image"][1])
    np.testing.assert_array_equal(turned["motion"][0], pairs["motion"][0][:, ::-1] * [1, -1, 1])
    angles, before = (np.asarray(vector_to_angles(x["target_gaze"])) for x in (turned, pairs))
    np.testing.assert_allclose(angles[0], before[0] * [1, -1], atol=1e-6)


def test_baseline_learns_in_both_phases(config_of):
    tiny = {"gaze_gan.critics": 1, "gaze_gan.perceptual": (8,), "gaze_gan.discriminator.layers": 2}
    system = gaze_gan.build(config_of("baseline_smoke", **tiny))
    batch = batch_of(4)
    repeated = {"pairs": {name: np.concatenate([v] * system.critics, 1) for name, v in batch["pairs"].items()}}
    first, _ = run(system, 0, batch=batch)
    before = started(system)  # the same again: steps donate what they are given
    assert moved(before.perceptual, first.perceptual) > 1e-4
    assert moved(before.generator, first.generator) == 0
    after, metrics = run(system, 1, batch=repeated)
    assert moved(before.perceptual, after.perceptual) == 0
    assert moved(before.generator, after.generator) > 1e-4
    assert moved(before.discriminator, after.discriminator) > 1e-4
    assert {"loss/penalty", "loss/gaze_head", "loss/cycle", "loss/content", "loss/style"} <= set(metrics)
    assert all(np.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize(
    "variant",
    ["", "smoke", "cpu", "large", "infrared", "nocontext", "baseline", "baseline_smoke", "baseline_cpu"],
)
def test_every_variant_builds(root, variant):
    config = runpy.run_path(str(root / "configs" / "redirect.py"))["get_config"](variant)
    module = gaze_gan if variant.startswith("baseline") else redirect
    system = module.build(config)
    names = {name for phase in system.phases for name in phase.streams}
    assert names <= set(config.data.fields) and names <= set(config.data)


def test_wrong_settings_are_named(config_of):
    with pytest.raises(UserError, match=r"segmenter\.classes"):
        redirect.build(config_of(**{"segmenter.classes": "pupil"}))
    with pytest.raises(UserError, match="statistics"):
        redirect.build(config_of(**{"seg2eye.generator.statistics": "batch"}))
    with pytest.raises(UserError, match=r"pairs\.references: expected at least 1"):
        redirect.build(config_of(**{"data.pairs.references": 0}))
    with pytest.raises(UserError, match="multiples of 4"):
        gaze_gan.build(config_of("baseline_smoke", image_shape=(30, 48, 1)))
