"""UnityEyes' JSON in all its spellings: signs, the flip of y, crops, and files that lie."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eyegan_jax.data.examples import BadExample
from eyegan_jax.data.unityeyes import CARUNCLE, IRIS, MARGIN, SimulatedSet, UnityEyesSet
from eyegan_jax.errors import UserError

HEIGHT, WIDTH = 480, 640
CENTRE, RADIUS = (300.0, 210.0), 25.0  # of the iris, in image pixels


def eye_points():
    """Lid margin (point 0 at the caruncle, 8 opposite), caruncle and iris around CENTRE, y down."""
    turn = np.pi + 2 * np.pi * np.arange(16) / 16
    margin = np.stack([CENTRE[0] + 80 * np.cos(turn), CENTRE[1] + 40 * np.sin(turn)], -1)
    caruncle = np.tile([CENTRE[0] - 90.0, CENTRE[1]], (7, 1))
    around = 2 * np.pi * np.arange(32) / 32
    iris = np.stack([CENTRE[0] + RADIUS * np.cos(around), CENTRE[1] + RADIUS * np.sin(around)], -1)
    return {"interior_margin_2d": margin, "caruncle_2d": caruncle, "iris_2d": iris}


def y_up(points, text=True):
    """As UnityEyes writes them: y counted from the bottom, and a depth."""
    rows = [(x, HEIGHT - y, 10.0) for x, y in points]
    return [f"({x:.6f}, {y:.6f}, {z:.4f})" for x, y, z in rows] if text else [list(row) for row in rows]


def picture():
    y, x = np.indices((HEIGHT, WIDTH))
    iris = np.hypot(x - CENTRE[0], y - CENTRE[1]) < RADIUS
    return np.where(iris, 20, 220).astype(np.uint8)[..., None].repeat(3, -1)


def labels(text=True, look=(0.2, 0.3, -0.933), **more):
    look = f"({look[0]}, {look[1]}, {look[2]}, 0.0000)" if text else [*look, 0.0]
    points = {key: y_up(value, text) for key, value in eye_points().items()}
    return {**points, "head_pose": "(5.0, 175.0, 0.0)", "eye_details": {"look_vec": look}, **more}


def write(folder, stem, content, image=None):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture() if image is None else image).save(folder / f"{stem}.png")
    if content is not None:
        (folder / f"{stem}.json").write_text(json.dumps(content))


def test_strings_and_lists_read_alike_with_y_flipped_once(tmp_path):
    write(tmp_path / "imgs", "1", labels())
    write(tmp_path / "imgs", "2", labels(text=False))
    eyes = UnityEyesSet(tmp_path, crop="none")
    assert list(eyes.names) == ["imgs/1.png", "imgs/2.png"]
    truth = eye_points()
    for example in (eyes[0], eyes[1]):
        assert example["landmarks"].shape == (16 + 7 + 32, 2)
        np.testing.assert_allclose(example["landmarks"][MARGIN], truth["interior_margin_2d"], atol=1e-4)
        np.testing.assert_allclose(example["landmarks"][CARUNCLE], truth["caruncle_2d"], atol=1e-4)
        np.testing.assert_allclose(example["landmarks"][IRIS], truth["iris_2d"], atol=1e-4)
        expected = np.array([0.2, -0.3, -0.933]) / np.linalg.norm([0.2, -0.3, -0.933])
        np.testing.assert_allclose(example["gaze"], expected, atol=1e-6)


def test_mirror_of_a_right_look_is_a_left_look(tmp_path):
    from eyegan_jax.data.geometry import mirror

    write(tmp_path, "1", labels(look=(0.3, 0.1, -0.9)))
    write(tmp_path, "2", labels(look=(-0.3, 0.1, -0.9)))
    eyes = UnityEyesSet(tmp_path)
    np.testing.assert_allclose(mirror(eyes[0])["gaze"], eyes[1]["gaze"])
    assert eyes[0]["gaze"][0] > 0 > eyes[0]["gaze"][1]  # Right and up: x positive, y negative.


@pytest.mark.parametrize("size", [(35, 55), (36, 60), (70, 110)])
def test_gazeml_crop_is_an_affine_map_that_landmarks_follow(tmp_path, size):
    write(tmp_path, "1", labels())
    example = UnityEyesSet(tmp_path, crop="gazeml", size=size)[0]
    assert example["image"].shape == (*size, 3)
    scale = size[1] / (1.5 * (90 + 80))
    box_centre = np.array([size[1], size[0]]) / 2 - 0.5
    np.testing.assert_allclose(example["landmarks"][IRIS].mean(axis=0), box_centre, atol=1e-3)
    np.testing.assert_allclose(np.ptp(example["landmarks"][IRIS][:, 0]), 2 * RADIUS * scale, rtol=1e-4)
    dark = 220.0 - example["image"][..., 0]
    y, x = np.indices(size)
    middle = np.array([(dark * x).sum(), (dark * y).sum()]) / dark.sum()
    np.testing.assert_allclose(middle, example["landmarks"][IRIS].mean(axis=0), atol=0.05)
    np.testing.assert_allclose(dark.sum() / 200, np.pi * (RADIUS * scale) ** 2, rtol=0.02)


def test_window_crop_and_borders(tmp_path):
    write(tmp_path, "1", labels())
    example = UnityEyesSet(tmp_path, crop="window", size=(84, 140))[0]
    np.testing.assert_allclose(example["landmarks"][IRIS].mean(axis=0), [69.5, 41.5], atol=1e-3)
    # An eye at the border: the window reaches beyond it, the edge goes on, landmarks still fit.
    moved = labels()
    for key, points in eye_points().items():
        moved[key] = y_up(points - [CENTRE[0] - 20, CENTRE[1] - 10])
    write(tmp_path, "2", moved, np.roll(picture(), (10 - 210, 20 - 300), (0, 1)))
    example = UnityEyesSet(tmp_path, crop="gazeml")[1]
    assert example["image"].shape == (35, 55, 3)
    assert example["image"][17, 27, 0] == 20


def test_cameras_of_unityeyes2(tmp_path):
    points = {key: y_up(value, text=False) for key, value in eye_points().items()}
    cameras = {
        "cam0": {**points, "ground_truth": {"gaze_vector": "(0.6, 0.0, -0.8)", "iris_center": "(0, 0, 1)"}},
        "left_cam": {**points, "ground_truth": {"gaze_vec": [0.0, 0.6, -0.8, 0.0]}},
    }
    write(tmp_path, "7_cam0", None)
    write(tmp_path, "7_left_cam", None)
    (tmp_path / "7.json").write_text(json.dumps({"cameras": cameras}))
    eyes = UnityEyesSet(tmp_path)
    assert list(eyes.names) == ["7_cam0.png", "7_left_cam.png"]
    np.testing.assert_allclose(eyes[0]["gaze"], [0.6, 0, -0.8], atol=1e-6)  # y down, as ours
    np.testing.assert_allclose(eyes[1]["gaze"], [0, -0.6, -0.8], atol=1e-6)  # y up, as look_vec
    assert eyes[1]["image"].shape == (35, 55, 3)


def test_every_lie_is_named(tmp_path):
    good = labels()
    write(tmp_path, "0", good)
    (tmp_path / "0_cropped.png").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "1.json").write_text("{}")
    write(tmp_path, "2", None)
    write(tmp_path, "3", {**good, "iris_2d": good["iris_2d"][:31]})
    write(tmp_path, "4", {**good, "eye_details": {"look_vec": "__import__('os').abort()"}})
    write(tmp_path, "5", {key: value for key, value in good.items() if key != "caruncle_2d"})
    write(tmp_path, "6", {**good, "interior_margin_2d": y_up(eye_points()["interior_margin_2d"] + 5000)})
    write(tmp_path, "7", {**good, "eye_details": 3})
    write(tmp_path, "8", {**good, "head_pose": "(5.0, 140.0, 0.0)"})
    eyes = UnityEyesSet(tmp_path, max_head_degrees=20)
    reasons = {}
    for i, name in enumerate(eyes.names):
        try:
            eyes[i]
        except BadExample as bad:
            reasons[name] = bad.reason
    assert list(reasons) == ["1.json", *(f"{i}.png" for i in range(2, 9))]
    for name, part in [
        ("1.json", "no image"),
        ("2.png", "no .json"),
        ("3.png", "iris_2d: expected 32 points, found 31"),
        ("4.png", "look_vec: expected 3 finite numbers"),
        ("5.png", "'caruncle_2d' is missing"),
        ("6.png", "outside the 640x480 image"),
        ("7.png", "no eye_details/look_vec"),
        ("8.png", "head turned by 40 degrees"),
    ]:
        assert part in reasons[name]


junk = st.recursive(
    st.none() | st.integers() | st.text(max_size=6) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["cam", "gaze_vec", "iris_2d"]), inner),
    max_leaves=5,
)
keys = ["cameras", "ground_truth", "eye_details", "interior_margin_2d", "caruncle_2d", "iris_2d", "head_pose"]


@given(st.dictionaries(st.sampled_from(keys), junk), st.booleans())
def test_no_json_raises_anything_else(tmp_path_factory, damage, on_top_of_good):
    folder = tmp_path_factory.mktemp("unity")
    content = {**labels(), **damage} if on_top_of_good else damage
    write(folder, "1", content, np.zeros((6, 8), np.uint8))
    for crop in ("auto", "gazeml", "none"):
        try:
            UnityEyesSet(folder, crop=crop, max_head_degrees=20)[0]
        except BadExample as bad:
            assert bad.name == "1.png"


def test_a_folder_with_look_vectors_in_a_table(tmp_path):
    write(tmp_path, "a", None)
    (tmp_path / "labels.csv").write_text("filename,look_x,look_y,look_z\na.png,0,0.6,-0.8\n")
    np.testing.assert_allclose(UnityEyesSet(tmp_path)[0]["gaze"], [0, -0.6, -0.8], atol=1e-6)
    with pytest.raises(UserError, match="needs landmarks"):
        UnityEyesSet(tmp_path, crop="gazeml")
    assert UnityEyesSet(tmp_path, equalize=True)[0]["image"].shape == (HEIGHT, WIDTH, 1)


def test_what_is_no_unityeyes_folder(tmp_path):
    write(tmp_path, "a", None)
    with pytest.raises(UserError, match=r"expected renders with a \.json each.*found a\.png"):
        UnityEyesSet(tmp_path)
    with pytest.raises(UserError, match=r"data\.crop: expected one of"):
        UnityEyesSet(tmp_path, crop="eye")


def test_simulated_sets(tmp_path):
    write(tmp_path / "images", "0", None)
    (tmp_path / "masks").mkdir()
    (tmp_path / "labels").mkdir()
    mask = np.where(picture()[..., 0] < 100, 2, 0).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "masks" / "0.png")
    (tmp_path / "labels" / "0.json").write_text(json.dumps({**labels(), "subject": 12}))
    example = SimulatedSet(tmp_path)[0]
    np.testing.assert_array_equal(example["mask"], mask)
    np.testing.assert_allclose(example["landmarks"][IRIS].mean(axis=0), CENTRE, atol=1e-4)
    assert example["subject"] == "12"
    assert SimulatedSet(tmp_path).subjects == ["12"]
    (tmp_path / "masks" / "0.png").unlink()
    with pytest.raises(BadExample, match="cannot be read"):
        SimulatedSet(tmp_path)[0]


def test_real_renders(realdata):
    flat = UnityEyesSet(realdata("unityeyes"))
    assert len(flat) == 50
    assert flat[0]["image"].shape == (224, 224, 3)
    eyes = UnityEyesSet(realdata("unityeyes2"))
    assert len(eyes) >= 9
    assert all(np.isclose(np.linalg.norm(eyes[i]["gaze"]), 1) for i in range(len(eyes)))
    # In this render the eye looks to the lower left of the picture.
    gaze = eyes[list(eyes.names).index("31.jpg")]["gaze"]
    assert gaze[0] < -0.3
    assert gaze[1] > 0.3
