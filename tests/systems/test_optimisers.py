"""Learning rates that fall to zero: by the equation, and at the end of a training whose length is set late; Muon."""

import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from eyegan_jax.systems.optimisers import build_optimiser, fall_to_zero, optimiser_config


def config_of(constant=(1, 2)):
    config = ml_collections.ConfigDict({"steps": 10, "optimiser": optimiser_config("sgd", 0.5)})
    fall_to_zero(config.optimiser, config.get_ref("steps"), constant)
    return config.lock()


def rates(config, count):
    """What a gradient of 1 subtracts, update by update."""
    optimiser = build_optimiser(config.optimiser)
    state, found = optimiser.init(jnp.zeros(())), []
    for _ in range(count):
        update, state = optimiser.update(jnp.ones(()), state)
        found.append(-float(update))
    return found


@pytest.mark.parametrize("steps, constant", [(10, (1, 2)), (30, (1, 3)), (21, (2, 3))])
def test_rate_falls_linearly_to_the_end_that_is_set_last(steps, constant):
    config = config_of(constant)
    config.steps = steps
    start = steps * constant[0] // constant[1]
    expected = [0.5 * min(1.0, (steps - i) / (steps - start)) for i in range(steps + 2)]
    np.testing.assert_allclose(rates(config, steps + 2), np.maximum(expected, 0), atol=1e-6)


def test_the_fall_follows_the_steps_and_can_be_set_alone():
    config = config_of()
    config.update_from_flattened_dict({"steps": 40})  # what a flag does
    assert (config.optimiser.decay_start, config.optimiser.decay_end) == (20, 40)
    config.update_from_flattened_dict({"optimiser.decay_end": 30})
    assert (config.steps, config.optimiser.decay_start, config.optimiser.decay_end) == (40, 20, 30)


def test_muon_turns_weights_by_their_singular_vectors_and_the_rest_as_adam():
    """The first update of a matrix: the gradient with singular values that are nearly alike, of a known size."""
    rng = np.random.default_rng(0)
    shapes = {"conv": (3, 3, 4, 16), "dense": (5, 12), "head": (3, 3, 4, 2)}
    gradient = {name: {"kernel": jnp.asarray(rng.normal(size=s), jnp.float32)} for name, s in shapes.items()}
    gradient["dense"]["bias"] = jnp.asarray(rng.normal(size=12), jnp.float32)
    optimiser = build_optimiser(optimiser_config("muon", 1e-2))
    update, _ = optimiser.update(gradient, optimiser.init(gradient), gradient)
    for name in ("conv", "dense"):
        found, given = (np.asarray(tree[name]["kernel"]).reshape(-1, shapes[name][-1]) for tree in (update, gradient))
        left, values, right = np.linalg.svd(given, full_matrices=False)
        turned = left.T @ -found @ right.T
        diagonal = np.diag(turned)
        np.testing.assert_allclose(turned, np.diag(diagonal), atol=0.02 * diagonal.max())
        assert diagonal.min() > 0.6 * diagonal.max() and values.min() < 0.5 * values.max()
        assert 0.35 < np.sqrt(np.mean(found**2)) / 1e-2 < 0.65
    # Adam with Nesterov's momentum (Dozat 2016): its first step goes by signs.
    step = 1e-2 * (1 + 0.9 * (1 - 0.9) / (1 - 0.9**2))
    for layer, name in (("head", "kernel"), ("dense", "bias")):
        np.testing.assert_allclose(update[layer][name], -step * np.sign(gradient[layer][name]), rtol=1e-4)
