"""Right eyes from left ones: pairs of pictures, their bins, motion and sentences in a mirror."""

import jax
import numpy as np
import pytest

from eyegan_jax.data.pipeline import draw_uniform
from eyegan_jax.data.sources import DeviceSource
from eyegan_jax.layers.resizing import warp
from eyegan_jax.simulator import DOMAINS, View
from eyegan_jax.simulator.caption_tokens import TOKENISER
from eyegan_jax.simulator.captions import mirror_text, named, parse
from eyegan_jax.simulator.edits import edit_source, mirrored, with_sentences

COUNT = 24
PICTURES = ("image", "target_image", "motion")


@pytest.fixture(scope="module")
def pairs():
    source = edit_source(DOMAINS["simulated"], View(24, 36, channels=3, framing="crop"), prepared=1.0)
    return jax.device_get(
        jax.jit(jax.vmap(lambda key: source.draw(None, key)))(jax.random.split(jax.random.key(0), COUNT))
    )


def test_half_of_the_pairs_are_mirrored_and_sentences_say_what_they_show(pairs):
    source = with_sentences(DeviceSource(draw_uniform, pairs, COUNT), mirror=True)
    keys = jax.random.split(jax.random.key(1), 200)
    shown = jax.device_get(jax.jit(jax.vmap(source.draw, (None, 0)))(pairs, keys))
    number, flipped = {tuple(p.ravel()): i for i, p in enumerate(pairs["image"])}, 0
    for i in range(200):
        picture = shown["image"][i]
        if straight := (tuple(picture.ravel()) in number):
            row = number[tuple(picture.ravel())]
        else:
            row = number[tuple(picture[:, ::-1].ravel())]
        flipped += not straight
        for kind, stated in (("bins", "own"), ("target_bins", "text")):
            true = named(pairs[kind][row])
            if not straight:
                true = {a: mirror_text(said) for a, said in true.items()}
            assert parse(TOKENISER.decode(shown[stated][i])).items() <= true.items()
            assert named(shown[kind][i]) == true
        np.testing.assert_array_equal(shown["target_image"][i], pairs["target_image"][row][:, :: 1 if straight else -1])
    assert 70 < flipped < 130


def test_motion_in_a_mirror_moves_the_mirrored_picture_as_the_picture(pairs):
    """What is read along the motion, mirrored, is what is read from the mirrored picture along its own motion."""
    images, motion = pairs["image"].astype(np.float32), pairs["motion"].astype(np.float32)
    there = jax.device_get(jax.vmap(mirrored)({name: pairs[name] for name in PICTURES}))
    known = motion[..., 2] > 0
    assert np.abs(motion[known][:, 1]).max() > 2
    straight = warp(images, motion[..., :2])
    flipped = warp(there["image"].astype(np.float32), there["motion"].astype(np.float32)[..., :2])
    np.testing.assert_allclose(np.asarray(flipped)[:, :, ::-1], straight, atol=0.05)
    np.testing.assert_array_equal(there["motion"][..., 2][:, :, ::-1] > 0, known)
