"""OpenEDS folders, MEYE and Columbia: layouts, maps, masks and file-name labels."""

import json

import ml_collections
import numpy as np
import pytest
from PIL import Image

from eyegan_jax.data.columbia import ColumbiaSet
from eyegan_jax.data.examples import BadExample
from eyegan_jax.data.meye import MeyeSet
from eyegan_jax.data.openeds import OpenEDS2020Set, OpenEDSSet
from eyegan_jax.data.sets import check_set
from eyegan_jax.data.streams import build_stream, stream_config
from eyegan_jax.errors import UserError

HEIGHT, WIDTH = 640, 400
STEMS = ["000000240768", "000000240769", "000000340768"]


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path)


def write_openeds(root, split="train", key="semantic_segmenation_images"):
    folder = root / "Semantic_Segmentation_Dataset" / split
    ids = (np.indices((HEIGHT, WIDTH)).sum(axis=0) // 100 % 4).astype(np.uint8)
    for stem in STEMS:
        write(folder / "images" / f"{stem}.png", np.full((HEIGHT, WIDTH), 90, np.uint8))
        write(folder / "labels" / f"{stem}.npy", ids)
    users = [{"id": "U111", key: [f"{STEMS[0]}.", f"{STEMS[1]}."]}, {"id": "U222", key: [f"{STEMS[2]}.png"]}]
    (root / f"OpenEDS_{split}_userID_mapping_to_images.json").write_text(json.dumps(users))
    return folder


@pytest.mark.parametrize("key", ["semantic_segmenation_images", "semantic_segmentation_images"])
def test_openeds_with_either_spelling_and_the_stray_dot(tmp_path, key):
    write_openeds(tmp_path, key=key)
    eyes = OpenEDSSet(tmp_path)
    assert eyes.subjects == ["U111", "U111", "U222"]
    example = eyes[2]
    assert example["image"].shape == (HEIGHT, WIDTH, 1)
    assert example["mask"].shape == (HEIGHT, WIDTH)
    assert set(np.unique(example["mask"])) == {0, 1, 2, 3}
    assert example["subject"] == "U222"


def test_openeds_splits_and_parts(tmp_path):
    write_openeds(tmp_path)
    write_openeds(tmp_path, "test")
    for label in (tmp_path / "Semantic_Segmentation_Dataset/test/labels").iterdir():
        label.unlink()
    (tmp_path / "Semantic_Segmentation_Dataset/test/labels").rmdir()
    write(tmp_path / "Generative_Dataset" / "train" / f"{STEMS[0]}.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    assert "mask" not in OpenEDSSet(tmp_path, split="test")[0]
    generative = OpenEDSSet(tmp_path, part="generative")
    assert generative.subjects == [None]
    assert set(generative[0]) == {"name", "image"}
    with pytest.raises(UserError, match=r"Sequence_Dataset/train: expected a folder"):
        OpenEDSSet(tmp_path, part="sequence")
    with pytest.raises(UserError, match=r"data\.split: expected one of train"):
        OpenEDSSet(tmp_path, split="training")


def test_openeds_masks_that_do_not_fit(tmp_path):
    folder = write_openeds(tmp_path)
    write(folder / "labels" / f"{STEMS[0]}.npy", np.zeros((WIDTH, HEIGHT), np.uint8))
    write(folder / "labels" / f"{STEMS[1]}.npy", np.full((HEIGHT, WIDTH), 4, np.uint8))
    (folder / "labels" / f"{STEMS[2]}.npy").unlink()
    report = check_set(OpenEDSSet(tmp_path))
    reasons = [bad.reason for bad in report.bad]
    assert "mask is 400x640 (height x width), its image 640x400" in reasons[0]
    assert "found [4]" in reasons[1]
    assert "cannot be read" in reasons[2]
    assert "3 of 3 examples are unusable" in report.summary()


@pytest.mark.parametrize("text", ["{", "3", '[{"images": []}]', '[{"id": "U1", "semantic_segmenation_images": "x"}]'])
def test_openeds_maps_that_cannot_be_read(tmp_path, text):
    write_openeds(tmp_path)
    (tmp_path / "OpenEDS_train_userID_mapping_to_images.json").write_text(text)
    with pytest.raises(UserError, match=r"OpenEDS_train_userID_mapping_to_images\.json"):
        OpenEDSSet(tmp_path)


def test_openeds_2020(tmp_path):
    for k in range(3):
        write(tmp_path / "participant" / "S_1" / f"{k}.png", np.zeros((40, 64), np.uint8))
    write(tmp_path / "participant" / "S_1" / "label_2.npy", np.full((40, 64), 3, np.uint8))
    eyes = OpenEDS2020Set(tmp_path)
    assert eyes.subjects == ["S_1"] * 3
    assert ["mask" in eyes[i] for i in range(3)] == [False, False, True]
    assert OpenEDS2020Set(tmp_path, labelled=True).names == ["participant/S_1/2.png"]
    with pytest.raises(UserError, match="expected labelled images"):
        (tmp_path / "participant" / "S_1" / "label_2.npy").unlink()
        OpenEDS2020Set(tmp_path, labelled=True)


def test_meye_masks(tmp_path):
    pupil = np.zeros((16, 16, 3), np.uint8)
    pupil[4:8, 5:9, 0] = 255
    for name in ("open", "blink", "unlabelled", "lost"):
        write(tmp_path / "images" / f"{name}.png", np.zeros((16, 16), np.uint8))
    write(tmp_path / "pupil_masks" / "open.png", pupil)
    rows = ["open.png,a,0,1", "blink.png,a,1,0", "unlabelled.png,b,0,0", "lost.png,b,0,1", "gone.png,b,0,0"]
    (tmp_path / "index.csv").write_text("\n".join(["filename,subject,blink,has_pupil_mask", *rows]))
    eyes = MeyeSet(tmp_path)
    assert eyes.names == ["blink.png", "gone.png", "lost.png", "open.png", "unlabelled.png"]
    assert eyes.subjects == ["a", "b", "b", "a", "b"]
    np.testing.assert_array_equal(eyes[3]["mask"], np.where(pupil[..., 0] > 0, 3, 0))
    assert not eyes[0]["mask"].any()
    assert "mask" not in eyes[4]
    with pytest.raises(BadExample, match=r"lost\.png: mask lost\.png: cannot be read"):
        eyes[2]
    with pytest.raises(BadExample, match=r"gone\.png: cannot be read"):
        eyes[1]
    assert "blink.png" not in MeyeSet(tmp_path, blinks=False).names
    (tmp_path / "index.csv").write_text("filename,subject\n")
    with pytest.raises(UserError, match="expected columns"):
        MeyeSet(tmp_path)


def test_a_stream_of_chosen_people(tmp_path):
    """What keeps the people of a test out of a training: no picture of anybody else is ever drawn."""
    rows = ["filename,subject,blink,has_pupil_mask"]
    for i, person in enumerate("aabbbc"):
        write(tmp_path / "images" / f"{i}.png", np.full((16, 16), 40 * i, np.uint8))
        rows.append(f"{i}.png,{person},0,0")
    (tmp_path / "index.csv").write_text("\n".join(rows))
    config = ml_collections.ConfigDict({"seed": 0, "image_shape": (16, 16, 1)})
    config.data = {"backend": "memory", "fields": {"real": ("image",)}}

    def levels(**settings):
        stream = stream_config("meye", dir=str(tmp_path), **settings)
        return sorted(np.unique(np.asarray(build_stream(config, stream, "real").resident["image"])).tolist())

    assert levels(subjects=("b",)) == [80, 120, 160]
    assert levels() == [0, 40, 80, 120, 160, 200]
    with pytest.raises(UserError, match=r"config\.data\.real: no such subject: d"):
        levels(subjects=("d",))


def test_real_meye(realdata):
    eyes = MeyeSet(realdata("meye"))
    assert len(eyes) == 2945
    assert len(set(eyes.subjects)) == 8
    darker = []
    for i in range(0, len(eyes), 100):
        example = eyes[i]
        if example.get("mask") is not None and example["mask"].any():
            inside = example["mask"] == 3
            darker.append(example["image"][inside].mean() < example["image"][~inside].mean())
    assert len(darker) > 10
    assert np.mean(darker) > 0.9


def test_columbia_names(tmp_path):
    grey = np.zeros((64, 64, 3), np.uint8)
    for name in ("0007_2m_15P_10V_-5H_L.jpg", "0007_2m_15P_10V_-5H_R.jpg", "face.jpg"):
        write(tmp_path / name, grey)
    eyes = ColumbiaSet(tmp_path)
    assert eyes.subjects == ["0007", "0007", None]
    left, right = eyes[0], eyes[1]
    pitch, yaw = np.radians([10, 5])
    expected = [-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)]
    np.testing.assert_allclose(left["gaze"], expected, atol=1e-6)
    np.testing.assert_allclose(right["gaze"], np.multiply(expected, [-1, 1, 1]), atol=1e-6)
    np.testing.assert_allclose(right["head"], -left["head"])
    with pytest.raises(BadExample, match="expected a name like"):
        eyes[2]
