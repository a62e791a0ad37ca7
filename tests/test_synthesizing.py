"""``synthesize_folder``: masks in; one person, several, or the way between two out; and what is refused."""

import runpy

import numpy as np
import pytest
from PIL import Image
from randommodel import write_model

from eyegan_jax.errors import UserError
from eyegan_jax.images import to_float
from eyegan_jax.models import RELEASED, load_model, released
from eyegan_jax.synthesizing import encode_folder, synthesize_folder
from eyegan_jax.systems import seg2eye

SIZE = (20, 16)


@pytest.fixture(scope="module")
def checkpoint(root, tmp_path_factory):
    """A released-model folder with random networks, their parameters large enough to matter."""
    config = runpy.run_path(str(root / "configs" / "seg2eye.py"))["get_config"]("smoke").unlock()
    config.image_shape = (*SIZE, 1)
    config.seg2eye.generator.scales = 1
    config.seg2eye.encoder.size = 8
    config.seg2eye.discriminator.scales = 1
    system = seg2eye.build(config)
    shapes = {"image": (*SIZE, 1), "mask": SIZE, "references": (1, *SIZE, 1)}
    batch = {"eyes": {name: np.zeros((1, 1, *shape), np.uint8) for name, shape in shapes.items()}}
    return write_model(tmp_path_factory.mktemp("model"), config, system, batch, 0.3)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Masks of two sizes, and pictures of two people."""
    top, rng = tmp_path_factory.mktemp("eyes"), np.random.default_rng(1)
    contents = {
        "wanted/a.png": rng.integers(0, 4, SIZE),
        "wanted/deep/b.png": rng.integers(0, 4, (12, 30)),
        "anna/1.png": rng.integers(0, 120, SIZE),
        "anna/2.png": rng.integers(0, 120, (40, 32)),
        "anna/masks/1.png": rng.integers(0, 4, SIZE),
        "ben/1.jpg": rng.integers(100, 256, SIZE),
    }
    for name, pixels in contents.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(top / name)
    return top


def read(path):
    return np.asarray(Image.open(path)).astype(int)


def test_the_model_that_comes_along_paints_dark_pupils_where_the_mask_has_them(folders, tmp_path):
    """In infrared light the pupil is the darkest part of an eye; 30 MB is the room for all models together."""
    y, x = np.mgrid[:80, :48]
    for name, middle in (("left", 18), ("right", 30)):
        mask = (np.hypot(x - 24, 1.6 * (y - 40)) < 22).astype(np.uint8)
        away = np.hypot(x - middle, y - 40)
        mask[(away < 12) & (mask > 0)] = 2
        mask[away < 5] = 3
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    synthesize_folder(tmp_path / "masks", [folders / "anna"], tmp_path / "out", released("seg2eye"), batch=2)
    for name in ("left", "right"):
        mask, eye = read(tmp_path / "masks" / f"{name}.png"), read(tmp_path / "out" / f"{name}.png")
        assert eye.shape == mask.shape
        assert np.median(eye[mask == 3]) < np.median(eye[mask == 2]) - 10
    assert sum(file.stat().st_size for file in RELEASED.rglob("*") if file.is_file()) < 30e6


def test_one_person_at_the_masks_own_sizes(checkpoint, folders, tmp_path):
    report = synthesize_folder(folders / "wanted", [folders / "anna"], tmp_path / "out", checkpoint, batch=1)
    assert report.written == 2
    assert read(tmp_path / "out/deep/b.png").shape == (12, 30)
    model = load_model(checkpoint, ("average",))
    system = seg2eye.build(model.config)
    mask = read(folders / "wanted/a.png")[None]
    style = encode_folder(model, folders / "anna")
    expected = system.generator.apply(model.params["average"]["generator"], mask, style)[0, ..., 0]
    np.testing.assert_allclose(read(tmp_path / "out/a.png"), (np.asarray(expected) + 1) * 127.5, atol=1)
    assert read(tmp_path / "out/a.png").std() > 1


def test_style_is_that_of_the_pictures_and_not_of_their_masks(checkpoint, folders):
    model = load_model(checkpoint, ("average",))
    style = encode_folder(model, folders / "ben")
    picture = to_float(read(folders / "ben/1.jpg")[None, None, ..., None].astype(np.uint8))
    system = seg2eye.build(model.config)
    np.testing.assert_allclose(style, system.encode(model.params["average"], picture), rtol=1e-3, atol=1e-3)
    assert np.abs(style - encode_folder(model, folders / "anna")).max() > 1e-2
    np.testing.assert_allclose(encode_folder(model, folders / "anna"), encode_folder(model, folders / "anna", most=2))


def test_hidden_files_are_no_pictures_of_the_person(checkpoint, folders):
    """A Mac's notes on a picture bear its ending."""
    model = load_model(checkpoint, ("average",))
    style = encode_folder(model, folders / "ben")
    (folders / "ben" / "._1.png").write_bytes(b"notes")
    np.testing.assert_array_equal(encode_folder(model, folders / "ben"), style)


def test_the_way_between_two_people_starts_and_ends_with_them(checkpoint, folders, tmp_path):
    people = [folders / "anna", folders / "ben"]
    synthesize_folder(folders / "wanted", people, tmp_path / "both", checkpoint, batch=1)
    synthesize_folder(folders / "wanted", people, tmp_path / "way", checkpoint, between=3, batch=1)
    for step, person in (("between_00", "anna"), ("between_02", "ben")):
        np.testing.assert_allclose(
            read(tmp_path / "way" / step / "a.png"), read(tmp_path / "both" / person / "a.png"), atol=1
        )
    middle = read(tmp_path / "way/between_01/a.png")
    assert np.abs(middle - read(tmp_path / "both/anna/a.png")).max() > 1


def test_what_cannot_be_painted_is_named(checkpoint, folders, tmp_path):
    with pytest.raises(UserError, match="class ids 0 to 3"):
        synthesize_folder(folders / "ben", [folders / "anna"], tmp_path / "a", checkpoint)
    with pytest.raises(UserError, match="different names"):
        synthesize_folder(folders / "wanted", [folders / "anna"] * 2, tmp_path / "b", checkpoint)
    with pytest.raises(UserError, match="two styles"):
        synthesize_folder(folders / "wanted", [folders / "anna"], tmp_path / "c", checkpoint, between=3)
    (tmp_path / "nobody").mkdir()
    with pytest.raises(UserError, match="found none"):
        synthesize_folder(folders / "wanted", [tmp_path / "nobody"], tmp_path / "d", checkpoint)
