"""Captioned birds and flowers: files to pictures and sentences, splits, and samples of other classes."""

import jax
import ml_collections
import numpy as np
import pytest
from PIL import Image

from eyegan_jax.data.captioned import captioned_source, read_captioned, vocabulary
from eyegan_jax.errors import UserError


@pytest.fixture
def birds(tmp_path):
    """Three classes whose pictures have one gray level each, which their captions name."""
    for i, name in enumerate(("001.Crow", "002.Jay", "003.Kite")):
        for k in range(2):
            for folder in ("text", "images"):
                (tmp_path / folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 30, 3), 80 * i + 20, np.uint8)).save(tmp_path / "images" / name / f"b{k}.jpg")
            words = ["zero", "one", "two"][i]
            (tmp_path / "text" / name / f"b{k}.txt").write_text(f"A bird of level {words}.\n\nlevel {words} it is\n")
    (tmp_path / "text/001.Crow/lost.txt").write_text("no picture\n")
    (tmp_path / "trainclasses.txt").write_text("001.Crow\n002.Jay\n")
    (tmp_path / "testclasses.txt").write_text("003.Kite\n")
    return tmp_path


def test_files_of_both_layouts(birds):
    assert [len(read_captioned(birds, "cub", split)) for split in (None, "train", "test")] == [6, 4, 2]
    first = read_captioned(birds, "cub")[0]
    assert (first.kind, first.captions) == ("001.Crow", ("A bird of level zero.", "level zero it is"))
    assert vocabulary(read_captioned(birds, "cub"), least=4) == (
        "bird",
        "is",
        "it",
        "level",
        "of",
        "one",
        "two",
        "zero",
    )
    (birds / "jpg").mkdir()
    (birds / "images/002.Jay/b1.jpg").rename(birds / "jpg/b1.jpg")
    flowers = read_captioned(birds, "oxford102")
    assert {picture.path.name for picture in flowers} == {"b1.jpg"}


def test_samples_show_what_their_caption_says(birds):
    (birds / "words.txt").write_text("zero\none\ntwo\nlevel\n")
    stream = {"kind": "cub", "dir": str(birds), "split": None, "vocabulary": str(birds / "words.txt"), "length": 4}
    config = ml_collections.ConfigDict({"image_shape": (12, 16, 3)})
    source = captioned_source(config, ml_collections.ConfigDict(stream), "edits")
    keys = jax.random.split(jax.random.key(0), 40)
    samples = jax.device_get(jax.jit(jax.vmap(lambda k: source.draw(source.resident, k)))(keys))
    assert samples["image"].shape == (40, 12, 16, 3)
    shown = np.round((samples["image"].mean((1, 2, 3)) - 20) / 80).astype(int)
    named = {name: np.where(samples[name] < 4, samples[name], 0).max(1) - 1 for name in ("own", "text", "wrong")}
    np.testing.assert_array_equal(named["own"], shown)
    for name in ("text", "wrong"):
        assert (named[name] != shown).all() and set(named[name]) == {0, 1, 2}


def test_what_is_missing_is_named(birds, tmp_path):
    with pytest.raises(UserError, match="found no folder text"):
        read_captioned(birds / "images", "cub")
    with pytest.raises(UserError, match="split: expected one of train, test, found 'valid'"):
        read_captioned(birds, "cub", "valid")
    (birds / "testclasses.txt").unlink()
    with pytest.raises(UserError, match=r"expected testclasses\.txt"):
        read_captioned(birds, "cub", "test")
    with pytest.raises(UserError, match="found none for split None"):
        read_captioned(birds, "oxford102")
    config = ml_collections.ConfigDict({"image_shape": (12, 16, 3)})
    stream = {"kind": "cub", "dir": str(birds), "split": None, "vocabulary": "nowhere.txt", "length": 4}
    with pytest.raises(UserError, match=r"config\.data\.edits: vocabulary: expected a file of words"):
        captioned_source(config, ml_collections.ConfigDict(stream), "edits")
