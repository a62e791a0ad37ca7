"""Numbers from text, and the sign conventions by the worked cases of every source."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyegan_jax import gaze
from eyegan_jax.data.examples import BadExample
from eyegan_jax.data.labels import (
    angles_from_gaze,
    gaze_from_angles,
    gaze_from_look_vec,
    numbers,
    read_csv,
    read_json,
)
from eyegan_jax.errors import UserError

HALF = np.sqrt(0.5)
WORKED = [  # eye looks, UnityEyes look_vec, our vector, (pitch, yaw) in degrees
    ("at the camera", (0, 0, -1), (0, 0, -1), (0, 0)),
    ("to the right of the image", (HALF, 0, -HALF), (HALF, 0, -HALF), (0, -45)),
    ("to the left of the image", (-HALF, 0, -HALF), (-HALF, 0, -HALF), (0, 45)),
    ("up", (0, 0.5, -np.sqrt(0.75)), (0, -0.5, -np.sqrt(0.75)), (30, 0)),
    ("down", (0, -0.5, -np.sqrt(0.75)), (0, 0.5, -np.sqrt(0.75)), (-30, 0)),
]


@pytest.mark.parametrize(("looks", "look_vec", "vector", "degrees"), WORKED, ids=[case[0] for case in WORKED])
def test_worked_sign_cases(looks, look_vec, vector, degrees):
    np.testing.assert_allclose(gaze_from_look_vec(np.array(look_vec, float), "look_vec", "x"), vector, atol=1e-6)
    np.testing.assert_allclose(gaze_from_angles(*np.radians(degrees)), vector, atol=1e-6)
    np.testing.assert_allclose(np.degrees(angles_from_gaze(np.array(vector))), degrees, atol=1e-4)


@given(st.floats(-1.4, 1.4), st.floats(-3.0, 3.0))
def test_host_conversions_are_those_of_the_library(pitch, yaw):
    vector = gaze_from_angles(pitch, yaw)
    np.testing.assert_allclose(vector, gaze.angles_to_vector(np.array([pitch, yaw], np.float32)), atol=1e-6)
    np.testing.assert_allclose(angles_from_gaze(vector), gaze.vector_to_angles(vector), atol=1e-5)
    look = np.array([vector[0], -vector[1], vector[2]])
    np.testing.assert_allclose(gaze_from_look_vec(look, "", ""), gaze.from_unityeyes(look), atol=1e-6)


@pytest.mark.parametrize(
    "value",
    [
        "(1.5, -2, 3e0)",
        " [1.5,-2,3] ",
        [1.5, -2, 3],
        ["1.5", "-2", "3", "4"],
        {"x": 1.5, "y": -2, "z": 3},
        "(1.5, -2, 3, 0.0000)",
    ],
)
def test_numbers_in_every_spelling(value):
    np.testing.assert_array_equal(numbers(value, 3, "key", "file"), [1.5, -2, 3])


@pytest.mark.parametrize(
    "value",
    [
        "__import__('os').getcwd()",
        "(1, 2)",
        "(1, 2, nan)",
        [1, 2, None],
        [1, True, 2],
        None,
        7,
        "",
        [1, 2, 10**400],
        [[1], 2, 3],
        "(1; 2; 3)",
    ],
)
def test_what_is_not_numbers_names_file_and_key(value):
    with pytest.raises(BadExample, match=r"^eye\.jpg: look_vec: expected 3 finite numbers"):
        numbers(value, 3, "look_vec", "eye.jpg")


nested = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(nested)
def test_numbers_raise_nothing_else(value):
    try:
        assert np.isfinite(numbers(value, 2, "k", "f")).all()
    except BadExample as bad:
        assert "\n" not in str(bad)


def test_no_direction_is_an_error():
    with pytest.raises(BadExample, match="direction"):
        gaze_from_look_vec(np.zeros(3), "look_vec", "x")


@given(st.binary(max_size=40))
def test_read_json_raises_nothing_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("json") / "1.json"
    path.write_bytes(data)
    try:
        assert isinstance(read_json(path, "1.jpg"), dict)
    except BadExample as bad:
        assert bad.name == "1.jpg"
        assert "1.json" in bad.reason


def test_read_json_names_the_file(tmp_path):
    (tmp_path / "1.json").write_text("[" * 100_000)
    with pytest.raises(BadExample, match=r"1\.json"):
        read_json(tmp_path / "1.json", "1.jpg")
    (tmp_path / "2.json").write_text(json.dumps([1]))
    with pytest.raises(BadExample, match="object"):
        read_json(tmp_path / "2.json", "2.jpg")
    with pytest.raises(BadExample, match="cannot be read"):
        read_json(tmp_path / "3.json", "3.jpg")


def test_read_csv_strips_and_lowers(tmp_path):
    (tmp_path / "l.csv").write_bytes("\ufeffFileName , Pitch\na.png, 3 \n\nb.png\n".encode())
    assert read_csv(tmp_path / "l.csv") == (
        ["filename", "pitch"],
        [{"filename": "a.png", "pitch": "3"}, {"filename": "b.png"}],
    )


@given(st.binary(max_size=60))
def test_read_csv_raises_nothing_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("csv") / "l.csv"
    path.write_bytes(data)
    try:
        read_csv(path)
    except UserError as error:
        assert "\n" not in str(error)
