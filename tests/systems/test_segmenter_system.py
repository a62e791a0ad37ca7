"""Segmenter training: one step on one and on eight devices, what a step does, and that it learns a disc."""

import runpy

import jax
import numpy as np
import pytest
import stepping

from eyegan_jax.errors import UserError
from eyegan_jax.systems import segmenter

pytestmark = pytest.mark.usefixtures("quick_compilation")


def config_of(root, **changes):
    config = runpy.run_path(str(root / "configs" / "segmenter.py"))["get_config"]("smoke").unlock()
    config.segmenter.dropout = 0.0
    config.segmenter.levels = 2
    config.segmenter.update(changes)
    return config


def discs(count, seed, size=(32, 32)):
    """Bright noise with a dark disc, and its mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    centre = rng.uniform(10, 22, (count, 2, 1, 1))
    inside = np.hypot(y - centre[:, 0], x - centre[:, 1]) < rng.uniform(4, 8, (count, 1, 1))
    image = np.where(inside, 40, 170) + rng.normal(0, 12, (count, *size))
    image = image.clip(0, 255).astype(np.uint8)
    return {"eyes": {"image": image[:, None, ..., None], "mask": 3 * inside[:, None].astype(np.uint8)}}


def run(system, wrapper, devices, steps, count=8):
    schedule = [(system.training_step, discs(count, i)) for i in range(steps)]
    return stepping.run(system, wrapper, devices, stepping.started(system, devices, discs(count, 0)), schedule)[-1]


def test_eight_devices_equal_one_and_statistics_are_global(root):
    config = config_of(root, augmentation="none", equalised=False, boundary_share=0.0)
    config.segmenter.optimiser.name = "sgd"  # Adam would hide a wrong scale of the gradient
    system = segmenter.build(config)
    one, one_metrics = run(system, "pmap", 1, 2)
    eight, eight_metrics = run(system, "shard_map", 8, 2)
    for name in ("params", "batch_stats", "average", "optimiser"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5, rtol=1e-4),
            getattr(one, name),
            getattr(eight, name),
        )
    for name, value in one_metrics.items():
        np.testing.assert_allclose(eight_metrics[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_it_learns_to_find_a_disc(root):
    config = config_of(root, classes="pupil", averaging=0.8)
    config.segmenter.optimiser.learning_rate = 1e-2
    config.steps = 60
    system = segmenter.build(config)
    state, metrics = run(system, "pmap", 1, 60)
    assert {"loss/entropy", "loss/dice", "loss/boundary", "accuracy/pixels"} <= set(metrics)
    fresh = discs(8, 999)["eyes"]
    probability = np.asarray(system.segment(state.average, fresh["image"][:, 0]))
    assert probability.shape == (8, 32, 32, 2)
    np.testing.assert_allclose(probability.sum(-1), 1, atol=1e-5)
    found, true = probability.argmax(-1) == 1, fresh["mask"][:, 0] == 3
    dice = 2 * (found & true).sum() / (found.sum() + true.sum())
    assert dice > 0.9, dice
    assert system.pictures(state, discs(2, 1)).shape == (3, 2, 32, 32, 3)


def test_a_frame_is_a_class_of_its_own_on_skin_alone_and_skin_in_the_mask(root):
    system = segmenter.build(config_of(root, classes="eye_and_frame"))
    mask, frame = np.uint8([[[[0, 0], [1, 3]]]]), np.array([[[[False, True], [True, False]]]])
    np.testing.assert_array_equal(system.truth({"mask": mask, "frame": frame})[0], [[0, 4], [1, 3]])
    with pytest.raises(UserError, match="frame"):
        system.truth({"mask": mask})
    images = discs(2, 0)["eyes"]["image"][:, 0]
    batch = {"eyes": {"image": images[:, None], "mask": discs(2, 0)["eyes"]["mask"]}}
    average = stepping.started(system, 1, batch).average
    shares = np.asarray(jax.nn.softmax(system.network.apply(average, system.prepare(images), train=False)))
    expected = shares[..., :4] + shares[..., 4:] * [1, 0, 0, 0]
    np.testing.assert_allclose(system.segment(average, images), expected, atol=1e-5)
    seen, frames = segmenter.mask_and_frame(np.log(shares))
    np.testing.assert_allclose(seen, expected, atol=1e-5)
    np.testing.assert_allclose(frames, shares[..., 4:], atol=1e-5)
    assert segmenter.mask_and_frame(np.log(expected))[1] is None


def test_unknown_settings_are_named(root):
    with pytest.raises(UserError, match=r"segmenter\.classes: expected one of .*'pupil'.*found 'iris'"):
        segmenter.build(config_of(root, classes="iris"))
