"""Resident sources: content, uniform draws, left-out examples, and references of the same person."""

import logging
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from eyegan_jax.data.examples import BadExample
from eyegan_jax.data.folder import FolderSet
from eyegan_jax.data.people import to_person_source
from eyegan_jax.data.pipeline import people, to_source
from eyegan_jax.data.sources import DeviceSource, HostSource, draw_batch
from eyegan_jax.errors import UserError

SIZE = {"height": 4, "width": 6}


class Labelled:
    """Images ``[8, 12, 1]`` of their index; person = index // 4; some lack a gaze, some are broken."""

    def __init__(self, count, without_gaze=(), broken=(), group=4):
        self.names = [f"{i:03d}" for i in range(count)]
        self._without, self._broken, self._group = set(without_gaze), set(broken), group

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        if index in self._broken:
            raise BadExample(self.names[index], "torn")
        example = {
            "name": self.names[index],
            "image": np.full((8, 12, 1), index, np.uint8),
            "mask": np.full((8, 12), index % 4, np.uint8),
            "landmarks": np.array([[11, 7], [0, 0]], np.float32),
            "subject": f"p{index // self._group}",
        }
        return example if index in self._without else {**example, "gaze": np.array([0, 0, -1], np.float32) * index}


def draw(source, count, samples=1, seed=0):
    positions = jnp.arange(count)
    batch = jax.jit(lambda resident, key: draw_batch(source, resident, key, positions, samples))
    return batch(source.resident, jax.random.key(seed))


def test_fields_shapes_and_types():
    eyes = Labelled(12)
    fields = ("image", "mask", "gaze", "landmarks", "subject")
    source = to_source(eyes, **SIZE, channels=3, fields=fields)
    assert isinstance(source, DeviceSource)
    assert source.size == 12
    batch = draw(source, 5, 2)
    shapes = {name: (value.shape[2:], value.dtype) for name, value in batch.items()}
    assert shapes == {
        "image": ((4, 6, 3), jnp.uint8),
        "mask": ((4, 6), jnp.uint8),
        "gaze": ((3,), jnp.float32),
        "landmarks": ((2, 2), jnp.float32),
        "subject": ((), jnp.int32),
    }
    index = np.asarray(batch["image"][..., 0, 0, 0])
    np.testing.assert_array_equal(batch["mask"][..., 0, 0], index % 4)
    np.testing.assert_array_equal(batch["gaze"][..., 2], -1.0 * index)
    np.testing.assert_array_equal(batch["subject"], index // 4)
    # (11, 7) was the centre of the last of 12 x 8 pixels and is a quarter pixel beyond that of 6 x 4.
    np.testing.assert_allclose(batch["landmarks"][0, 0], [[5.25, 3.25], [-0.25, -0.25]])
    assert people(eyes) == ["p0", "p1", "p2"]


def test_draws_are_uniform_and_a_function_of_key_and_position():
    source = to_source(Labelled(10), **SIZE)
    drawn = np.asarray(draw(source, 2000)["image"][:, 0, 0, 0, 0])
    counts = np.bincount(drawn, minlength=10)
    # Chi-squared with 9 degrees of freedom: above 33.7 once in ten thousand.
    assert ((counts - 200) ** 2 / 200).sum() < 33.7
    np.testing.assert_array_equal(drawn, draw(source, 2000)["image"][:, 0, 0, 0, 0])
    assert (drawn != draw(source, 2000, seed=1)["image"][:, 0, 0, 0, 0]).mean() > 0.8
    np.testing.assert_array_equal(drawn[:500], draw(source, 500)["image"][:, 0, 0, 0, 0])


def test_unusable_examples_are_left_out_counted_and_named(caplog):
    eyes = Labelled(8, without_gaze=[1, 2], broken=[5])
    with caplog.at_level(logging.WARNING):
        source = to_source(eyes, **SIZE, fields=("gaze",))
    assert source.size == 5
    assert sorted(source.resident["image"][:, 0, 0, 0]) == [0, 3, 4, 6, 7]
    (record,) = caplog.records
    assert record.getMessage() == ("3 of 8 examples are unusable: 001 (has no gaze), 002 (has no gaze), 005 (torn)")


def test_nothing_usable_is_one_clear_line():
    with pytest.raises(UserError, match=r"none of the 4 examples is usable: 000 \(has no gaze\)"):
        to_source(Labelled(4, without_gaze=range(4)), **SIZE, fields=("gaze",))
    with pytest.raises(UserError, match="empty data set"):
        to_source(Labelled(0), **SIZE)


def test_wrong_requests_name_the_setting():
    eyes = Labelled(4)
    for options, message in [
        ({"channels": 2}, r"data\.channels: expected 1 \(gray\) or 3 \(RGB\), found 2"),
        ({"fields": ("gaz",)}, r"data\.fields: .* found gaz"),
        ({"backend": "disk"}, r"data\.backend: .* found 'disk'"),
        ({"fit": "pad"}, r"data\.fit: .* found 'pad'"),
    ]:
        with pytest.raises(UserError, match=message):
            to_source(eyes, **SIZE, **options)


def test_backend_is_chosen_by_size():
    eyes = Labelled(6)
    assert isinstance(to_source(eyes, **SIZE, memory_limit_bytes=10_000), DeviceSource)
    assert isinstance(to_source(eyes, **SIZE, memory_limit_bytes=1_000), HostSource)


def test_mixed_landmark_counts_are_a_fault_of_the_odd_one():
    class Odd(Labelled):
        def __getitem__(self, index):
            example = super().__getitem__(index)
            return example | {"landmarks": example["landmarks"][: 1 + (index != 2)]}

    assert to_source(Odd(5), **SIZE, fields=("landmarks",)).size == 4


def test_every_kind_of_broken_file_in_one_folder(tmp_path, caplog):
    """16-bit, CMYK and palette files are used; unreadable, truncated, empty and foreign ones are named."""
    good = Image.fromarray(np.full((8, 8), 50, np.uint8))
    for i in range(40):
        good.save(tmp_path / f"good{i:02d}.png")
    Image.fromarray(np.full((8, 8), 50 * 257, np.uint16)).save(tmp_path / "wide.png")
    good.convert("CMYK").save(tmp_path / "cmyk.jpg")
    good.quantize(4).save(tmp_path / "palette.png")
    data = (tmp_path / "good00.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "foreign.jpg").write_text("<html>not found</html>")
    (tmp_path / "folder.png").mkdir()
    with caplog.at_level(logging.WARNING):
        source = to_source(FolderSet(tmp_path), height=4, width=4)
    assert source.size == 43
    np.testing.assert_allclose(source.resident["image"].astype(int), 50, atol=3)
    (record,) = caplog.records
    assert record.getMessage().startswith("4 of 47 examples are unusable: empty.png (the file is empty (0 bytes))")
    assert record.getMessage().endswith("and 1 more")


def test_references_are_other_images_of_the_same_person():
    eyes = Labelled(18, broken=[5])  # People of 4, 3 (one broken), 4, 4 and 2 images.
    source = to_person_source(eyes, references=3, **SIZE, fields=("mask", "subject"), reference_masks=True)
    batch = jax.tree.map(np.asarray, draw(source, 400, 2))
    assert batch["references"].shape == (400, 2, 3, 4, 6, 1)
    assert batch["reference_masks"].shape == (400, 2, 3, 4, 6)
    target, others = batch["image"][..., 0, 0, 0], batch["references"][..., 0, 0, 0]
    np.testing.assert_array_equal(batch["reference_masks"][..., 0, 0], others % 4)
    np.testing.assert_array_equal(others // 4, (target // 4)[..., None].repeat(3, -1))
    assert not (others == target[..., None]).any()
    for row, image in zip(others.reshape(-1, 3), target.reshape(-1), strict=True):
        usable = {0: 3, 1: 2, 2: 3, 3: 3, 4: 1}[image // 4]
        assert len(set(row)) == min(3, usable)
    assert set(target.reshape(-1)) == set(range(18)) - {5}
    # Every ordered pair of a person of four comes up.
    pairs = {(t, o) for t, row in zip(target.reshape(-1), others.reshape(-1, 3), strict=True) for o in row}
    assert {(t, o) for t in range(4) for o in range(4) if t != o} <= pairs


def test_people_with_one_image_are_left_out(caplog):
    with caplog.at_level(logging.WARNING):
        source = to_person_source(Labelled(9), references=1, **SIZE)
    assert source.size == 8
    assert "1 of 9 images have no second image of their person" in caplog.text
    with pytest.raises(UserError, match="at least two images each, found 3 with one each"):
        to_person_source(Labelled(3, group=1), references=1, **SIZE)
    torn = Labelled(4, broken=[1, 2, 3])
    torn.subjects = ["p0"] * 4
    with pytest.raises(UserError, match="at least two usable images each"):
        to_person_source(torn, references=1, **SIZE)
    with pytest.raises(UserError, match=r"data\.references"):
        to_person_source(Labelled(4), references=0, **SIZE)


def test_without_tensorflow_memory_works_and_stream_says_what_to_install():
    program = """
import sys
sys.modules["tensorflow"] = None
import numpy as np
from eyegan_jax.data.pipeline import to_source
from eyegan_jax.errors import UserError

class Eyes:
    names = ["a"]
    def __len__(self): return 1
    def __getitem__(self, index): return {"name": "a", "image": np.zeros((4, 4, 1), np.uint8)}

assert to_source(Eyes(), height=4, width=4).size == 1
source = to_source(Eyes(), height=4, width=4, backend="stream")
try:
    next(source.batches(0, range(2), 2, 1))
except UserError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert "pip install tensorflow" in result.stdout, result.stderr
