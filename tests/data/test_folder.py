"""Plain folders: what is found, how labels, masks and subjects are matched, and what is said otherwise."""

import csv
import runpy

import numpy as np
import pytest
from PIL import Image

from eyegan_jax.data.examples import BadExample, EyeSet
from eyegan_jax.data.folder import FolderSet
from eyegan_jax.data.streams import build_stream
from eyegan_jax.errors import UserError


def write_image(path, value=100, size=(6, 8), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).convert(mode).save(path)


def write_table(path, header, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_nested_mixed_formats_in_sorted_order(tmp_path):
    write_image(tmp_path / "b.png", 2)
    write_image(tmp_path / "a" / "z.JPG", 3, mode="RGB")
    write_image(tmp_path / "a" / "deep" / "y.bmp", 4, size=(5, 5))
    write_image(tmp_path / ".hidden" / "x.png")
    (tmp_path / "notes.txt").write_text("no image")
    eyes = FolderSet(tmp_path)
    assert isinstance(eyes, EyeSet)
    assert list(eyes.names) == ["a/deep/y.bmp", "a/z.JPG", "b.png"]
    assert [eyes[i]["image"].shape for i in range(3)] == [(5, 5, 1), (6, 8, 3), (6, 8, 1)]
    assert set(eyes[0]) == {"image", "name"}


@pytest.mark.parametrize(
    ("columns", "values", "vector"),
    [
        (("look_x", "look_y", "look_z"), (0, 0.5, -0.8660254), (0, -0.5, -0.8660254)),
        (("x", "y", "z"), (0, -1, -1), (0, -0.70710678, -0.70710678)),
        (("gaze_x", "gaze_y", "gaze_z"), (0.6, 0, -0.8), (0.6, 0, -0.8)),
        (("pitch", "yaw"), (30, 0), (0, -0.5, -0.8660254)),
        (("pitch_deg", "yaw_deg"), (0, -45), (0.70710678, 0, -0.70710678)),
    ],
)
def test_gaze_columns(tmp_path, columns, values, vector):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")
    write_table(tmp_path / "labels.csv", ["Filename", *columns], ["a.png", *values])
    eyes = FolderSet(tmp_path)
    np.testing.assert_allclose(eyes[0]["gaze"], vector, atol=1e-6)
    assert eyes[0]["gaze"].dtype == np.float32
    assert "gaze" not in eyes[1]


def test_images_masks_and_table_side_by_side(tmp_path):
    write_image(tmp_path / "images" / "p" / "1.jpg")
    write_image(tmp_path / "images" / "2.png")
    write_image(tmp_path / "masks" / "p" / "1.png", 2)
    write_image(tmp_path / "elsewhere.png")
    write_table(tmp_path / "index.csv", ["name", "subject", "head_pitch", "head_yaw"], ["1.jpg", "anna", 0, 90])
    eyes = FolderSet(tmp_path)
    assert list(eyes.names) == ["images/2.png", "images/p/1.jpg"]
    assert eyes.subjects == [None, "anna"]
    np.testing.assert_array_equal(eyes[1]["mask"], np.full((6, 8), 2))
    np.testing.assert_allclose(eyes[1]["head"], [0, np.pi / 2])
    assert eyes[1]["subject"] == "anna"
    assert "mask" not in eyes[0]


def test_subject_from_folder_or_prefix(tmp_path):
    write_image(tmp_path / "anna" / "07_left_1.png")
    assert FolderSet(tmp_path, subject="folder")[0]["subject"] == "anna"
    assert FolderSet(tmp_path, subject="prefix").subjects == ["07"]
    with pytest.raises(UserError, match=r"data\.subject"):
        FolderSet(tmp_path, subject="names")


def test_a_stream_without_references_needs_no_subjects(root, tmp_path):
    """Redirection's own config asks for further pictures of each person; of own pictures there may be one each."""
    write_image(tmp_path / "a.png")
    config = runpy.run_path(str(root / "configs" / "redirect.py"))["get_config"]("own")
    with config.unlocked():
        config.data.real.dir = str(tmp_path)
    assert set(build_stream(config, config.data.real, "real").resident) == {"image"}
    with config.unlocked():
        config.data.real.references = 3
    with pytest.raises(UserError, match=r"config\.data\.real: expected people with at least two images each"):
        build_stream(config, config.data.real, "real")


def test_patterns_leave_out(tmp_path):
    for name in ("eye1.png", "BadFrame2.png", "sub/BadFrame3.png"):
        write_image(tmp_path / name)
    assert FolderSet(tmp_path, exclude=("BadFrame*",)).names == ["eye1.png"]


def test_every_problem_is_named(tmp_path):
    for name in ("a.png", "b.png", "c.png", "e.png"):
        write_image(tmp_path / name)
    (tmp_path / "d.png").write_bytes(b"")
    (tmp_path / "masks").mkdir()
    write_image(tmp_path / "masks" / "a.png", 1, size=(3, 3))
    write_image(tmp_path / "masks" / "b.png", 9)
    write_table(tmp_path / "labels.csv", ["file", "pitch", "yaw"], ["c.png", "ten", "0"], ["gone.png", 1, 2])
    eyes = FolderSet(tmp_path)
    reasons = {}
    for i, name in enumerate(eyes.names):
        try:
            eyes[i]
        except BadExample as bad:
            assert bad.name == name
            reasons[name] = bad.reason
    assert reasons == {
        "a.png": "mask is 3x3, its image 6x8",
        "b.png": "expected class ids [0, 1, 2, 3], found [9]",
        "c.png": "labels.csv columns pitch, yaw: expected 2 finite numbers, found ['ten', '0']",
        "d.png": "the file is empty (0 bytes)",
        "gone.png": "listed in labels.csv, but there is no such file",
    }


def test_no_image_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"expected images .*, found an empty folder"):
        FolderSet(tmp_path)
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(UserError, match=r"found readme\.txt"):
        FolderSet(tmp_path)
    with pytest.raises(UserError, match=r"expected a folder, found nothing there"):
        FolderSet(tmp_path / "gone")
    with pytest.raises(UserError, match=r"expected a folder, found a file"):
        FolderSet(tmp_path / "readme.txt")


def test_tables_that_cannot_be_used(tmp_path):
    write_image(tmp_path / "p" / "1.png")
    write_image(tmp_path / "q" / "1.png")
    write_table(tmp_path / "t.csv", ["who", "pitch"], ["1.png", 1])
    with pytest.raises(UserError, match=r"expected a column filename, .* found who, pitch"):
        FolderSet(tmp_path, table="t.csv")
    write_table(tmp_path / "t.csv", ["name"], ["1.png"])
    with pytest.raises(UserError, match="several folders"):
        FolderSet(tmp_path, table="t.csv")
    with pytest.raises(UserError, match="nothing there"):
        FolderSet(tmp_path, table="u.csv")


def test_real_folders(realdata):
    tiles = FolderSet(realdata("unityeyes_tiles"))
    assert len(tiles) == 128
    assert tiles[0]["image"].shape == (35, 55, 1)
    eyes = FolderSet(realdata("mpiigaze"))
    assert {eyes[i]["image"].shape for i in range(len(eyes))} == {(35, 55, 1), (36, 60, 1)}
    people = FolderSet(realdata("mrgaze"), subject="prefix")
    assert len(set(people.subjects)) == 50
    assert people[0]["image"].shape[-1] == 1
