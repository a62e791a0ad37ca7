"""The two HDF5 layouts: Kaggle's eye-gaze pair and the OpenEDS file of Seg2Eye."""

import contextlib

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyegan_jax.data.examples import BadExample
from eyegan_jax.data.kaggle import KaggleSet
from eyegan_jax.data.openeds import OpenEDSH5Set
from eyegan_jax.errors import UserError


def write_kaggle(target, order=("10", "9", "2", "1"), look=3, **extra):
    """Images whose pixels are their number, in keys whose name order (1, 10, 2, 9) is not ``order``."""
    with h5py.File(target, "w") as file:
        for stem in order:
            file[f"image/{stem}"] = np.full((35, 55), int(stem), np.uint8)
        file["look_vec"] = np.array([[int(stem) / 20, 0.1, -0.9] for stem in order])[:, :look]
        file["path"] = np.array([f"C:\\UnityEyes\\imgs\\{stem}.jpg".encode() for stem in order])
        for key, value in extra.items():
            if key in file:
                del file[key]
            if value is not None:
                file[key] = value
    return target


@pytest.mark.parametrize("look", [2, 3])
def test_labels_are_matched_through_path(tmp_path, look):
    eyes = KaggleSet(write_kaggle(tmp_path / "gaze.h5", look=look))
    assert eyes.names == ["1", "10", "2", "9"]
    for i in range(4):
        example = eyes[i]
        number = int(example["image"][0, 0, 0])
        assert example["image"].shape == (35, 55, 1)
        assert number == int(example["name"])
        np.testing.assert_allclose(np.linalg.norm(example["gaze"]), 1, atol=1e-6)
        if look == 2:
            np.testing.assert_allclose(example["gaze"][:2], [number / 20, -0.1], atol=1e-6)
        else:
            np.testing.assert_allclose(example["gaze"][0] / example["gaze"][2], number / 20 / -0.9, atol=1e-5)


def test_the_folder_has_two_parts(tmp_path):
    write_kaggle(tmp_path / "gaze.h5")
    write_kaggle(tmp_path / "real_gaze.h5", look_vec=None, path=None)
    assert "gaze" in KaggleSet(tmp_path)[0]
    assert "gaze" not in KaggleSet(tmp_path, part="real")[0]
    assert len(KaggleSet(tmp_path / "real_gaze.h5")) == 4


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"look_vec": None}, "'look_vec' is missing"),
        ({"path": None}, "'path' is missing"),
        ({"look_vec": np.zeros((3, 3))}, r"\(3, 3\), 4"),
        ({"look_vec": np.array([b"a", b"b", b"c", b"d"])}, "expected numbers"),
        ({"path": np.array([b"1.jpg"] * 4)}, "twice"),
    ],
)
def test_labels_that_cannot_be_trusted(tmp_path, extra, reason):
    with pytest.raises(UserError, match=reason):
        KaggleSet(write_kaggle(tmp_path / "gaze.h5", **extra))


def test_broken_images_and_unlisted_ones(tmp_path):
    path = write_kaggle(tmp_path / "gaze.h5")
    with h5py.File(path, "a") as file:
        file["image/3"] = np.zeros((35, 55), np.uint8)
        file["image/4"] = np.zeros((35, 55), np.float32)
        file.create_group("image/5")
    eyes = KaggleSet(path)
    for name, reason in [("3", "no entry of 'path'"), ("4", "found float32"), ("5", "cannot be read")]:
        with pytest.raises(BadExample, match=reason):
            eyes[eyes.names.index(name)]


def test_files_that_are_no_pair(tmp_path):
    with pytest.raises(UserError, match="nothing there"):
        KaggleSet(tmp_path)
    (tmp_path / "gaze.h5").write_bytes(b"not HDF5")
    with pytest.raises(UserError, match="cannot be opened"):
        KaggleSet(tmp_path)
    with h5py.File(tmp_path / "gaze.h5", "w") as file:
        file["image"] = np.zeros(3)
    with pytest.raises(UserError, match="group 'image'"):
        KaggleSet(tmp_path)
    with pytest.raises(UserError, match=r"data\.part"):
        KaggleSet(tmp_path, part="fake")


@given(where=st.integers(0, 10**6), patch=st.binary(min_size=1, max_size=8))
def test_no_damage_raises_anything_else(tmp_path_factory, where, patch):
    path = write_kaggle(tmp_path_factory.mktemp("h5") / "gaze.h5")
    data = bytearray(path.read_bytes())
    where %= len(data)
    data[where : where + len(patch)] = patch
    path.write_bytes(bytes(data))
    try:
        eyes = KaggleSet(path)
    except UserError:
        return
    for i in range(len(eyes)):
        with contextlib.suppress(BadExample):
            assert eyes[i]["image"].dtype == np.uint8


def test_openeds_file_of_seg2eye(tmp_path):
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for user in ("U112", "U020"):
            file[f"train/{user}/images_ss"] = np.full((3, 8, 5), int(user[1:]), np.uint8)
            file[f"train/{user}/labels_ss"] = np.tile(np.arange(4, dtype=np.uint8), (3, 8, 2))[..., :5]
            file[f"train/{user}/images_gen"] = np.zeros((2, 8, 5), np.uint8)
        file["train/U112/labels_ss"][2] = 7
    eyes = OpenEDSH5Set(tmp_path / "all.h5")
    assert eyes.subjects == ["U020"] * 3 + ["U112"] * 3
    assert eyes.names[4] == "U112/images_ss/00001"
    example = eyes[4]
    assert example["subject"] == "U112"
    assert example["image"].shape == (8, 5, 1)
    assert example["image"][0, 0, 0] == 112
    np.testing.assert_array_equal(example["mask"][0], [0, 1, 2, 3, 0])
    with pytest.raises(BadExample, match=r"U112/images_ss/00002: expected class ids"):
        eyes[5]
    generative = OpenEDSH5Set(tmp_path / "all.h5", part="generative")
    assert len(generative) == 4
    assert "mask" not in generative[0]
    with pytest.raises(UserError, match="expected a group 'test', found train"):
        OpenEDSH5Set(tmp_path / "all.h5", split="test")
    with pytest.raises(UserError, match="images_seq, found none"):
        OpenEDSH5Set(tmp_path / "all.h5", part="sequence")
