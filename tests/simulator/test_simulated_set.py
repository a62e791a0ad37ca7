"""The folder set on disk: what is written is read back, by our reader and by UnityEyes' readers alike."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from eyegan_jax.data.simulated import SimulatedSet, write_simulated
from eyegan_jax.errors import UserError
from eyegan_jax.simulator import View
from eyegan_jax.simulator.captions import parse

VIEW = View(40, 56, framing="wide")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    dest = tmp_path_factory.mktemp("set") / "eyes"
    assert write_simulated(dest, 5, VIEW, "simulated", subjects=2, seed=3, batch=3, progress=False) == 5
    return dest


def test_reader_gives_back_what_was_rendered(folder):
    eyes = SimulatedSet(folder)
    assert len(eyes) == 5
    for k, name in enumerate(eyes.names):
        example = eyes[k]
        number = int(name.split("/")[-1].removesuffix(".png"))
        labels = json.loads((folder / f"labels/{number}.json").read_text())
        assert example["subject"] == str(number % 2)
        np.testing.assert_allclose(example["gaze"], labels["gaze"], atol=1e-5)
        assert example["image"].shape == (40, 56, 1) and example["mask"].max() <= 3
        # y was turned bottom-up once, and back once: the margin surrounds the open eye.
        rows, columns = np.nonzero(example["mask"])
        if len(rows):
            margin = example["landmarks"][:16]
            assert margin[:, 1].min() - 1 < rows.min() and rows.max() < margin[:, 1].max() + 1
            assert margin[:, 0].min() - 1 < columns.min() and columns.max() < margin[:, 0].max() + 1


def test_labels_have_unityeyes_own_formats(folder):
    labels = json.loads((folder / "labels/0.json").read_text())
    for key, count in (("interior_margin_2d", 16), ("caruncle_2d", 7), ("iris_2d", 32)):
        assert len(labels[key]) == count
        assert all(isinstance(p, str) and p.startswith("(") and p.count(",") == 2 for p in labels[key])
    look = [float(v) for v in labels["eye_details"]["look_vec"].strip("()").split(",")]
    assert len(look) == 4 and look[3] == 0.0
    np.testing.assert_allclose([look[0], -look[1], look[2]], labels["gaze"], atol=1e-5)
    pitch, yaw, _ = (float(v) for v in labels["head_pose"].strip("()").split(","))
    assert 0 <= pitch < 360 and abs(yaw - 180) < 40
    assert {"skybox_texture", "light_intensity"} <= set(labels["lighting_details"])
    assert "primary_skin_texture" in labels["eye_region_details"]
    assert all(labels["caption_bins"][k] == v for text in labels["captions"] for k, v in parse(text).items())
    assert len(labels["parameters"]) > 90
    with (folder / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [f"images/{k}.png" for k in range(5)]


def test_unityeyes_reader_accepts_it(folder, tmp_path):
    from eyegan_jax.data.unityeyes import UnityEyesSet

    for k in range(5):
        Image.open(folder / f"images/{k}.png").save(tmp_path / f"{k}.jpg")
        (tmp_path / f"{k}.json").write_bytes((folder / f"labels/{k}.json").read_bytes())
    eyes = UnityEyesSet(tmp_path, max_head_degrees=30)
    assert eyes[0]["image"].shape[:2] == (35, 55)
    assert np.linalg.norm(eyes[0]["gaze"]) == pytest.approx(1.0, abs=1e-5)


def test_a_set_cut_off_is_continued_with_the_same_pictures(folder, tmp_path):
    dest = tmp_path / "again"
    write_simulated(dest, 2, VIEW, "simulated", subjects=2, seed=3, batch=3, progress=False)
    (dest / "labels/1.json").unlink()
    assert write_simulated(dest, 5, VIEW, "simulated", subjects=2, seed=3, batch=3, progress=False) == 4
    for k in range(5):
        np.testing.assert_array_equal(
            np.asarray(Image.open(dest / f"images/{k}.png")),
            np.asarray(Image.open(folder / f"images/{k}.png")),
        )
    assert write_simulated(dest, 5, VIEW, "simulated", subjects=2, seed=3, batch=3, progress=False) == 0


def test_other_sets_and_other_files_are_not_overwritten(folder, tmp_path):
    with pytest.raises(UserError, match="seed 3 instead of 4"):
        write_simulated(folder, 5, VIEW, "simulated", subjects=2, seed=4, progress=False)
    (tmp_path / "thesis.txt").write_text("keep me")
    with pytest.raises(UserError, match="other files"):
        write_simulated(tmp_path, 1, VIEW, progress=False)
    with pytest.raises(UserError, match="at least 1"):
        write_simulated(tmp_path / "none", 0, VIEW, progress=False)
    with pytest.raises(UserError, match="view: expected unityeyes_35x55"):
        write_simulated(tmp_path / "none", 1, "hubble", progress=False)
