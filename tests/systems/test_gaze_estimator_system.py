"""The gaze estimator through the real entry points: it trains, is judged, and its loss is the paper's."""

import json
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stepping
from PIL import Image

from eyegan_jax.cli import evaluate_main, train_main
from eyegan_jax.errors import UserError
from eyegan_jax.losses import gaze_distance
from eyegan_jax.systems import gaze_estimator


def config_of(root, **changes):
    config = runpy.run_path(str(root / "configs" / "gaze_estimator.py"))["get_config"]("smoke").unlock()
    config.gaze_estimator.optimiser.update({"name": "sgd", "learning_rate": 0.1, "decay_end": 0, "decay_start": 0})
    config.gaze_estimator.update(changes)
    return config


def batch_of(size: int = 8):
    rng = np.random.default_rng(0)
    gaze = rng.normal(size=(size, 1, 3)).astype(np.float32)
    images = rng.integers(0, 256, (size, 1, 35, 55, 1), dtype=np.uint8)
    return {"eyes": {"image": images, "gaze": gaze / np.linalg.norm(gaze, axis=-1, keepdims=True)}}


def test_loss_is_half_the_squared_distance():
    found, wanted = np.random.default_rng(0).normal(size=(2, 5, 3))
    expected = np.mean([0.5 * sum((f - w) ** 2) for f, w in zip(found, wanted, strict=True)])
    np.testing.assert_allclose(gaze_distance(jnp.asarray(found), jnp.asarray(wanted)), expected, rtol=1e-6)


@pytest.mark.usefixtures("quick_compilation")
def test_eight_devices_equal_one_and_the_loss_falls(root):
    system = gaze_estimator.build(config_of(root))
    start = stepping.started(system, 1, batch_of())
    schedule = [(system.training_step, batch_of())] * 5
    one = stepping.run(system, "pmap", 1, start, schedule)
    assert one[-1][1]["loss/gaze"] < one[0][1]["loss/gaze"]
    eight = stepping.run(system, "pmap", 8, start, schedule[:2])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4), eight[1][0], one[1][0])


def test_unknown_networks_are_named(root):
    with pytest.raises(UserError, match="expected one of cnn, cnn_fc9600, resnet, found 'vgg'"):
        gaze_estimator.build(config_of(root, network="vgg"))


@pytest.mark.usefixtures("quick_compilation")
def test_smoke_trains_and_is_judged(root, tmp_path, monkeypatch):
    """On a folder of its own eyes: bright ones look left, dark ones right, which any network can learn to tell."""
    rows = ["filename,pitch,yaw"]
    for i in range(16):
        level, yaw = (220, 20) if i % 2 else (30, -20)
        noise = np.random.default_rng(i).integers(-20, 21, (35, 55))
        Image.fromarray((level + noise).astype(np.uint8)).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,0,{yaw}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    run = tmp_path / "run"
    eyes = [
        f"--config.data.{stream}.{name}={value}"
        for stream in ("eyes", "test")
        for name, value in (("kind", "folder"), ("dir", tmp_path), ("table", tmp_path / "labels.csv"))
    ]
    config = f"--config={root}/configs/gaze_estimator.py:smoke"
    argv = ["train.py", config, f"--workdir={run}", "--config.steps=30", *eyes]
    monkeypatch.setattr("sys.argv", argv)  # where the settings' flags are looked up
    assert train_main(argv) == 0
    argv = ["evaluate.py", f"--workdir={run}"]
    monkeypatch.setattr("sys.argv", argv)
    assert evaluate_main(argv) == 0
    figures = json.loads((run / "report" / "metrics.json").read_text())
    assert figures["n_test"] == 16
    assert figures["mean_gaze"]["error"] == pytest.approx(20, abs=0.1)
    assert figures["error"]["mean"] < 10
    assert "Gaze estimator" in (run / "report" / "index.html").read_text()
