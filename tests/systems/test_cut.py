"""CUT: the contrast against a direct evaluation, who is trained, one device against eight, and the real entry point."""

import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stepping
from PIL import Image

from eyegan_jax import losses
from eyegan_jax.cli import train_main
from eyegan_jax.errors import UserError
from eyegan_jax.images import to_float
from eyegan_jax.refining import refine_folder
from eyegan_jax.systems import cut

pytestmark = pytest.mark.usefixtures("quick_compilation")


def config_of(root, **changes):
    config = runpy.run_path(str(root / "configs" / "cut.py"))["get_config"]("smoke").unlock()
    config.image_shape = (12, 16, 1)
    config.cut.refiner.width = 4
    config.cut.refiner.output = "tanh"
    for name in ("generator_optimiser", "discriminator_optimiser"):
        config.cut[name].update({"name": "sgd", "learning_rate": 1e-3})
    config.cut.update(changes)
    return config


def batch_of(seed: int = 0, size: int = 16):
    rng = np.random.default_rng(seed)
    return {
        name: {"image": rng.integers(0, 256, (size, 1, 12, 16, 1), dtype=np.uint8)} for name in ("simulated", "real")
    }


def test_contrast_is_the_cross_entropy_of_finding_ones_own_patch():
    rng = np.random.default_rng(0)
    queries, keys = (rng.normal(size=(2, 5, 3)) for _ in range(2))
    queries, keys = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (queries, keys))
    expected = []
    for image in range(2):
        for place in range(5):
            cosines = np.array([queries[image, place] @ keys[image, other] for other in range(5)]) / 0.07
            expected.append(-np.log(np.exp(cosines[place]) / np.exp(cosines).sum()))
    found = losses.patch_nce(jnp.asarray(queries), jnp.asarray(keys), 0.07)
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-5)
    same = jnp.ones((1, 7, 4)) / 2
    np.testing.assert_allclose(losses.patch_nce(same, same, 0.07), np.log(7), rtol=1e-5)


def test_no_gradient_goes_into_the_keys():
    rng = np.random.default_rng(1)
    queries, keys = (jnp.asarray(rng.normal(size=(1, 4, 3))) for _ in range(2))
    assert not np.any(jax.grad(lambda k: losses.patch_nce(queries, k, 0.1))(keys))
    assert np.any(jax.grad(lambda q: losses.patch_nce(q, keys, 0.1))(queries))


def test_an_eye_moved_aside_has_a_larger_contrast_than_the_eye_itself(root):
    """What the loss is there for: content that stays in its place is cheap, content that moved is not."""
    system = cut.build(config_of(root, patches=192))
    images = to_float(batch_of()["simulated"]["image"][:, 0])
    state = stepping.started(system, 1, batch_of())
    at_home = system.contrastive(state.generator, images, images, jax.random.key(2))
    moved = system.contrastive(state.generator, images, jnp.roll(images, 3, axis=2), jax.random.key(2))
    assert moved > 2 * at_home


def test_eight_devices_equal_one_under_both_wrappers(root):
    system = cut.build(config_of(root))
    start = stepping.started(system, 1, batch_of())
    schedule = [(system.adversarial_step, batch_of(i)) for i in range(2)]
    reference, figures = stepping.run(system, "pmap", 1, start, schedule)[-1]
    for wrapper, devices in (("pmap", 8), ("shard_map", 8)):
        state, metrics = stepping.run(system, wrapper, devices, start, schedule)[-1]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5), state, reference)
        for name, value in figures.items():
            np.testing.assert_allclose(metrics[name], value, rtol=2e-4, atol=1e-4, err_msg=name)


def test_every_network_learns_and_the_contrast_falls_on_one_batch(root):
    """Refiner and heads learn to tell a patch from the others: the contrast starts at chance (ln 32) and falls."""
    config = config_of(root, patches=32)
    config.cut.refiner.output = "residual"
    for name in ("generator_optimiser", "discriminator_optimiser"):
        config.cut[name].update({"name": "adam", "learning_rate": 3e-3})
    system = cut.build(config)
    start = stepping.started(system, 1, batch_of())
    seen = stepping.run(system, "pmap", 1, start, [(system.adversarial_step, batch_of())] * 30)
    assert seen[-1][1]["loss/contrast"] < 0.5 * seen[0][1]["loss/contrast"]
    for part in ("generator", "discriminator", "refiner_average"):
        changed = jax.tree.map(
            lambda a, b: bool(np.any(a != b)), getattr(seen[-1][0], part), jax.device_get(getattr(start, part))
        )
        # The last bias may be the only one to stand still: softmax sees differences of logits alone.
        assert np.mean(jax.tree.leaves(changed)) > 0.9, part


@pytest.mark.parametrize(("field", "value"), [("temperature", 0.0), ("patches", 0)])
def test_senseless_settings_are_named(root, field, value):
    with pytest.raises(UserError, match=f"config.cut.{field}: expected more than 0, found 0"):
        cut.build(config_of(root, **{field: value}))


def test_the_smoke_config_trains_through_the_real_entry_point(root, tmp_path, monkeypatch):
    folders = []
    for stream in ("simulated", "real"):
        (tmp_path / stream).mkdir()
        for i in range(16):
            noise = np.random.default_rng(i).integers(0, 256, (35, 55), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / stream / f"{i}.png")
        folders += [f"--config.data.{stream}.kind=folder", f"--config.data.{stream}.dir={tmp_path / stream}"]
    config = f"--config={root}/configs/cut.py:smoke"
    argv = ["train.py", config, f"--workdir={tmp_path / 'run'}", "--config.steps=3", *folders]
    monkeypatch.setattr("sys.argv", argv)  # where the settings' flags are looked up
    assert train_main(argv) == 0
    assert list((tmp_path / "run" / "samples").glob("*.png"))
    report = refine_folder(tmp_path / "simulated", tmp_path / "refined", tmp_path / "run")
    assert report.written == 16
