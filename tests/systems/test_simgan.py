"""SimGAN's updates: who is trained when, and the same step on one and on eight devices, pmap and shard_map."""

from functools import partial
from unittest import mock

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
import stepping

from eyegan_jax import losses
from eyegan_jax.data import geometry
from eyegan_jax.errors import UserError
from eyegan_jax.images import to_float, to_uint8
from eyegan_jax.systems import base, simgan
from eyegan_jax.systems.base import Phase

pytestmark = pytest.mark.usefixtures("quick_compilation")


def config_of(root, **changes) -> ml_collections.ConfigDict:
    """The smoke config with plain SGD, whose parameters show the size of a gradient (Adam would hide it)."""
    import runpy

    from ml_collections import config_flags  # noqa: F401  (the loader below is what the flag uses)

    config = runpy.run_path(str(root / "configs" / "simgan.py"))["get_config"]("smoke").unlock()
    config.image_shape = (12, 16, 1)
    config.simgan.refiner.output = "tanh"
    for name in ("refiner_optimiser", "discriminator_optimiser"):
        config.simgan[name].name = "sgd"
        config.simgan[name].learning_rate = 1e-3
    config.simgan.refiner.width = 4
    config.simgan.equalised = False
    for name, value in changes.items():
        config.simgan[name] = value
    return config


def batch_of(phase: Phase, size: int = 16, seed: int = 0):
    images = np.random.default_rng(seed)
    return {
        name: {"image": images.integers(0, 256, (size, samples, 12, 16, 1), dtype=np.uint8)}
        for name, samples in phase.streams.items()
    }


def run(system, wrapper, devices, phases, repeats=2):
    """State and metrics after ``repeats`` steps of each named phase; the fresh state and none where none is named."""
    chosen = [phase for phase in system.phases if phase.name in phases]
    schedule = [(phase.step, batch_of(phase, seed=i)) for phase in chosen for i in range(repeats)]
    start = stepping.started(system, devices, batch_of(system.phases[2]))
    return [(jax.device_get(start), {}), *stepping.run(system, wrapper, devices, start, schedule)][-1]


ALL = ("refiner", "discriminator", "adversarial")


def flat_history(state):
    """The history without the grouping of its strata by device."""
    images = state.history.images
    return images.reshape(-1, *images.shape[2:])


def test_eight_devices_equal_one_under_both_wrappers(root):
    system = simgan.build(config_of(root))
    reference, reference_metrics = run(system, "pmap", 1, ALL)
    for wrapper, devices in (("pmap", 8), ("shard_map", 1), ("shard_map", 8)):
        state, metrics = run(system, wrapper, devices, ALL)
        for name in ("refiner", "discriminator", "refiner_average", "refiner_optimiser"):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5),
                getattr(state, name),
                getattr(reference, name),
            )
        # Rounding to uint8 may turn a difference of 1e-7 into one gray level.
        difference = np.abs(flat_history(state).astype(int) - flat_history(reference).astype(int))
        assert difference.max() <= 1 and (difference > 0).mean() < 0.01
        for name, value in reference_metrics.items():
            np.testing.assert_allclose(metrics[name], value, rtol=2e-4, atol=1e-4, err_msg=name)


def test_a_large_batch_in_parts_gives_the_gradient_of_the_whole(root, monkeypatch):
    """Sixteen images where five fit are four parts of four; two on each of eight devices are two parts of one."""
    system = simgan.build(config_of(root))
    whole, whole_metrics = run(system, "pmap", 1, ALL)
    for fitting, wrapper, devices in ((5, "pmap", 1), (1, "shard_map", 8)):
        monkeypatch.setattr(base, "CPU_PIXELS", fitting * 12 * 16)
        state, metrics = run(system, wrapper, devices, ALL)
        for name in ("refiner", "discriminator", "refiner_average"):
            jax.tree.map(
                partial(np.testing.assert_allclose, atol=1e-5, rtol=1e-5), getattr(state, name), getattr(whole, name)
            )
        for name, value in whole_metrics.items():
            np.testing.assert_allclose(metrics[name], value, rtol=2e-4, atol=1e-4, err_msg=name)


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(st.integers(1, 12), st.integers(1, 14), st.integers(0, 2**32 - 1))
def test_gradient_in_parts_of_any_size(size, fitting, seed):
    """Against the derivative of the mean of (a x)^2, worked out by hand."""
    images = np.random.default_rng(seed).normal(size=(size, 2, 3, 1)).astype(np.float32)

    def loss(a, x):
        return jnp.mean((a * x) ** 2), jnp.mean(x)

    largest = []

    def watched(a, x):
        largest.append(len(x))
        return loss(a, x)

    with mock.patch.object(base, "CPU_PIXELS", fitting * 6):
        step = partial(base.value_and_mean_gradient_in_parts, watched)
        found = jax.pmap(step, axis_name=base.AXIS)(jnp.full((1,), 1.5), images[None])
    (value, mean), gradient = jax.tree.map(lambda leaf: leaf[0], found)
    square = np.mean(images.astype(np.float64) ** 2)
    np.testing.assert_allclose(
        [value, mean, gradient], [2.25 * square, images.mean(), 3 * square], rtol=1e-4, atol=1e-6
    )
    divisors = [n for n in range(1, fitting + 1) if size % n == 0 and 4 * n >= fitting]
    assert max(largest) == max(divisors, default=size)


def test_each_phase_trains_its_own_network(root):
    system = simgan.build(config_of(root))
    fresh, _ = run(system, "pmap", 1, ())

    def same(a, b):
        return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))

    after, _ = run(system, "pmap", 1, ("refiner",), 1)
    assert same(after.discriminator, fresh.discriminator) and not same(after.refiner, fresh.refiner)
    after, _ = run(system, "pmap", 1, ("discriminator",), 1)
    assert same(after.refiner, fresh.refiner) and not same(after.discriminator, fresh.discriminator)
    assert int(after.history.filled) == 1  # 16 images, 8 strata: half a batch is one image per stratum
    after, _ = run(system, "pmap", 1, ("adversarial",), 1)
    assert not same(after.refiner, fresh.refiner) and not same(after.discriminator, fresh.discriminator)


def test_refiner_step_follows_equation_4(root):
    """One SGD step equals ``theta - lr * dL_R/dtheta`` with L_R written out here."""
    config = config_of(root, refiner_updates=1, averaging=0.5)
    system = simgan.build(config)
    fresh, _ = run(system, "pmap", 1, ())
    batch = batch_of(system.phases[2])
    images = to_float(batch["simulated"]["image"][:, 0])

    def equation_4(theta):
        refined = system.refiner.apply({"params": theta}, images)
        logits = system.discriminator.apply({"params": fresh.discriminator}, refined)
        probability_refined = jax.nn.softmax(logits)[..., 1]
        realism = -jnp.sum(jnp.log(1 - probability_refined), axis=(1, 2))
        distance = jnp.sum(jnp.abs(refined - images), axis=(1, 2, 3))
        return jnp.mean(realism + config.simgan.loss.regularisation * distance)

    gradient = jax.grad(equation_4)(fresh.refiner)
    wanted = jax.tree.map(lambda p, g: p - 1e-3 * g, fresh.refiner, gradient)
    state, _ = run(system, "pmap", 1, ("adversarial",), 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.refiner, wanted)
    average = jax.tree.map(lambda a, b: (a + b) / 2, state.refiner, fresh.refiner)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.refiner_average, average)


def test_ablations_build_and_run(root):
    system = simgan.build(config_of(root, history={"size": 0, "strata": 8}))
    state, metrics = run(system, "pmap", 8, ("discriminator", "adversarial"), 1)
    assert state.history is None and np.isfinite(metrics["loss/refiner"])
    config = config_of(root)
    config.simgan.discriminator.decision = "global"
    config.simgan.loss.psi = "gradient"
    _, metrics = run(simgan.build(config), "pmap", 1, ("adversarial",), 1)
    assert metrics["loss/realism"] < 5  # one decision, not a sum over patches


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history": {"size": 64, "strata": 5}}, "batch_size"),
        ({"history": {"size": 60, "strata": 8}}, "history.size"),
        ({"loss": {"regularisation": 0.1, "psi": "hue", "reduction": "sum"}}, "expected one of"),
    ],
)
def test_contradicting_settings_are_named(root, changes, message):
    with pytest.raises(UserError, match=message):
        simgan.build(config_of(root, **changes))


def test_features_psi_is_zero_for_the_identity():
    psi = simgan.frozen_features((35, 55, 1))
    x = jax.random.uniform(jax.random.key(0), (1, 35, 55, 1))
    assert losses.self_regularisation(x, x, psi) == 0
    assert losses.self_regularisation(x + 0.1, x, psi) > 0


def test_equalised_runs_start_from_equalised_eyes_in_training_and_in_use(root):
    """A refiner that changes nothing gives back the equalised eye, and owes nothing to the self-regularisation."""
    config = config_of(root, equalised=True)
    config.simgan.refiner.output = "residual"
    system = simgan.build(config)
    batch = batch_of(system.phases[0])
    _, metrics = run(system, "pmap", 1, ("refiner",), repeats=1)
    assert metrics["loss/regularisation"] < 0.01 * 12 * 16  # rounding near black and white, where artanh is cut
    images = batch["simulated"]["image"][:, 0]
    expected = np.stack([geometry.equalize(image) for image in images])
    start = jax.device_get(stepping.started(system, 1, batch_of(system.phases[2])))
    found = to_uint8(system.refine(start.refiner, to_float(images)))
    assert np.abs(np.asarray(found).astype(int) - expected).max() <= 1
    config.image_shape = (12, 16, 3)
    with pytest.raises(UserError, match="expected gray images, found 3 channels"):
        simgan.build(config)
