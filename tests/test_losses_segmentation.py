"""The segmenter's losses against their equations in NumPy, and their limits."""

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax import losses
from eyegan_jax.data.preprocessing import signed_distances

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(3, 6, 5, 4)).astype(np.float32)
MASK = RNG.integers(0, 4, (3, 6, 5))
WEIGHTS = 1 + 20 * RNG.random((3, 6, 5)).astype(np.float32)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_entropy_is_weighted_pixel_by_pixel():
    chosen = np.take_along_axis(softmax(LOGITS), MASK[..., None], -1)[..., 0]
    expected = (WEIGHTS * -np.log(chosen)).mean()
    np.testing.assert_allclose(losses.weighted_cross_entropy(LOGITS, MASK, WEIGHTS), expected, rtol=1e-5)
    # The released code's reading, one mean entropy times the mean weight, is another number.
    heavy_where_hard = 1 - np.log(chosen)
    spatial = float(losses.weighted_cross_entropy(LOGITS, MASK, heavy_where_hard))
    assert spatial > 1.1 * heavy_where_hard.mean() * -np.log(chosen).mean()


def test_generalised_dice_is_sudres_equation():
    p, g = softmax(LOGITS), np.eye(4)[MASK]
    each = []
    for i in range(3):
        w = 1 / g[i].sum((0, 1)) ** 2
        each.append(1 - 2 * (w * (p[i] * g[i]).sum((0, 1))).sum() / (w * (p[i] + g[i]).sum((0, 1))).sum())
    np.testing.assert_allclose(losses.generalised_dice(LOGITS, MASK), np.mean(each), rtol=1e-5)


def test_dice_is_zero_when_certain_and_right_even_without_some_classes():
    mask = np.zeros((1, 6, 5), int)
    mask[:, 2:4] = 3
    right = 50.0 * np.eye(4, dtype=np.float32)[mask]
    assert float(losses.generalised_dice(right, mask)) < 1e-6
    gradient = jax.grad(lambda z: losses.generalised_dice(z, mask))(jnp.asarray(LOGITS[:1]))
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_boundary_charges_by_distance():
    mask = np.zeros((1, 32, 32), int)
    mask[:, 8:16, 8:16] = 3
    phi = signed_distances(mask)

    def cost(pixel):
        """Of believing in the pupil at one more pixel."""
        belief = mask.copy()
        belief[0, pixel, pixel] = 3
        return float(losses.boundary(50.0 * np.eye(4, dtype=np.float32)[belief], phi))

    true = float(losses.boundary(50.0 * np.eye(4, dtype=np.float32)[mask], phi))
    assert true < cost(17) < cost(22) < cost(30)
