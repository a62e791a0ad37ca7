"""The figures of edited pictures, with a reader that reads what the test wrote into the pixels."""

import types

import numpy as np
import pytest

from eyegan_jax.evaluation.text_edit import as_is, in_a_mirror, judge, obeyed, tokens_in_turn
from eyegan_jax.evaluation.text_edit_readers import reading_loss
from eyegan_jax.simulator.caption_tokens import SIZES, TOKENISER
from eyegan_jax.simulator.captions import ATTRIBUTES, UNSAID, spelled_out

EDITED = ("iris", "pupil", "lid")
COUNT, PLACES = 40, [ATTRIBUTES.index(a) for a in EDITED]


def written(bins, seed=0):
    """Noise, with bin number n of attribute a as gray level 10 n at row 0, column a."""
    images = np.random.default_rng(seed).integers(0, 256, (len(bins), 24, 32, 3)).astype(np.uint8)
    images[:, 0, : bins.shape[1], 0] = 10 * np.maximum(bins, 0)
    return images


READER = types.SimpleNamespace(read=lambda images: images[:, 0, : len(ATTRIBUTES), 0].astype(int) // 10)


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    before = rng.integers(0, SIZES, (COUNT, len(SIZES)))
    after = before.copy()
    # The first half changes its iris, the second its pupil; lids are hidden in five pictures.
    after[:20, PLACES[0]] = (before[:20, PLACES[0]] + 1) % SIZES[PLACES[0]]
    after[20:, PLACES[1]] = (before[20:, PLACES[1]] + 1) % SIZES[PLACES[1]]
    before[:5, PLACES[2]] = after[:5, PLACES[2]] = UNSAID
    own = np.stack([TOKENISER.encode("blue iris with a small pupil")] * COUNT)
    return {
        "bins": before,
        "target_bins": after,
        "image": written(before),
        "target_image": written(after),
        "own": own,
        "own_in_turn": tokens_in_turn(own),
    }


def test_copies_fail_and_the_truth_succeeds(task):
    copied = judge(task["image"], task, READER, EDITED)
    assert (copied["success"], copied["drift"], copied["precision"]) == (0.0, 0.0, 0.0)
    expected = np.abs(task["image"].astype(float) - task["target_image"]).mean()
    assert copied["l1_truth"] == pytest.approx(expected) and expected > 0
    true = judge(task["target_image"], task, READER, EDITED)
    assert (true["success"], true["drift"], true["l1_truth"], true["rmse_truth"]) == (100.0, 0.0, 0.0, 0.0)
    assert true["success_by_attribute"] == {"iris": 100.0, "pupil": 100.0, "lid": None}
    assert true["precision"] == pytest.approx(1 - expected / 255)


def test_success_is_by_attribute_and_drift_is_what_should_have_stayed(task):
    made = task["target_bins"].copy()
    made[:10, PLACES[0]] = task["bins"][:10, PLACES[0]]  # ten of twenty irises stay as they were
    made[30:, PLACES[2]] = (made[30:, PLACES[2]] + 1) % SIZES[PLACES[2]]  # ten of 35 visible lids move
    made[:, ATTRIBUTES.index("brow")] += 1  # not edited by this model: not looked at
    found = judge(written(made), task, READER, EDITED)
    assert found["success_by_attribute"] == {"iris": 50.0, "pupil": 100.0, "lid": None}
    assert found["success"] == 75.0
    assert found["drift_by_attribute"] == {"iris": 0.0, "pupil": 0.0, "lid": pytest.approx(100 * 10 / 35)}


def test_what_the_truth_leaves_alone_is_looked_at_by_itself(task):
    """Three gray levels more in twelve rows of the first half's pictures, a wrong pixel where the truth changes."""
    for name in ("image", "target_image"):
        task[name] = np.minimum(task[name], 250)
    made = task["target_image"].copy()
    made[:20, 12:] += 3
    places = np.abs(task["target_image"].astype(int) - task["image"]).max(-1) > 2  # where bins are written
    made[places] ^= 64
    found = judge(made, task, READER, EDITED)
    counts = (~places).sum((1, 2))
    added = 3 * 12 * 32 * 20
    assert found["still_l1_by_attribute"] == {
        "iris": pytest.approx(added / counts[:20].sum()),
        "pupil": 0.0,
        "lid": None,
    }
    assert found["still_l1"] == pytest.approx(added / counts.sum())
    errors = np.abs(made.astype(int) - task["target_image"]).mean((1, 2, 3))
    assert found["l1_truth_by_attribute"] == {
        "iris": pytest.approx(errors[:20].mean(), rel=1e-5),
        "pupil": pytest.approx(errors[20:].mean(), rel=1e-5),
        "lid": None,
    }


def test_as_is_is_the_change_under_an_own_caption_and_the_floor_that_under_none(task):
    """Clause by clause, but where the whole caption finds nothing to do: here in the first ten pictures."""
    nothing, iris, pupil = (TOKENISER.encode(text) for text in ("same eye", "blue iris", "constricted pupil"))
    task["image"] = np.minimum(task["image"], 240)
    task["image"][:10, 1] = 0  # the mark of what the whole caption describes

    def edit(images, tokens):
        added = np.select([(tokens == t).all(1) for t in (nothing, iris, pupil)], [1, 3, 5], 2)
        described = (added == 2) & (images[:, 1] == 0).all((1, 2))
        return images + np.where(described, 0, added)[:, None, None, None].astype(np.uint8)

    found = as_is(edit, task)
    assert found["floor_l1"] == pytest.approx(1.0)
    assert found["as_is_l1"] == pytest.approx((10 * 0 + 30 * 8) / COUNT)
    assert found["as_is_median"] == pytest.approx(8.0)
    assert found["as_is_l1_at_once"] == pytest.approx((10 * 0 + 30 * 2) / COUNT)


def test_right_eyes_are_judged_by_what_is_done_to_them_on_the_other_side(task):
    """One editor that does as it is told, and one that brightens the left of every picture."""
    left, right = (TOKENISER.encode(f"looking {where}") for where in ("left", "right"))
    task["image"] = np.minimum(task["image"], 240)
    task["text"] = np.stack([left, right] * (COUNT // 2))
    task["text_in_turn"] = task["text"][:, None]

    def on(images, where):
        brighter = images.copy()
        brighter[:, :, where] += 10
        return brighter

    def obeys(images, tokens):
        asked = [np.where((tokens == t).all(1), 1, 0)[:, None, None, None] for t in (left, right)]
        parts = on(images, slice(0, 4)), on(images, slice(-4, None))
        return sum(part * a for part, a in zip(parts, asked, strict=True)).astype(np.uint8)

    np.testing.assert_array_equal(in_a_mirror(obeys, task), obeys(task["image"], task["text"]))
    stubborn = in_a_mirror(lambda images, _: on(images, slice(0, 4)), task)
    np.testing.assert_array_equal(stubborn, on(task["image"], slice(-4, None)))


def test_a_sentence_of_one_clause_is_never_taken_for_a_description(task):
    each = tokens_in_turn(np.stack([TOKENISER.encode("blue iris")] * COUNT))
    whole = np.stack([TOKENISER.encode("same eye")] * COUNT)  # stands for a sentence that changes nothing

    def edit(images, tokens):
        return np.where((tokens == whole[0]).all(1)[:, None, None, None], images, images // 2)

    np.testing.assert_array_equal(obeyed(edit, task["image"], whole, each), task["image"] // 2)
    two = np.concatenate([each, each], axis=1)
    np.testing.assert_array_equal(obeyed(edit, task["image"], whole, two), task["image"])


def test_sentences_are_taken_apart_into_clauses_behind_which_nothing_is_asked():
    texts = ["looking far left and slightly up, now with a blue eye", "same eye", "dim light"]
    apart = tokens_in_turn(np.stack([TOKENISER.encode(spelled_out(text)) for text in texts]))
    said = [[TOKENISER.decode(clause) for clause in sentence] for sentence in apart]
    assert said == [
        ["looking far left", "looking slightly up", "blue iris"],
        ["same eye", "", ""],
        ["dim light", "", ""],
    ]


def test_readers_learn_from_what_is_said_only():
    rng = np.random.default_rng(1)
    bins = rng.integers(0, SIZES, (3, len(SIZES)))
    bins[0, 2] = bins[1, 2] = bins[2, 2] = bins[0, 5] = UNSAID
    logits = rng.normal(size=(3, SIZES.sum()))
    costs, start = [], 0
    for i, size in enumerate(SIZES):
        for n in range(3):
            z = logits[n, start : start + size]
            if bins[n, i] != UNSAID:
                costs.append(np.log(np.exp(z).sum()) - z[bins[n, i]])
        start += size
    np.testing.assert_allclose(reading_loss(logits, bins), np.mean(costs), rtol=1e-5)
    assert float(reading_loss(logits, np.full_like(bins, UNSAID))) == 0.0
