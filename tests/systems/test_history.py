"""The history buffer's rule as properties; each fails on the published buffers that never fill or never age."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eyegan_jax.images import to_float
from eyegan_jax.systems import history as histories

SHAPE = (2, 3, 1)


push = jax.jit(histories.push)
sample = jax.jit(histories.sample)


def local(history):
    """What one device sees: no device axis."""
    return history.replace(images=history.images[0])


def batch_of(value, strata, count):
    """Images that carry their number: ``strata * count`` distinct gray levels from ``value`` on."""
    levels = value + jnp.arange(strata * count, dtype=jnp.uint8).reshape(strata, count, 1, 1, 1)
    return to_float(jnp.broadcast_to(levels, (strata, count, *SHAPE)))


def keys(seed, strata):
    return jax.random.split(jax.random.key(seed), strata)


@settings(max_examples=10)
@given(shape=st.sampled_from([(1, 1, 3), (3, 2, 2)]), pushes=st.integers(1, 9), seed=st.integers(0, 2**20))
def test_fills_up_then_replaces(shape, pushes, seed):
    strata, count, times = shape  # few shapes: each is compiled anew
    rows = count * times
    history = local(histories.create(strata * rows, strata, 1, SHAPE))
    for n in range(pushes):
        before = np.asarray(history.images)
        history = push(history, keys(seed + n, strata), batch_of(10 * n, strata, count))
        after = np.asarray(history.images)
        assert int(history.filled) == min(rows, (n + 1) * count)
        changed = (before != after).reshape(strata, rows, -1).any(-1)
        if n >= times:  # full: exactly count distinct rows change, the others survive
            np.testing.assert_array_equal(changed.sum(1), count)
        new = np.unique(after[..., 0])
        assert set(range(10 * n, 10 * n + strata * count)) <= set(new.tolist())


def test_samples_come_from_valid_rows_and_vary():
    history = local(histories.create(2 * 32, 2, 1, SHAPE))
    for n in range(5):
        history = push(history, keys(n, 2), batch_of(1 + 8 * n, 2, 4))
    fresh = batch_of(200, 2, 4)
    seen = []
    for seed in range(6):
        drawn = np.asarray(sample(history, keys(seed, 2), fresh))
        levels = np.round((drawn[..., 0, 0, 0] + 1) * 127.5).astype(int)
        for stratum in range(2):
            own = np.asarray(history.images)[stratum, :20, 0]
            assert set(levels[stratum]) <= set(own.tolist())
            assert len(set(levels[stratum])) == 4  # distinct rows
        seen.append(tuple(levels.ravel()))
    assert len(set(seen)) > 3


def test_empty_history_gives_back_the_fresh_images():
    history = local(histories.create(16, 2, 1, SHAPE))
    fresh = batch_of(50, 2, 2)
    np.testing.assert_array_equal(sample(history, keys(0, 2), fresh), fresh)


def test_fewer_valid_rows_than_wanted_are_repeated():
    history = local(histories.create(8, 1, 1, SHAPE))
    history = push(history, keys(0, 1), batch_of(7, 1, 1))
    drawn = sample(history, keys(1, 1), batch_of(200, 1, 3))
    np.testing.assert_allclose(drawn, to_float(jnp.full((1, 3, *SHAPE), 7, jnp.uint8)))


def test_images_are_kept_as_uint8_without_loss():
    history = local(histories.create(256, 1, 1, SHAPE))
    levels = jnp.broadcast_to(jnp.arange(256, dtype=jnp.uint8).reshape(1, 256, 1, 1, 1), (1, 256, *SHAPE))
    history = push(history, keys(0, 1), to_float(levels))
    assert history.images.dtype == jnp.uint8
    np.testing.assert_array_equal(history.images.reshape(levels.shape), levels)
