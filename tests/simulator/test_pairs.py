"""Pairs of pictures of one person: what the change changes changes, by as much as was asked, and nothing else does."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eyes import CLEAN

from eyegan_jax.data.sources import draw_batch
from eyegan_jax.errors import UserError
from eyegan_jax.gaze import angles_to_vector, angular_error
from eyegan_jax.simulator import DOMAINS, View, pairs, sample_capture, sample_subject
from eyegan_jax.simulator.lids import framed

VIEW = View(24, 36)
DEGREES = 180 / np.pi


pytestmark = pytest.mark.usefixtures("quick_compilation")


def captures(change, count=64):
    """``count`` captures and what the change makes of them; nothing is rendered."""

    def one(key):
        subject = sample_subject(key, CLEAN)
        first = sample_capture(jax.random.fold_in(key, 1), subject, CLEAN, VIEW)
        return subject, first, change(jax.random.fold_in(key, 2), subject, first)[1]

    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(0)))(jnp.arange(count))
    return jax.device_get(jax.jit(jax.vmap(one))(keys))


def test_turn_is_by_the_wanted_angle_and_within_reach():
    degrees = jnp.array([5.0, 20.0, 30.0])

    def each(key, subject, capture):
        turned = [pairs.turn(key, subject, capture, degrees=angle)[1].gaze for angle in degrees]
        return subject, dataclasses.replace(capture, gaze=jnp.stack(turned))

    _, first, second = captures(each)
    moved = angular_error(angles_to_vector(first.gaze)[:, None], angles_to_vector(second.gaze)) * DEGREES
    np.testing.assert_allclose(moved, np.broadcast_to(degrees, moved.shape), atol=1e-3)
    heads = dataclasses.replace(second, gaze=second.gaze.swapaxes(0, 1))
    for i, share in enumerate((1.0, 0.95, 0.9)):
        in_head = np.abs(jax.vmap(pairs.gaze_in_head)(dataclasses.replace(heads, gaze=heads.gaze[i]))) * DEGREES
        assert (in_head <= np.array([25.0, 30.0]) + 1e-2).all(-1).mean() >= share
    # In all directions, not along one axis.
    step = (second.gaze[:, 1] - first.gaze) * DEGREES
    assert (np.abs(step) > 10).any(0).all() and ((step > 0).mean(0) > 0.2).all()


def test_camera_stays_although_the_framing_follows_the_lids():
    subject, first, second = captures(pairs.look_elsewhere, 8)

    def cameras(subject, first, second):
        seen = pairs.with_camera_of((subject, first), (subject, second), CLEAN, VIEW)
        return seen, [framed(subject, c, VIEW, CLEAN)[0] for c in (first, second, seen)]

    seen, (before, unheld, after) = jax.device_get(jax.jit(jax.vmap(cameras))(subject, first, second))
    np.testing.assert_allclose(after.center, before.center, atol=2e-3)
    np.testing.assert_allclose(after.focal, before.focal, rtol=1e-5)
    assert np.abs(unheld.center - before.center).max() > 0.2  # pixels: otherwise there is nothing to hold
    changed = {
        field.name
        for field in dataclasses.fields(first)
        if not np.array_equal(getattr(first, field.name), getattr(seen, field.name))
    }
    assert changed == {"gaze", "shift", "scale"}


@pytest.fixture(scope="module")
def samples():
    source = pairs.pair_source(
        CLEAN, VIEW, change="gaze_without_glasses", before="glasses", references=1, subjects=3, first_subject=5
    )
    draw = jax.jit(lambda key: draw_batch(source, {}, key, jnp.arange(6), 1))
    return jax.tree.map(lambda leaf: leaf[:, 0], jax.device_get(draw(jax.random.key(1))))


def test_sample_holds_both_pictures_and_references(samples):
    assert set(samples["subject"]) <= {5, 6, 7}
    assert samples["references"].shape == (6, 1, VIEW.height, VIEW.width, 1)
    assert samples["glasses"].all() and not samples["target_glasses"].any()
    np.testing.assert_allclose(np.linalg.norm(samples["target_gaze"], axis=-1), 1, atol=1e-5)
    error = angular_error(samples["gaze"], samples["target_gaze"]) * DEGREES
    assert np.asarray(error).min() > 1


def test_iris_goes_where_the_gaze_goes(samples):
    both = samples["mask"].astype(int), samples["target_mask"].astype(int)
    centre = [np.stack([np.argwhere(m >= 2).mean(0) for m in masks]) for masks in both]
    step = centre[1] - centre[0]  # pixels down and right
    gaze = samples["target_gaze"] - samples["gaze"]
    # x right and y down in both.
    seen = np.abs(gaze) > 0.1
    assert (np.sign(step[:, 1]) == np.sign(gaze[:, 0]))[seen[:, 0]].all()
    assert (np.sign(step[:, 0]) == np.sign(gaze[:, 1]))[seen[:, 1]].all()


def test_sample_holds_the_motion_to_the_target_and_the_frame_of_the_glasses(samples):
    """Where both show an iris, the motion leads from the second iris to the first; the frame is taken off."""
    followed = 0
    for k in range(len(samples["image"])):
        motion = samples["motion"][k].astype(float)
        y, x = np.nonzero((motion[..., 2] > 0) & (samples["target_mask"][k] >= 2))
        followed += len(y)
        row, column = np.rint([y + motion[y, x, 0], x + motion[y, x, 1]]).astype(int)
        assert (samples["mask"][k][row, column] >= 2).all()
    assert followed > 0.5 * (samples["target_mask"] >= 2).sum()
    framed, bare = samples["frame"], samples["target_frame"]
    assert framed.any((1, 2)).mean() > 0.5 and not bare.any()
    changed = np.abs(samples["image"].astype(int) - samples["target_image"])[..., 0]
    skin = (samples["mask"] == 0) & (samples["target_mask"] == 0)
    assert changed[framed & skin].mean() > 2 * changed[~framed & skin].mean()


def test_unknown_names_are_errors():
    with pytest.raises(UserError, match="change"):
        pairs.pair_source("simulated", "unityeyes_35x55", change="hat")
    with pytest.raises(UserError, match="subjects"):
        pairs.pair_source(DOMAINS["simulated"], VIEW, change="gaze", subjects=0)
