"""The redirector and the He et al. networks: sizes as published, and what their construction promises."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax.layers.convolution import count_parameters
from eyegan_jax.networks.gaze_gan import GazeDiscriminator, GazeGenerator
from eyegan_jax.networks.redirector import Redirector

pytestmark = pytest.mark.usefixtures("quick_compilation")


def filled(network, *inputs, seed=0):
    """Variables of the network with random numbers: nothing has to be compiled for them."""
    shapes = jax.eval_shape(partial(network.init, jax.random.key(0)), *inputs)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), jnp.float32), shapes)


def test_published_sizes_of_the_baseline():
    image, gaze = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 2))
    generator = jax.eval_shape(partial(GazeGenerator().init, jax.random.key(0)), image, gaze)
    discriminator = jax.eval_shape(partial(GazeDiscriminator().init, jax.random.key(0)), image)
    assert count_parameters(generator) == 8_421_120
    assert count_parameters(discriminator) == 11_163_584
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(generator)]
    assert all("InstanceNorm" in path for path in paths if "bias" in path)


def test_baseline_keeps_the_picture_size_and_gives_two_angles():
    image, gaze = jnp.zeros((2, 12, 20, 1)), jnp.zeros((2, 2))
    generator, discriminator = GazeGenerator(width=4, blocks=1), GazeDiscriminator(width=2, layers=2)
    painted = jax.eval_shape(partial(generator.init_with_output, jax.random.key(0)), image, gaze)[0]
    score, angles = jax.eval_shape(partial(discriminator.init_with_output, jax.random.key(0)), image)[0]
    assert painted.shape == image.shape and score.shape == (2, 3, 5, 1) and angles.shape == (2, 2)


def test_open_gate_without_drawing_keeps_the_mask():
    """A redirector whose head draws nothing and whose gates are open returns the mask that it was given."""
    network = Redirector(width=8, levels=2, reader=(8,))
    mask = jnp.asarray(np.random.default_rng(0).integers(0, 4, (2, 9, 14)))
    variables = filled(network, mask, jnp.zeros((2, 2)))
    head = jax.tree.map(jnp.zeros_like, variables["params"]["head"])
    head["bias"] = head["bias"].at[4:].set(50.0)
    variables = {"params": variables["params"] | {"head": head}}
    run = jax.jit(network.apply)
    logits, flow = run(variables, mask, jnp.array([[0.1, -0.3], [0.4, 0.2]]))
    assert not np.any(flow)
    np.testing.assert_array_equal(logits.argmax(-1), mask)
    probability = jax.nn.softmax(logits)
    np.testing.assert_allclose(probability.max(-1), 1 / 1.003, atol=1e-5)


def test_wish_and_given_reading_change_the_answer():
    network = Redirector(width=8, levels=1, reader=(8,))
    mask = jnp.asarray(np.random.default_rng(0).integers(0, 4, (1, 8, 12)))
    variables = filled(network, mask, jnp.zeros((1, 2)))
    run = jax.jit(lambda *inputs: network.apply(*inputs)[0])
    here, there = (run(variables, mask, jnp.array([g])) for g in ([0.0, 0.0], [0.0, 0.4]))
    assert np.abs(here - there).max() > 1e-3
    seen = network.apply(variables, mask, method="read")
    # What is computed at once and what in two parts is rounded differently, in proportion to the largest logits.
    np.testing.assert_allclose(run(variables, mask, jnp.zeros((1, 2)), seen), here, atol=2e-6 * np.abs(here).max())
    assert np.abs(run(variables, mask, jnp.zeros((1, 2)), seen + 1.0) - here).max() > 1e-3


def test_a_redirector_that_moves_has_a_flow_that_starts_at_rest():
    network = Redirector(width=8, levels=2, reader=(8,), moves=True)
    mask = jnp.asarray(np.random.default_rng(0).integers(0, 4, (2, 9, 14)))
    wish = jnp.array([[0.1, -0.3], [0.4, 0.2]])
    (logits, flow), variables = jax.jit(network.init_with_output)(jax.random.key(0), mask, wish)
    assert logits.shape == (2, 9, 14, 4) and flow.shape == (2, 9, 14, 2) and not np.any(flow)
    flow = variables["params"]["flow"]
    variables = {"params": variables["params"] | {"flow": flow | {"bias": jnp.array([0.5, -1.0])}}}
    # In positions of the coarsest features, two pixels apart.
    np.testing.assert_allclose(network.apply(variables, mask, wish)[1], np.broadcast_to([1.0, -2.0], (2, 9, 14, 2)))
