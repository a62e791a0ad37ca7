"""Contact sheets: every pixel where it belongs, labels in the margin, wrong shapes refused."""

import numpy as np
import pytest
from PIL import Image

from eyegan_jax import pictures


def test_cells_are_exact_blocks_of_their_pixels(tmp_path):
    images = np.linspace(-1, 1, 2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5, 1)
    pictures.grid_png(images, tmp_path / "deep" / "grid.png", scale=2)
    sheet = np.asarray(Image.open(tmp_path / "deep" / "grid.png"))
    assert sheet.shape == (2 * 10 - 2, 3 * 12 - 2, 3)
    for r in range(2):
        for c in range(3):
            cell = sheet[r * 10 : r * 10 + 8, c * 12 : c * 12 + 10]
            expected = np.round((images[r, c, ..., 0] + 1) * 127.5).astype(np.uint8)
            np.testing.assert_array_equal(cell[::2, ::2, 0], expected)
            np.testing.assert_array_equal(cell[1::2, 1::2, 2], expected)


def test_labels_make_margins_and_leave_the_cells_alone():
    images = np.zeros((2, 2, 35, 55, 3), np.uint8)
    images[..., 0] = 200
    plain = np.asarray(pictures.grid_image(images))
    labelled = np.asarray(pictures.grid_image(images, ["raw", "refined"], ["a", "b"]))
    height, width = plain.shape[:2]
    assert width == 2 * 110 + 2 and labelled.shape[0] > height and labelled.shape[1] > width
    np.testing.assert_array_equal(labelled[-height:, -width:], plain)
    assert (labelled[:, : labelled.shape[1] - width] < 128).any(), "row labels are written in dark ink"


def test_masks_have_one_colour_per_class():
    colours = pictures.mask_to_rgb(np.arange(4).reshape(2, 2))
    assert colours.shape == (2, 2, 3) and colours.min() >= -1 and colours.max() <= 1
    assert len({tuple(c) for c in colours.reshape(4, 3).tolist()}) == 4


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="rows, columns"):
        pictures.grid_image(np.zeros((2, 35, 55, 1)))
    with pytest.raises(ValueError, match="1 rows, found 2 labels"):
        pictures.grid_image(np.zeros((1, 2, 35, 55, 1)), row_labels=["a", "b"])
