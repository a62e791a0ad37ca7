"""Learning rates that fall to zero: by the equation, and at the end of a training whose length is set late."""

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
