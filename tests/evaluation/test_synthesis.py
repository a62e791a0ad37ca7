"""The OpenEDS synthesis task: who may be a reference, what the baselines are, the metric's values, the submission."""

import base64
import json

import numpy as np
import pytest

from eyegan_jax.errors import UserError
from eyegan_jax.evaluation import synthesis

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def people():
    """Two people of one gray level per class each, masks coherent blobs."""
    mask = np.repeat(np.repeat(RNG.integers(0, 4, (20, 4, 4)), 6, 1), 6, 2).astype(np.uint8)
    subject = np.repeat([0, 1], 10).astype(np.int32)
    levels = np.array([[200, 150, 100, 20], [120, 90, 60, 10]], np.uint8)
    image = levels[subject[:, None, None], mask][..., None] + RNG.integers(0, 4, (20, 24, 24, 1)).astype(np.uint8)
    return {"image": image, "mask": mask, "subject": subject}


@pytest.fixture(scope="module")
def task(people):
    return synthesis.make_task(people, targets=3, references=2, segment=None)


def test_references_are_the_nearest_of_the_persons_pool(people, task):
    assert len(task.masks) == 6 and len(task.pool_images) == 14
    for i in range(6):
        pool = np.flatnonzero(task.pool_subjects == task.subjects[i])
        differ = [(task.pool_masks[j] != task.masks[i]).sum() for j in pool]
        for k, j in enumerate(pool[np.argsort(differ, kind="stable")[:2]]):
            np.testing.assert_array_equal(task.references[i, k], task.pool_images[j])
            np.testing.assert_array_equal(task.reference_masks[i, k], task.pool_masks[j])


def test_pool_masks_may_be_a_segmenters(people):
    made = synthesis.make_task(people, 3, 1, segment=lambda images: np.zeros(images.shape[:3], np.uint8))
    assert (made.reference_masks == 0).all() and made.masks.max() > 0


def test_baselines(task):
    found = synthesis.baselines(task)
    assert {k: v.dtype for k, v in found.items()} == dict.fromkeys(found, np.dtype(np.uint8))
    assert len(np.unique(found["class means"])) == 4
    np.testing.assert_array_equal(found["nearest copy"], task.references[:, 0])
    first = task.pool_images[task.pool_subjects == task.subjects[0]].astype(float).mean(0)
    assert np.abs(found["person's mean image"][0] - first).max() <= 0.5


def test_judge_knows_the_truth_and_a_shift_of_one_level(task):
    segment = lambda images: task.masks[: len(images)]  # noqa: E731
    perfect = synthesis.judge(task.targets, task, segment)
    assert perfect["score"] == 0 and perfect["rmse"] == {"mean": 0.0, "std": 0.0, "n": 2}
    assert perfect["content_miou"]["mean"] == 1 and perfect["sharpness"]["mean"] == pytest.approx(1)
    shifted = synthesis.judge(task.targets + np.uint8(1), task, segment)
    assert shifted["score"] == pytest.approx(1471 / 24) and shifted["rmse"]["mean"] == pytest.approx(1)


def test_dominated_needs_both():
    arm = {"rmse": {"mean": 2.0}, "kid": {"mean": 2.0}}
    others = {
        "sharp": {"rmse": {"mean": 3.0}, "kid": {"mean": 1.0}},
        "best": {"rmse": {"mean": 1.0}, "kid": {"mean": 1.0}},
    }
    assert synthesis.dominated(arm, others) == ["best"]


def test_synthesize_all_rounds(task):
    made = synthesis.synthesize_all(lambda mask, references, masks: references[:, 0] + 0.003, task, batch=4)
    np.testing.assert_array_equal(made, task.references[:, 0])


def test_submission_has_the_official_form(tmp_path):
    image = RNG.integers(0, 256, (6, 4), dtype=np.uint8)
    path = synthesis.write_submission(tmp_path / "out", {"000001": image, "000002": image.T.copy().T})
    stored = json.loads(path.read_text())
    assert stored["number_of_samples"] == 2
    np.testing.assert_array_equal(np.load(tmp_path / "out/000001.npy"), image)
    for label in stored["labels"].values():
        np.testing.assert_array_equal(np.frombuffer(base64.b64decode(label), np.uint8).reshape(6, 4), image)
    with pytest.raises(UserError, match="000003: expected a 2-D uint8 image, found float64"):
        synthesis.write_submission(tmp_path, {"000003": image / 2})


def test_a_person_without_candidates_is_named(people):
    with pytest.raises(UserError, match="person 0: expected at least 1 candidate images, found 0"):
        synthesis.make_task(people, targets=10, references=1, segment=None)
