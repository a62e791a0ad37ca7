"""Samples with retrieved references: the right people, the right order, the right part of the pool."""

import jax
import numpy as np
import pytest

from eyegan_jax.data.neighbours import rank_people, simulated_people, to_neighbour_source
from eyegan_jax.errors import UserError
from eyegan_jax.simulator import View


def population(counts=(5, 9, 1), size=(6, 5), seed=0):
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    order = rng.permutation(len(subject))
    return {
        # An image's gray level is its row, so that samples tell where they came from.
        "image": np.broadcast_to(
            np.arange(len(subject), dtype=np.uint8)[:, None, None, None], (len(subject), *size, 1)
        ),
        "mask": rng.integers(0, 4, (len(subject), *size)).astype(np.uint8),
        "subject": subject[order],
    }


def drawn(source, count=200):
    return jax.device_get(
        jax.jit(jax.vmap(lambda k: source.draw(source.resident, k)))(jax.random.split(jax.random.key(0), count))
    )


def test_ranking_holds_all_others_of_the_person_nearest_first():
    arrays = population()
    ranking = rank_people(arrays["mask"], arrays["subject"], 4)
    for row, found in enumerate(ranking):
        others = [i for i in np.flatnonzero(arrays["subject"] == arrays["subject"][row]) if i != row]
        distance = [(arrays["mask"][i] != arrays["mask"][row]).sum() for i in others]
        expected = np.array(others)[np.argsort(distance, kind="stable")][:4]
        assert found[: len(expected)].tolist() == expected.tolist() and (found[len(expected) :] == -1).all()


def test_nearest_references_come_in_order_and_never_include_the_target():
    arrays = population(counts=(5, 9))
    ranking = rank_people(arrays["mask"], arrays["subject"], 3)
    sample = drawn(to_neighbour_source(arrays, references=3))
    target, references = sample["image"][:, 0, 0, 0], sample["references"][:, :, 0, 0, 0]
    np.testing.assert_array_equal(references, ranking[target])
    np.testing.assert_array_equal(sample["reference_masks"], arrays["mask"][references])
    assert set(target.tolist()) == set(range(14))


def test_a_small_pool_pushes_references_away():
    arrays = population(counts=(40,))

    def mean_rank(**options):
        ranking = rank_people(arrays["mask"], arrays["subject"], 39)
        sample = drawn(to_neighbour_source(arrays, references=1, **options))
        target, reference = sample["image"][:, 0, 0, 0], sample["references"][:, 0, 0, 0, 0]
        return np.mean([ranking[t].tolist().index(r) for t, r in zip(target, reference, strict=True)])

    # The nearest of a random fraction p of the pool has mean rank (1 - p) / p; a uniform one the middle.
    assert mean_rank() == 0
    assert 1.5 < mean_rank(pool=39 // 3) < 2.6
    assert 15 < mean_rank(choice="uniform") < 23


def test_few_others_are_shown_in_turn_and_single_images_left_out():
    arrays = population(counts=(2, 1))
    sample = drawn(to_neighbour_source(arrays, references=3), 20)
    assert (arrays["subject"][sample["image"][:, 0, 0, 0]] == 0).all()
    assert (sample["references"] != sample["image"][:, None]).all()


def test_candidate_masks_may_be_a_segmenters():
    arrays = population(counts=(4,))
    guessed = (arrays["mask"] + 1) % 4
    sample = drawn(to_neighbour_source(arrays, references=2, candidate_masks=guessed), 10)
    np.testing.assert_array_equal(sample["reference_masks"], guessed[sample["references"][:, :, 0, 0, 0]])


def test_wrong_requests_are_named():
    with pytest.raises(UserError, match="expected one of nearest, uniform"):
        to_neighbour_source(population(), references=1, choice="farthest")
    with pytest.raises(UserError, match="at least two images each"):
        to_neighbour_source(population(counts=(1, 1)), references=1)


def test_simulated_people_are_who_they_are_whatever_else_is_drawn():
    options = {"images": 2, "session": True, "chunk": 2}
    view = View(14, 10, look="infrared", framing="headset")
    both = simulated_people("simulated", view, people=2, **options)
    second = simulated_people("simulated", view, people=1, first_person=1, **options)
    assert both["image"].shape == (4, 14, 10, 1) and both["subject"].tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(both["image"][2:], second["image"])
    np.testing.assert_array_equal(both["mask"][2:], second["mask"])
    assert (both["image"][0] != both["image"][1]).any()
