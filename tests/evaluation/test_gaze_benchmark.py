"""Gaze training: both loops agree, ensembles equal their members, the table means what it says."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from eyegan_jax.evaluation import fitting, gaze, metrics
from eyegan_jax.layers.convolution import count_parameters
from eyegan_jax.losses import gaze_distance
from eyegan_jax.networks.small_resnet import SmallResNet


class Tiny(nn.Module):
    """Linear regression on pixels."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x.reshape(len(x), -1))


class Wide(nn.Module):
    """A layer of enough outputs for Muon."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(12)(x.reshape(len(x), -1))


def eyes(count, seed, brightness=0):
    """8x12 eyes with a dark spot whose place is the gaze."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform((3, 2), (8, 5), (count, 2))
    y, x = np.mgrid[:8, :12]
    distance = np.hypot(x - centres[:, 0, None, None], y - centres[:, 1, None, None])
    images = np.clip(200 - 150 * np.exp(-((distance / 2) ** 2)) + brightness, 0, 255).astype(np.uint8)
    yaw, pitch = (centres[:, 0] - 5.5) * 0.1, (3.5 - centres[:, 1]) * 0.1
    vector = [-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)]
    return gaze.Eyes(images[..., None], np.stack(vector, -1).astype(np.float32))


def squared_error(outputs, targets):
    return ((outputs - targets) ** 2).mean()


HOW = fitting.Training(steps=150, batch=16, learning_rate=0.01)


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch, tmp_path):
    monkeypatch.setattr(gaze, "NETWORKS", {"tiny": Tiny()})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def assert_trees_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-5), a, b)


def test_scan_equals_python_loop_and_learns():
    training, test = eyes(200, 0), eyes(50, 1)
    looped = fitting.train(Tiny(), gaze_distance, *training, 3, HOW, scan=False)
    assert_trees_close(looped, fitting.train(Tiny(), gaze_distance, *training, 3, HOW, scan=True))
    errors = metrics.angular_errors(fitting.predict(Tiny(), looped, test.images, batch=32), test.gaze)
    constant = metrics.angular_errors(np.broadcast_to(test.gaze.mean(0), (50, 3)), test.gaze)
    assert errors.mean() < 0.4 * constant.mean()


def test_vmapped_ensemble_equals_its_members():
    training = eyes(60, 0)
    together = fitting.train_ensemble(Tiny(), gaze_distance, *training, [0, 5], HOW, vmapped=True)
    assert_trees_close(together, fitting.train_ensemble(Tiny(), gaze_distance, *training, [0, 5], HOW, vmapped=False))
    kernel = together["params"]["Dense_0"]["kernel"]
    assert kernel.shape == (2, 96, 3) and not np.allclose(kernel[0], kernel[1])


def test_augmentation_sees_its_own_key_and_changes_training():
    def dim(key, images):
        return images - jax.random.uniform(key, (len(images), 1, 1, 1))

    training = eyes(60, 0)
    budgets = [fitting.Training(20, 16, augment=augment) for augment in (None, dim)]
    plain, dimmed = (fitting.train(Tiny(), gaze_distance, *training, 0, how)["params"]["Dense_0"] for how in budgets)
    assert not np.allclose(plain["kernel"], dimmed["kernel"])


def test_a_budget_names_the_optimiser_that_learns():
    """Adam's first step is of one size everywhere, Muon's has singular values of nearly one size."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 8, 12, 1)).astype(np.uint8)
    targets = rng.normal(size=(60, 12)).astype(np.float32)

    def first_step(optimiser):
        budgets = [fitting.Training(1, 16, rate, optimiser=optimiser) for rate in (0.0, 0.01)]
        start, end = (fitting.train(Wide(), squared_error, images, targets, 0, how)["params"] for how in budgets)
        return np.subtract(end["Dense_0"]["kernel"], start["Dense_0"]["kernel"])

    adam, muon = first_step("adam"), first_step("muon")
    np.testing.assert_allclose(np.abs(adam), 0.01, rtol=0.01)
    values = np.linalg.svd(muon, compute_uv=False)
    assert values.min() > 0.6 * values.max() and np.abs(muon).std() > 0.2 * np.abs(muon).mean()
    assert 0.35 < np.sqrt(np.mean(muon**2)) / 0.01 < 0.65


@pytest.mark.parametrize("name", gaze.CLASSICAL)
def test_classical_estimators_learn(name):
    training, test = eyes(200, 0), eyes(40, 1)
    table = gaze.gaze_benchmark({"raw": training}, test, [0], [name])
    assert table["estimators"][name]["raw"]["error"]["mean"] < 0.5 * table["mean_gaze"]["error"]


def test_table_orders_the_arms_and_states_numbers():
    test = eyes(50, 9)
    wrong = gaze.Eyes(eyes(100, 0).images, eyes(100, 0).gaze[::-1])
    half = gaze.Eyes(
        np.concatenate([eyes(100, 0).images, wrong.images]), np.concatenate([eyes(100, 0).gaze, wrong.gaze])
    )
    lines = []
    table = gaze.gaze_benchmark(
        {"raw": wrong, "refined": [half, half], "real": eyes(100, 2)},
        test,
        [0, 1],
        ["tiny"],
        HOW,
        lines.append,
    )
    rows = table["estimators"]["tiny"]
    assert rows["raw"]["error"]["mean"] > rows["refined"]["error"]["mean"] > rows["real"]["error"]["mean"]
    assert rows["real"]["error"]["n"] == 2 and rows["real"]["n_test"] == 50 and rows["refined"]["n_train"] == 200
    assert 0 < table["gap_closed"]["tiny"]["refined"]["mean"] < 1
    assert len(lines) == 3
    curve = rows["real"]["curve"]
    at_seven = curve["percent"][curve["limits"].index(7.0)]
    assert at_seven == pytest.approx(rows["real"]["within_7"]["mean"])


def test_what_was_trained_once_is_not_trained_again(monkeypatch):
    """As the raw and the real estimators of a sweep's runs; another seed, budget or augmentation is another one."""
    trained = []

    def counting(*arguments, **options):
        trained.append(arguments)
        return fitting.train_ensemble(*arguments, **options)

    def noisy(key, images):
        return images + jax.random.normal(key, images.shape)

    monkeypatch.setattr(gaze, "train_ensemble", counting)
    few = fitting.Training(steps=3, batch=4)

    def error(seeds, how):
        table = gaze.gaze_benchmark({"raw": eyes(20, 0), "refined": eyes(20, 1)}, eyes(10, 2), seeds, ["tiny"], how)
        return [table["estimators"]["tiny"][name]["error"] for name in ("raw", "refined")]

    first = error([0, 1], few)
    assert len(trained) == 2 and first[0] != first[1]
    assert error([0, 1], few) == first and len(trained) == 2
    for seeds, how in (([0, 2], few), ([0, 1], fitting.Training(steps=4, batch=4))):
        assert error(seeds, how) != first
    assert len(trained) == 6
    for _ in range(2):
        error([0], fitting.Training(steps=3, batch=4, augment=noisy))
    assert len(trained) == 10


def test_gap_closed_is_the_quotient_of_means_for_errors_and_for_dice():
    closed = gaze.gap_closed([10.0, 12.0], [8.0, 9.0], [5.0, 7.0])
    assert closed == pytest.approx({"mean": 2.5 / 5, "std": np.std([0.4, 0.6], ddof=1), "n": 2})
    assert gaze.gap_closed([0.5], [0.8], [0.9])["mean"] == pytest.approx(0.75)
    assert gaze.gap_closed([1.0], [0.5], [1.0]) is None


def test_small_resnet_shape_and_size():
    variables = jax.eval_shape(SmallResNet().init, jax.random.key(0), np.zeros((1, 35, 55, 1), np.float32))
    assert count_parameters(variables) == 224_227
    output = jax.eval_shape(SmallResNet(outputs=2).init_with_output, jax.random.key(0), np.zeros((4, 64, 64, 3)))[0]
    assert output.shape == (4, 2)
