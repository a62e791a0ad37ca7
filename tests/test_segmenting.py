"""``segment_folder``: nested trees and mixed sizes in, masks and overlays out, resumable."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from eyegan_jax.models import load_model
from eyegan_jax.pictures import MASK_COLOURS
from eyegan_jax.segmenting import overlay, segment_folder, segment_images
from eyegan_jax.systems import segmenter


@pytest.fixture(scope="module")
def checkpoint(root, tmp_path_factory):
    """A released-model folder with a network that nobody has trained."""
    import runpy

    import flax.traverse_util

    config = runpy.run_path(str(root / "configs" / "segmenter.py"))["get_config"]("smoke")
    system = segmenter.build(config)
    batch = {"eyes": {"image": np.zeros((1, 1, 48, 32, 1), np.uint8), "mask": np.zeros((1, 1, 48, 32), np.uint8)}}
    state = jax.jit(lambda k: system.init(k, batch, 1))(jax.random.key(0))
    folder = tmp_path_factory.mktemp("model")
    flat = flax.traverse_util.flatten_dict({"average": jax.device_get(state.average)})
    np.savez(folder / "params.npz", step=7, **{"/".join(k): v for k, v in flat.items()})
    (folder / "config.json").write_text(config.to_json_best_effort())
    return folder


def test_masks_and_overlays_of_a_nested_tree(checkpoint, tmp_path):
    source, dest = tmp_path / "eyes", tmp_path / "out"
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (48, 32)), ("deep/b.jpg", (96, 64)), ("deep/c.png", (30, 50))):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(source / name)
    (source / "broken.png").write_bytes(b"not a picture")
    (source / "labels.json").write_text(json.dumps({"a": 1}))

    report = segment_folder(source, dest, checkpoint, batch=2)
    assert report.written == 3 and [bad.name for bad in report.broken] == ["broken.png"]
    mask = np.asarray(Image.open(dest / "masks/deep/b.png"))
    assert mask.shape == (96, 64) and mask.dtype == np.uint8 and mask.max() <= 3
    assert np.asarray(Image.open(dest / "overlays/deep/c.png")).shape == (30, 50, 3)
    assert (dest / "labels.json").exists()
    image = np.asarray(Image.open(source / "a.png"))[None, ..., None]
    np.testing.assert_array_equal(
        np.asarray(Image.open(dest / "masks/a.png")), segment_images(load_model(checkpoint, ("average",)), image)[0]
    )
    again = segment_folder(source, dest, checkpoint, batch=2)
    assert (again.written, again.already) == (0, 3)


def test_overlay_tints_classes_and_leaves_skin():
    image, mask = np.full((4, 4, 1), 100, np.uint8), np.zeros((4, 4), np.uint8)
    mask[1, 1] = 3
    result = overlay(image, mask)
    assert (result[0, 0] == 100).all()
    np.testing.assert_allclose(result[1, 1], 0.65 * 100 + 0.35 * MASK_COLOURS[3], atol=1)


def test_a_line_of_pixels_does_not_become_thousands_of_rows(checkpoint):
    """300x2 pixels took gigabytes: brought to the network's width they had 24,000 rows."""
    model = load_model(checkpoint, ("average",))

    def needed(height, width):
        image = np.zeros((1, height, width, 1), np.uint8)
        compiled = jax.jit(lambda x: segment_images(model, x)).lower(image).compile()
        assert compiled(image).shape == (1, height, width)
        return compiled.memory_analysis().temp_size_in_bytes

    assert needed(300, 2) < 4 * needed(48, 32)
    assert needed(1, 200) < 2 * needed(48, 32)
