"""``eyegan crop``: the eye is cut out where the landmarks say, and its labels go with it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyegan_jax.data.catalog import open_set
from eyegan_jax.data.cropping import crop_folder
from eyegan_jax.errors import UserError

LOOK = np.array([0.1, 0.2, -0.97])


def write_render(folder, number, centre=(320, 240)):
    """A 640x480 render: a dark iris on white, the landmarks around it, y counted from below as UnityEyes does."""
    y, x = np.mgrid[:480, :640]
    dark = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 30**2
    Image.fromarray(np.where(dark, 20, 230).astype(np.uint8)).convert("RGB").save(folder / f"{number}.jpg")
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)

    def points(xs, ys):
        return [f"({a:.3f}, {480 - b:.3f}, 10.0)" for a, b in zip(xs, ys, strict=True)]

    ring = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    labels = {
        "interior_margin_2d": points(centre[0] - 80 * np.cos(turn), centre[1] - 30 * np.sin(turn)),
        "caruncle_2d": points(centre[0] - 84 + np.zeros(7), centre[1] + np.zeros(7)),
        "iris_2d": points(centre[0] + 30 * np.cos(ring), centre[1] + 30 * np.sin(ring)),
        "head_pose": "(0.0, 180.0, 0.0)",
        "eye_details": {"look_vec": "({}, {}, {}, 0.0)".format(*LOOK)},
    }
    (folder / f"{number}.json").write_text(json.dumps(labels))


def test_crops_keep_gaze_and_landmarks(tmp_path):
    renders = tmp_path / "renders"
    renders.mkdir()
    for number, centre in enumerate([(320, 240), (250, 200), (330, 260)]):
        write_render(renders, number, centre)
    (renders / "2.jpg").write_bytes(b"no image")
    summary = crop_folder(renders, tmp_path / "crops", (35, 55))
    assert summary.startswith("2 crops of 35x55") and "2.jpg" in summary

    crops = open_set({"kind": "folder", "dir": str(tmp_path / "crops")})
    assert len(crops) == 2
    for example in (crops[0], crops[1]):
        image = example["image"][..., 0].astype(float)
        assert image.shape == (35, 55)
        # The iris was drawn at the margin's centre, so it is in the middle of the crop.
        dark = np.argwhere(image < 100)
        np.testing.assert_allclose(dark.mean(0), [17, 27], atol=0.6)
        # y of look_vec is up, ours is down.
        wanted = LOOK * [1, -1, 1] / np.linalg.norm(LOOK)
        np.testing.assert_allclose(example["gaze"], wanted, atol=1e-5)
    labels = json.loads((tmp_path / "crops" / "labels" / "0.json").read_text())
    iris = np.array(labels["landmarks"])[23:]
    np.testing.assert_allclose(iris.mean(0), [27, 17], atol=0.6)

    before = (tmp_path / "crops" / "images" / "0.png").stat().st_mtime_ns
    write_render(renders, 2)
    assert crop_folder(renders, tmp_path / "crops", (35, 55)).startswith("3 crops")
    assert (tmp_path / "crops" / "images" / "0.png").stat().st_mtime_ns == before


def test_nothing_to_crop_is_one_line(tmp_path):
    with pytest.raises(UserError, match="expected"):
        crop_folder(tmp_path, tmp_path / "out", (35, 55))


def test_a_job_that_was_killed_in_the_middle_of_a_label_goes_on(tmp_path, monkeypatch):
    renders, crops = tmp_path / "renders", tmp_path / "crops"
    renders.mkdir()
    for number in range(3):
        write_render(renders, number)
    write, count = Path.write_text, []

    def torn(path, text, *options, **others):
        count.append(path)
        if len(count) == 2:
            write(path, text[: len(text) // 2])
            raise KeyboardInterrupt
        return write(path, text, *options, **others)

    monkeypatch.setattr(Path, "write_text", torn)
    with pytest.raises(KeyboardInterrupt):
        crop_folder(renders, crops, (35, 55))
    monkeypatch.undo()
    assert [path.name for path in (crops / "labels").iterdir()] == ["0.json"]
    assert crop_folder(renders, crops, (35, 55)).startswith("3 crops")
    assert len({json.loads(path.read_text())["source"] for path in (crops / "labels").iterdir()}) == 3
