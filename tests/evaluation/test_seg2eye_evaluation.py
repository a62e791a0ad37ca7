"""The judgement of Seg2Eye on painters whose quality is known beforehand."""

import numpy as np
import pytest

from eyegan_jax.evaluation import seg2eye, synthesis

SIZE = (32, 24)
IDS = (3, 5, 9, 11)
"""What the four people are called in the data; below, they are numbered 0 to 3."""
LEVELS = np.array([[120], [180], [80], [20]])


def drawn_mask(rng):
    mask = np.zeros(SIZE, np.uint8)
    row, column = rng.integers(9, 26), rng.integers(7, 17)
    mask[row - 5 : row + 5, column - 6 : column + 6] = 1
    mask[row - 3 : row + 3, column - 3 : column + 3] = 2
    mask[row - 1 : row + 1, column - 1 : column + 1] = 3
    return mask


def texture(person):
    """Stripes of an own direction and period, and an own brightness: what tells a person from others."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return 12 * np.sin(2 * np.pi * (x if person % 2 else y) / (4 + 2 * (person // 2))) + 10 * person


def draw(masks, people):
    images = LEVELS[masks] + np.stack([texture(person) for person in people])[..., None]
    return np.clip(images, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    subject = np.repeat(IDS, 10)
    mask = np.stack([drawn_mask(rng) for _ in subject])
    return {"image": draw(mask, np.repeat(range(4), 10)), "mask": mask, "subject": subject}


@pytest.fixture(scope="module")
def task(arrays):
    """Three pictures of each person to paint, seven that are known."""
    return synthesis.make_task(arrays, targets=3, references=2, segment=None)


def person_of(images):
    """Which of the four people a picture shows, by its skin."""
    known = np.stack([texture(person) for person in range(4)]) + LEVELS[0]
    corner = (slice(None), slice(0, 3))
    return np.abs(images[:, None, :, :, 0][(slice(None), *corner)] - known[(None, *corner)]).mean((2, 3)).argmin(1)


def segment(images):
    """The mask of a picture whose person is known by its skin."""
    skin = np.stack([texture(person) for person in person_of(images)])
    return np.abs(images - skin[..., None] - LEVELS[:, 0]).argmin(-1).astype(np.uint8)


def paint(masks, references):
    return draw(masks, person_of(references[:, 0]))


def identify(images):
    return np.array(IDS)[person_of(images)]


def test_identity_classifier_knows_the_people_of_its_pool(task):
    assert np.mean(seg2eye.identity_classifier(task)(task.targets) == task.subjects) == 1.0


def test_encoder_top1_counts_codes_that_are_nearest_to_their_own_person(task):
    assert seg2eye.encoder_top1(lambda images: np.eye(4)[person_of(images)], task.targets, task) == 1.0
    assert seg2eye.encoder_top1(lambda images: np.zeros((len(images), 1)), task.targets, task) == 0.25


def test_swapped_references_show_another_person(task):
    other = seg2eye.next_person(task)
    assert set(zip(task.subjects, other, strict=True)) == {(3, 5), (5, 9), (9, 11), (11, 3)}
    pictures = seg2eye.pictures_of(task, other)
    assert pictures.shape == (12, 2, *SIZE, 1)
    np.testing.assert_array_equal(identify(pictures[:, 1]), other)


def swap(painter, task):
    return seg2eye.swap_test(painter, task, segment, identify, ceiling=1.0)


def test_swap_test_passes_who_keeps_the_mask_and_changes_the_person(task):
    result = swap(paint, task)
    assert result["passes"] and result["style_person_top1"] == 1.0 and result["miou"] > 0.95


def test_swap_test_fails_who_keeps_the_person(task):
    def stubborn(masks, references):
        del references
        return draw(masks, [IDS.index(subject) for subject in task.subjects])

    result = swap(stubborn, task)
    assert not result["passes"] and result["mask_person_top1"] == 1.0


def test_swap_test_fails_who_copies_the_reference(task):
    result = swap(lambda masks, references: references[:, 0], task)
    assert not result["passes"] and result["style_person_top1"] == 1.0


def test_the_figure_has_masks_by_row_and_people_by_column(task):
    grid = seg2eye.style_grid(paint, task, rows=3, columns=9)
    assert grid.shape == (4, 5, *SIZE, 3)
    pool = task.pool_images[task.pool_subjects == 5]
    np.testing.assert_allclose(grid[0, 2, ..., 0], pool[0, ..., 0] / 127.5 - 1, atol=1e-6)
    masks = task.masks[[0, 3, 6]]
    np.testing.assert_allclose(grid[1:, 2, ..., :1], draw(masks, [1, 1, 1]) / 127.5 - 1, atol=1e-6)


def test_the_table_of_a_perfect_painter(task):
    def encode(images):
        return np.eye(4)[person_of(images)]

    results, pictures = seg2eye.measure(paint, encode, task, segment, identify)
    ours, copy = results["table"]["seg2eye"], results["table"]["nearest copy"]
    assert ours["rmse"]["mean"] == 0 and ours["content_of_ceiling"] == 1 and ours["encoder_top1"] == 1
    assert copy["rmse"]["mean"] > 1 and copy["identity_top1"] == 1.0
    assert copy["content_miou_whole_set"] < ours["content_miou_whole_set"]
    np.testing.assert_array_equal(pictures["real"], task.targets)
