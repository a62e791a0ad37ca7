"""Residual refiner training: one and eight devices, the metric as loss, and that it repairs what it can."""

import runpy

import jax
import numpy as np
import pytest
import stepping

from eyegan_jax import losses
from eyegan_jax.errors import UserError
from eyegan_jax.evaluation.metrics import openeds_score
from eyegan_jax.images import to_float
from eyegan_jax.systems import residual

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZE = (16, 16)


def config_of(root, variant="smoke", **changes):
    config = runpy.run_path(str(root / "configs" / "residual.py"))["get_config"](variant).unlock()
    config.image_shape = (*SIZE, 1)
    config.residual.references.update({"width": 4, "detail": 4})
    config.residual.discriminator.update({"width": 4, "layers": 2, "scales": 1})
    config.residual.update(changes)
    return config


def batch_of(count, seed, references=2):
    """Discs in a person's two gray levels; references show the disc elsewhere."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    centres = rng.uniform(5, 11, (count, references + 1, 2, 1, 1))
    inside = np.hypot(y - centres[:, :, 0], x - centres[:, :, 1]) < 4
    dark, bright = (rng.uniform(low, low + 60, (count, 1, 1, 1)) for low in (10, 150))
    images = np.where(inside, dark, bright).astype(np.uint8)[..., None]
    masks = np.where(inside, 3, 0).astype(np.uint8)
    eyes = {
        "image": images[:, :1],
        "mask": masks[:, :1],
        "references": images[:, None, 1:],
        "reference_masks": masks[:, None, 1:],
    }
    return {"eyes": eyes}


def run(system, wrapper, devices, steps, count=8):
    schedule = [(system.training_step, batch_of(count, i)) for i in range(steps)]
    return stepping.run(system, wrapper, devices, stepping.started(system, devices, batch_of(count, 0)), schedule)[-1]


def test_eight_devices_equal_one_with_a_discriminator(root):
    config = config_of(root)
    config.residual.loss.adversarial, config.residual.loss.feature_matching = 0.3, 3.0
    for optimiser in (config.residual.optimiser, config.residual.discriminator_optimiser):
        optimiser.name, optimiser.learning_rate, optimiser.clip_norm = "sgd", 1e-4, 0.0
    system = residual.build(config)
    one, one_metrics = run(system, "pmap", 1, 2)
    eight, eight_metrics = run(system, "shard_map", 8, 2)
    for name in ("params", "average", "discriminator", "spectral"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4),
            getattr(one, name),
            getattr(eight, name),
        )
    assert {"loss/openeds", "loss/adversarial", "loss/feature_matching", "loss/discriminator"} <= set(one_metrics)
    for name, value in one_metrics.items():
        np.testing.assert_allclose(eight_metrics[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_the_loss_is_the_metric_and_training_lowers_it(root):
    config = config_of(root, averaging=0.9)
    config.residual.optimiser = config.residual.optimiser.copy_and_resolve_references()
    config.residual.optimiser.update({"learning_rate": 1e-2, "decay_end": 0})
    system = residual.build(config)
    state, _ = run(system, "pmap", 1, 120)
    fresh = batch_of(32, 999)
    mask, target, references, reference_masks = residual.samples(fresh)
    refined = system.refine(state.average, mask, references, reference_masks)
    whole = np.round((np.asarray(refined) + 1) * 127.5).astype(np.uint8)
    score = openeds_score(whole, fresh["eyes"]["image"][:, 0])
    copied = openeds_score(np.asarray(fresh["eyes"]["references"][:, 0, 0]), fresh["eyes"]["image"][:, 0])
    assert score == pytest.approx(float(losses.openeds(to_float(whole), target)), rel=1e-3)
    assert score < 0.4 * copied, (score, copied)
    assert system.pictures(state, batch_of(2, 1)).shape == (6, 2, *SIZE, 1)


def test_wrong_settings_are_named(root):
    with pytest.raises(UserError, match=r"residual\.network: expected 'deeplab' or 'references', found 'unet'"):
        residual.build(config_of(root, network="unet"))
    config = config_of(root)
    config.image_shape = (16, 16, 3)
    with pytest.raises(UserError, match="expected gray images"):
        residual.build(config)


def test_paper_variant_has_the_published_optimiser(root):
    config = runpy.run_path(str(root / "configs" / "residual.py"))["get_config"]("paper")
    optimiser = config.residual.optimiser
    assert (optimiser.learning_rate, optimiser.momentum, optimiser.nesterov) == (0.08, 0.99, True)
    assert (optimiser.weight_decay, optimiser.clip_norm, optimiser.halve_every) == (1e-3, 5.0, 5 * (8916 // 8))
    assert residual.build(config).openeds_weight == pytest.approx(1 / 1471)
