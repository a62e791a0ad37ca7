"""MPIIGaze's .mat files, written with SciPy in the published structure."""

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from eyegan_jax.data.examples import BadExample
from eyegan_jax.data.mpiigaze import MPIIGazeSet
from eyegan_jax.errors import UserError


def eye(count, seed):
    rng = np.random.default_rng(seed)
    gaze = np.stack([rng.uniform(-0.3, 0.3, count), rng.uniform(-0.2, 0.3, count), -np.ones(count)], -1)
    gaze /= np.linalg.norm(gaze, axis=-1, keepdims=True)
    images = rng.integers(0, 256, (count, 36, 60), np.uint8)
    return {"gaze": gaze, "image": images, "pose": rng.uniform(-0.3, 0.3, (count, 3))}


def write_day(root, person, day, count, seed=0):
    path = root / "Data" / "Normalized" / person / f"{day}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"left": eye(count, seed), "right": eye(count, seed + 1)}
    frames = np.array([[f"{i + 1:04d}.jpg"] for i in range(count)], dtype=object)
    scipy.io.savemat(path, {"data": data, "filenames": frames}, do_compression=True)
    return path, data


def test_left_eyes_as_they_are_and_right_eyes_mirrored(tmp_path):
    _, data = write_day(tmp_path, "p03", "day07", 4)
    eyes = MPIIGazeSet(tmp_path)
    assert len(eyes) == 8
    assert eyes.names[2:4] == ["p03/day07/0002.jpg/left", "p03/day07/0002.jpg/right"]
    assert set(eyes.subjects) == {"p03"}
    left, right = eyes[2], eyes[3]
    np.testing.assert_array_equal(left["image"][..., 0], data["left"]["image"][1])
    np.testing.assert_allclose(left["gaze"], data["left"]["gaze"][1], atol=1e-6)
    np.testing.assert_array_equal(right["image"][..., 0], data["right"]["image"][1][:, ::-1])
    np.testing.assert_allclose(right["gaze"], data["right"]["gaze"][1] * [-1, 1, 1], atol=1e-6)
    plain = MPIIGazeSet(tmp_path, mirror_right=False)[3]
    np.testing.assert_allclose(plain["gaze"], data["right"]["gaze"][1], atol=1e-6)
    np.testing.assert_allclose(right["head"], plain["head"] * [1, -1])


def test_head_angles_from_the_rotation_vector(tmp_path):
    path, data = write_day(tmp_path, "p00", "day01", 2)
    # About the vertical, y down: a rotation by +a takes the face's (0, 0, -1) to (-sin a, 0, -cos a).
    data["left"]["pose"] = np.array([[0.0, 0.0, 0.0], [0.0, 0.2, 0.0]])
    scipy.io.savemat(path, {"data": data, "filenames": np.array([["a"], ["b"]], dtype=object)})
    eyes = MPIIGazeSet(tmp_path)
    np.testing.assert_allclose(eyes[0]["head"], [0, 0], atol=1e-6)
    np.testing.assert_allclose(eyes[2]["head"], [0, 0.2], atol=1e-6)


def test_a_day_with_one_photograph(tmp_path):
    _, data = write_day(tmp_path, "p00", "day01", 1)
    eyes = MPIIGazeSet(tmp_path)
    assert len(eyes) == 2
    assert eyes[0]["image"].shape == (36, 60, 1)
    np.testing.assert_array_equal(eyes[0]["image"][..., 0], data["left"]["image"][0])
    np.testing.assert_allclose(eyes[0]["gaze"], data["left"]["gaze"][0], atol=1e-6)


def test_evaluation_lists_hit_the_named_rows(tmp_path):
    _, data = write_day(tmp_path, "p00", "day01", 3)
    write_day(tmp_path, "p01", "day02", 3, seed=9)
    lists = tmp_path / "Evaluation Subset" / "sample list for eye image"
    with pytest.raises(UserError, match="evaluation subset"):
        MPIIGazeSet(tmp_path, subset="evaluation")
    lists.mkdir(parents=True)
    (lists / "p00.txt").write_text("day01/0003.jpg left\nday01/0001.jpg right\nday01/0009.jpg left\n\n")
    eyes = MPIIGazeSet(tmp_path, subset="evaluation")
    assert eyes.names[:2] == ["p00/day01/0003.jpg/left", "p00/day01/0001.jpg/right"]
    assert eyes.subjects == ["p00"] * 3
    np.testing.assert_array_equal(eyes[0]["image"][..., 0], data["left"]["image"][2])
    np.testing.assert_array_equal(eyes[1]["image"][..., 0], data["right"]["image"][0][:, ::-1])
    with pytest.raises(BadExample, match=r"p00/day01/0009\.jpg/left: listed in p00\.txt"):
        eyes[2]
    assert len(MPIIGazeSet(tmp_path / "Data" / "Normalized", subset="evaluation")) == 3


def damaged(**changes):
    good = eye(2, 0)
    return {"left": {**good, **changes}, "right": good}


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        ({"data": damaged(gaze=np.zeros((2, 4)))}, "data.left.gaze: unexpected shape"),
        ({"data": damaged(gaze="none")}, "data.left.gaze: expected numbers, found str"),
        ({"data": damaged(image=np.zeros((2, 36, 60)))}, "expected uint8, found float64"),
        ({"data": damaged(pose=np.zeros((3, 3)))}, "2 images, 2 gazes, 3 poses"),
        ({"data": {"left": eye(2, 0)}}, "data.right.image"),
        ({"data": 3.0}, "data.left.image"),
        ({"other": 1.0}, "data.left.image"),
        ({"data": damaged(gaze=np.zeros((2, 3)))}, "expected a direction"),
    ],
)
def test_a_malformed_day_names_the_key(tmp_path, contents, reason):
    path, _ = write_day(tmp_path, "p00", "day01", 2)
    scipy.io.savemat(path, {**contents, "filenames": np.array([["a"], ["b"]], dtype=object)})
    eyes = MPIIGazeSet(tmp_path)
    with pytest.raises(BadExample) as caught:
        eyes[0]
    assert reason in caught.value.reason


def test_a_broken_day_is_one_broken_example_among_the_others(tmp_path):
    write_day(tmp_path, "p00", "day01", 2)
    path, _ = write_day(tmp_path, "p00", "day02", 2)
    path.write_bytes(b"no MATLAB file")
    nameless, _ = write_day(tmp_path, "p00", "day03", 2)
    scipy.io.savemat(nameless, {"data": damaged()})
    eyes = MPIIGazeSet(tmp_path)
    assert eyes.names[4:] == ["p00/day02.mat", "p00/day03.mat"]
    with pytest.raises(BadExample, match="not a readable MATLAB file"):
        eyes[4]
    with pytest.raises(BadExample, match="'filenames' is missing"):
        eyes[5]


@given(where=st.integers(0, 2000), patch=st.binary(min_size=1, max_size=8))
def test_no_damage_raises_anything_else(tmp_path_factory, where, patch):
    root = tmp_path_factory.mktemp("mpii")
    path, _ = write_day(root, "p00", "day01", 1)
    data = bytearray(path.read_bytes())
    data = data[: where % len(data)] + patch + data[where % len(data) + len(patch) :]
    path.write_bytes(bytes(data))
    eyes = MPIIGazeSet(root)
    for i in range(len(eyes)):
        try:
            assert eyes[i]["image"].dtype == np.uint8
        except BadExample as bad:
            assert "\n" not in str(bad)


def test_folders_without_days(tmp_path):
    with pytest.raises(UserError, match=r"expected pXX/dayYY\.mat files, found an empty folder"):
        MPIIGazeSet(tmp_path)
    with pytest.raises(UserError, match=r"data\.subset"):
        MPIIGazeSet(tmp_path, subset="some")
