"""Training by sentences: one and eight devices, the phases' hand-over, what each setting switches off."""

import runpy

import jax
import numpy as np
import pytest
import stepping
from randommodel import write_model

from eyegan_jax.errors import UserError
from eyegan_jax.models import load_model
from eyegan_jax.simulator.caption_tokens import LENGTH
from eyegan_jax.simulator.captions import ATTRIBUTES
from eyegan_jax.systems import text_edit
from eyegan_jax.training import loop
from eyegan_jax.training.parallel import Parallel

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZE = (8, 12)


@pytest.fixture(scope="module")
def module(root):
    return runpy.run_path(str(root / "configs" / "text_edit.py"))


def config_of(module, *changes):
    config = module["get_config"]("smoke").unlock()
    config.image_shape = (*SIZE, 3)
    c = config.text_edit
    c.text.update({"embedding": 4, "features": 4})
    c.generator.update({"width": 2, "code": 3, "blocks": 0})
    c.critic.update({"width": 2, "layers": 1})
    c.image.update({"width": 2, "layers": 1})
    for optimiser in (c.painter_optimiser, c.critic_optimiser, c.embedding_optimiser):
        optimiser.name, optimiser.learning_rate = "sgd", 1e-2
    for change in changes:
        module[change](config)
    return config


def batch_of(count, seed):
    rng = np.random.default_rng(seed)

    def sentence():
        lengths = rng.integers(1, 7, (count, 1, 1))
        tokens = rng.integers(1, 80, (count, 1, LENGTH))
        return np.where(np.arange(LENGTH) < lengths, tokens, 0).astype(np.int32)

    images = rng.integers(0, 256, (2, count, 1, *SIZE, 3), dtype=np.uint8)
    texts = {name: sentence() for name in ("text", "own", "wrong")}
    motion = np.concatenate([rng.normal(size=(count, 1, *SIZE, 2)), rng.random((count, 1, *SIZE, 1)) < 0.5], axis=-1)
    stated = {"text_bins": rng.integers(-1, 2, (count, 1, len(ATTRIBUTES)), np.int32)}
    pictures = {"image": images[0], "target_image": images[1], "motion": motion.astype(np.float16)}
    return {"edits": pictures | texts | stated}


def run(system, wrapper, devices, schedule, count=8):
    # Seeds from 7 on: at 0 a leaky unit of the critic sits on its kink, and eight devices fall to its other side.
    steps = [(getattr(system, name), batch_of(count, 7 + i)) for i, name in enumerate(schedule)]
    return stepping.run(system, wrapper, devices, stepping.started(system, devices, batch_of(count, 7)), steps)


SCHEDULE = ("embedding_step", "adversarial_step")


@pytest.fixture(scope="module")
def trained(module):
    return run(text_edit.build(config_of(module)), "pmap", 1, SCHEDULE)


def test_eight_devices_equal_one(module, trained):
    eight = run(text_edit.build(config_of(module)), "shard_map", 8, SCHEDULE)
    for (one_state, one_metrics), (state, metrics) in zip(trained, eight, strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5, rtol=2e-3), one_state, state)
        for name, value in one_metrics.items():
            np.testing.assert_allclose(metrics[name], value, rtol=2e-3, atol=1e-5, err_msg=name)


def test_all_start_from_the_pretrained_text_encoder_and_part(trained):
    (first, _), (second, metrics) = trained

    def same(a, b):
        return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))

    for part in ("painter", "critic", "average"):
        assert same(getattr(first, part)["text"], first.embedding["text"])
    assert same(first.embedding, second.embedding)
    assert not same(second.painter["text"], second.embedding["text"])
    assert not same(second.critic["text"], second.painter["text"])
    expected = {"adversarial", "conditional", "kl", "reconstruction", "paired", "changed", "motion", "stated"}
    expected |= {"painter", "critic"}
    assert {name.removeprefix("loss/") for name in metrics if name.startswith("loss/")} == expected


def test_a_training_goes_on_from_a_trained_painter(module, tmp_path):
    """A run of no steps has the painter that its config names, and a critic that reads as it does."""
    config = config_of(module)
    config.steps = config.text_edit.embedding_steps = 0
    folder = write_model(tmp_path, config, text_edit.build(config), batch_of(1, 0), 0.1)
    config.start.painter = str(folder)
    state = loop.train(config, tmp_path / "run").state
    trained = load_model(folder, ("average",)).params["average"]
    for found, wanted in (
        (state.average, trained),
        (state.painter, trained),
        (state.critic["text"], trained["text"]),
        (state.embedding["text"], trained["text"]),
    ):
        jax.tree.map(np.testing.assert_array_equal, found, wanted)
    arrays = jax.tree.leaves(state)
    assert len({id(array) for array in arrays}) == len(arrays)  # a step gives every one of them away
    config.text_edit.generator.width = 3
    with pytest.raises(UserError, match="painter: expected a painter of this config's size, found another one or none"):
        loop.train(config, tmp_path / "other")


def test_the_baseline_of_2017(module):
    """Frozen text, no patches, no reconstruction, no pairs: no look at a true edit."""
    system = text_edit.build(config_of(module, "dong"))
    parallel, batch = Parallel("pmap", jax.devices()[:1]), batch_of(8, 0)
    for name in ("target_image", "motion", "text_bins"):
        del batch["edits"][name]
    state = jax.eval_shape(lambda k: system.init(k, batch, 1), jax.random.key(0))

    def step(state, resident, batch):
        del resident
        return system.adversarial_step(state, batch, jax.random.key(1))

    compiled = parallel.compile(step, system.sharding(state))
    _, metrics = jax.eval_shape(compiled, state, {}, parallel.shard_batch(batch))
    assert {name for name in metrics if name.startswith("loss/")} == {
        "loss/conditional",
        "loss/kl",
        "loss/painter",
        "loss/critic",
    }
    text = jax.jit(system.text.init)(jax.random.key(0), batch["edits"]["own"][:, 0])["params"]
    slope = jax.jit(jax.grad(lambda text: system._read(text, batch["edits"]["own"][:, 0])[0].sum()))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(slope(text)))
    assert text_edit.build(config_of(module)).frozen_text is False


def test_the_painter_learns_to_hear_one_word_of_many(module):
    """Pairs alone, with the config's own Gaussian and weights: one word asks for light, the other for none."""
    config = module["get_config"]("smoke").unlock()
    config.image_shape = (*SIZE, 3)
    config.steps = 600  # the first 300 at the full rate
    c = config.text_edit
    c.loss.update({"adversarial": 0.0, "conditional": 0.0, "motion": 0.0})
    c.generator.update({"width": 8})
    c.painter_optimiser.learning_rate = 2e-3
    system = text_edit.build(config)
    batch = batch_of(8, 0)
    edits = batch["edits"]
    words = np.arange(1, LENGTH + 1, dtype=np.int32) * (np.arange(LENGTH) < 8)
    edits["own"], edits["text"] = (np.tile(words, (8, 1, 1)) for _ in range(2))
    edits["own"][..., 4], edits["text"][..., 4] = 20, 21
    edits["target_image"] = edits["image"] // 2 + 127
    copied = np.abs(edits["target_image"].astype(float) - edits["image"]).mean() / 127.5

    seen = stepping.run(system, "pmap", 1, stepping.started(system, 1, batch), [(system.adversarial_step, batch)] * 300)
    _, metrics = seen[-1]
    assert metrics["loss/paired"] < 0.4 * copied and metrics["loss/reconstruction"] < 0.4 * copied
    assert "loss/critic" not in metrics and "loss/motion" not in metrics


def test_the_flow_learns_where_pixels_were(module):
    """Of noise that moved by two pixels the painting alone finds nothing to move; the known motion shows the way."""
    config = config_of(module, "supervised")
    config.text_edit.generator.update({"width": 8})
    optimiser = config.text_edit.painter_optimiser
    optimiser.name, optimiser.learning_rate = "adam", 1e-2
    config.text_edit.loss.reconstruction = 0.0  # which would ask for still pictures in between
    system, batch = text_edit.build(config), batch_of(8, 0)
    edits = batch["edits"]
    edits["target_image"] = np.roll(edits["image"], -2, axis=3)
    edits["motion"] = np.zeros((8, 1, *SIZE, 3), np.float16)
    edits["motion"][..., 1:] = [2.0, 1.0]
    seen = stepping.run(system, "pmap", 1, stepping.started(system, 1, batch), [(system.adversarial_step, batch)] * 150)
    assert seen[0][1]["loss/motion"] == pytest.approx((2.0 / SIZE[1]) ** 2)
    assert seen[-1][1]["loss/motion"] < 0.2 * (2.0 / SIZE[1]) ** 2
    assert seen[-1][1]["loss/stated"] < 0.5 * seen[0][1]["loss/stated"]


def test_wrong_settings_are_named(module):
    config = config_of(module)
    config.image_shape = (9, 12, 3)
    with pytest.raises(UserError, match="multiples of 2"):
        text_edit.build(config)
    config.image_shape = (8, 12, 1)
    with pytest.raises(UserError, match="expected 3 channels"):
        text_edit.build(config)
    config = config_of(module)
    config.data.edits.kind = "cub"
    with pytest.raises(UserError, match="paired: expected 0 for cub"):
        text_edit.build(config)
    config = config_of(module)
    config.text_edit.generator.moves = False
    with pytest.raises(UserError, match=r"motion: expected 0 without text_edit\.generator\.moves"):
        text_edit.build(config)
    config = config_of(module)
    config.text_edit.generator.outputs = 4
    with pytest.raises(UserError, match="outputs: expected 1 to"):
        text_edit.build(config)
    config = config_of(module)
    config.start.painter = "package"
    with pytest.raises(UserError, match=r"embedding_steps: expected 0 with config\.start\.painter, .*, found 2"):
        text_edit.build(config)


def test_paper_variant_has_stacked_outputs(module):
    config = module["get_config"]("paper")
    system = text_edit.build(config)
    assert config.image_shape[:2] == (256, 256) and system.generator.outputs == 3
    images = np.zeros((1, 256, 256, 3), np.float32)
    assert [x.shape[1] for x in system._sizes(images)] == [64, 128, 256]
