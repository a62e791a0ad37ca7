"""The draft of a turned eye, pixel by pixel, and on simulated eyes whose motion is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax import simulator
from eyegan_jax.data.sources import draw_batch
from eyegan_jax.images import to_float
from eyegan_jax.simulator.pairs import pair_source
from eyegan_jax.systems.draft import draft, smoothed

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZE = (16, 24)


def soft_masks(numbers, count=2):
    masks = numbers.uniform(size=(count, *SIZE, 4)) ** 4 + 1e-3
    return (masks / masks.sum(-1, keepdims=True)).astype(np.float32)


def read(image, y, x):
    """``image [H, W, C]`` at a place between pixels, the edge repeated."""
    y, x = np.clip(y, 0, image.shape[0] - 1), np.clip(x, 0, image.shape[1] - 1)
    top, left = int(y), int(x)
    low, far = min(top + 1, image.shape[0] - 1), min(left + 1, image.shape[1] - 1)
    upper = image[top, left] * (1 - (x - left)) + image[top, far] * (x - left)
    lower = image[low, left] * (1 - (x - left)) + image[low, far] * (x - left)
    return upper * (1 - (y - top)) + lower * (y - top)


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("framed", [True, False])
def test_draft_is_skin_kept_eyeball_moved_and_the_rest_filled(moves, framed):
    numbers = np.random.default_rng(0)
    image = numbers.uniform(-1, 1, (2, *SIZE, 1)).astype(np.float32)
    seen, wanted = soft_masks(numbers), soft_masks(numbers)
    frame = numbers.uniform(size=(2, *SIZE, 1)).astype(np.float32) ** 3 if framed else None
    flow = numbers.uniform(-5, 5, (2, *SIZE, 2)).astype(np.float32) if moves else None
    made = jax.jit(draft)(wanted, image, seen, frame, flow)
    half = SIZE[0] // 8
    for n, y, x in [*np.ndindex(2, 3, 4), *((1, y, x) for y in range(5, 16, 5) for x in range(0, 24, 7))]:

        def free(y, x, n=n):
            """Skin that is not near a frame."""
            if frame is None:
                return seen[n, y, x, 0]
            return seen[n, y, x, 0] * (1 - frame[n, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].max())

        tones = [np.average(image[n, ..., 0], weights=seen[n, ..., k]) for k in range(4)]
        places = np.ndindex(SIZE)
        tones[0] = np.average(image[n, ..., 0].ravel(), weights=[free(*place) for place in places])
        near = [(r, c) for r in range(y - half, y + half + 1) for c in range(x - half, x + half + 1)]
        near = [(r, c) for r, c in near if 0 <= r < SIZE[0] and 0 <= c < SIZE[1]]
        # Means over the whole window, what lies beyond the border included as nothing.
        weight = sum(free(*place) for place in near) / (2 * half + 1) ** 2
        around = sum(free(r, c) * image[n, r, c, 0] for r, c in near) / (2 * half + 1) ** 2
        around = (around + 1e-3 * tones[0]) / (weight + 1e-3)
        kept = wanted[n, y, x, 0] * free(y, x)
        arrived, moved = 0.0, 0.0
        if flow is not None:
            place = (y + flow[n, y, x, 0], x + flow[n, y, x, 1])
            arrived = np.minimum(wanted[n, y, x, 1:], read(seen[n], *place)[1:]).sum()
            moved = read(image[n], *place)[0]
        filled = wanted[n, y, x] @ [around, *tones[1:]]
        expected = kept * image[n, y, x, 0] + arrived * moved + (1 - kept - arrived) * filled
        np.testing.assert_allclose(made.image[n, y, x, 0], expected, atol=1e-5)
        np.testing.assert_allclose(made.known[n, y, x, 0], kept + arrived, atol=1e-5)
        np.testing.assert_allclose(made.arrived[n, y, x, 0], arrived, atol=1e-5)


@pytest.fixture(scope="module")
def turned():
    """Simulated eyes with glasses, and the same without, looking elsewhere."""
    view = dataclasses.replace(simulator.VIEWS["unityeyes_72x120"], height=32, width=48)
    source = pair_source("simulated", view, change="gaze_without_glasses", before="glasses")
    run = jax.jit(lambda key: draw_batch(source, {}, key, jnp.arange(12), 1))
    return {name: np.asarray(value)[:, 0] for name, value in run(jax.random.key(3)).items()}


def test_known_motion_and_frame_make_drafts_nearer_to_the_truth(turned):
    """On simulated eyes, where masks, frames and motion are exact: each part of the draft brings it nearer."""
    image, target = (np.asarray(to_float(turned[name])) for name in ("image", "target_image"))
    masks, wanted = (jax.nn.one_hot(turned[name], 4) for name in ("mask", "target_mask"))
    frame = turned["frame"][..., None].astype(np.float32)
    flow = turned["motion"][..., :2].astype(np.float32)

    def error(made, where):
        return np.abs(made - target)[where].mean()

    plain = draft(wanted, image, masks, None, None).image
    moved = draft(wanted, image, masks, frame, flow).image
    eye = (turned["target_mask"] > 0) & (turned["motion"][..., 2] > 0)
    behind = turned["frame"] & (turned["target_mask"] == 0)
    assert eye.sum() > 500 and behind.sum() > 500
    assert error(moved, eye) < 0.9 * error(plain, eye)
    assert error(moved, behind) < 0.5 * error(plain, behind)
    assert error(moved, behind) < 0.5 * error(image, behind)


def test_smoothing_takes_weighted_means_and_leaves_an_even_flow_as_it_is():
    numbers = np.random.default_rng(2)
    flow = numbers.normal(size=(1, 9, 11, 2)).astype(np.float32)
    weight = numbers.uniform(size=(1, 9, 11, 1)).astype(np.float32)
    made = np.asarray(smoothed(flow, weight))
    inside = flow[0, 2:7, 4:9], weight[0, 2:7, 4:9]
    np.testing.assert_allclose(made[0, 4, 6], np.sum(inside[0] * inside[1], (0, 1)) / inside[1].sum(), atol=5e-3)
    even = np.broadcast_to(np.float32([1.5, -2.0]), flow.shape)
    np.testing.assert_allclose(smoothed(even, weight), even, atol=1e-5)
    # Where nothing moves along it a flow says nothing, but stays finite.
    np.testing.assert_allclose(smoothed(flow, 0 * weight), flow, atol=1e-5)
