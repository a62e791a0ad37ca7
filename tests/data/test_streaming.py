"""tf.data streams and TFDS sets. One file, because importing TensorFlow takes seconds."""

import itertools
import logging
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eyegan_jax.data.catalog import open_set
from eyegan_jax.data.examples import BadExample
from eyegan_jax.data.people import to_person_source
from eyegan_jax.data.pipeline import to_source
from eyegan_jax.data.sets import ConcatSet
from eyegan_jax.data.stream import epoch_order, permutation
from eyegan_jax.errors import UserError

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

SIZE = {"height": 4, "width": 6}


class Numbered:
    """Images filled with their index; ``broken`` ones raise; person = index // 4."""

    def __init__(self, count, broken=(), failing=()):
        self.names = [f"{i:03d}" for i in range(count)]
        self._broken, self._failing = set(broken), set(failing)

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        if index in self._broken:
            raise BadExample(self.names[index], "torn")
        if index in self._failing:
            raise RuntimeError("a defect of the program")
        noise = np.random.default_rng(index).integers(0, 256, (9, 13, 1), np.uint8)
        noise[0] = index
        return {"name": self.names[index], "image": noise, "subject": f"p{index // 4}"}


def taken(source, start, steps, positions=range(4), global_batch=4, samples=2):
    batches = source.batches(start, positions, global_batch, samples)
    return list(itertools.islice(batches, steps))


def indices(batches):
    """Which examples were drawn, told by the image's first row."""
    return np.concatenate([batch["image"][..., 0, 0, 0].reshape(-1) for batch in batches])


def test_an_epoch_shows_every_image_once_and_as_memory_does():
    eyes = Numbered(20)
    resident = to_source(eyes, **SIZE, fields=("subject",)).resident
    source = to_source(eyes, **SIZE, fields=("subject",), backend="stream")
    batches = taken(source, 0, 5)  # 5 steps of 4 positions and 2 samples: two epochs of 20
    images = np.concatenate([batch["image"].reshape(-1, 4, 6, 1) for batch in batches])
    people = np.concatenate([batch["subject"].reshape(-1) for batch in batches])
    for epoch in (images[:20], images[20:]):
        order = [int(np.flatnonzero((resident["image"] == image).all((1, 2, 3)))[0]) for image in epoch]
        assert sorted(order) == list(range(20))
        np.testing.assert_array_equal(resident["image"][order], epoch)
    assert not np.array_equal(images[:20], images[20:])
    assert batches[0]["subject"].dtype == np.int32
    assert batches[0]["subject"].shape == (4, 2)
    np.testing.assert_array_equal(np.bincount(people), [8] * 5)


def test_resume_is_bit_identical_and_seeds_differ():
    source = to_source(Numbered(23), **SIZE, backend="stream", seed=3)
    straight = taken(source, 0, 9)
    resumed = taken(to_source(Numbered(23), **SIZE, backend="stream", seed=3), 5, 4)
    for one, other in zip(straight[5:], resumed, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
    other_seed = taken(to_source(Numbered(23), **SIZE, backend="stream", seed=4), 0, 3)
    assert any((a["image"] != b["image"]).any() for a, b in zip(straight, other_seed, strict=False))


def test_processes_read_disjoint_positions_of_the_same_global_batch():
    source = to_source(Numbered(24), **SIZE, backend="stream")
    whole = taken(source, 2, 3)
    parts = [taken(source, 2, 3, positions=part) for part in (range(1), range(1, 4))]
    for step in range(3):
        joined = np.concatenate([part[step]["image"] for part in parts])
        np.testing.assert_array_equal(joined, whole[step]["image"])


def test_broken_images_give_way_to_the_next_counted_and_named(caplog):
    broken = {3, 4, 19}
    with caplog.at_level(logging.WARNING):
        source = to_source(Numbered(20, broken), **SIZE, backend="stream")
        batches = taken(source, 0, 5)
    drawn = np.bincount(indices_by_content(batches), minlength=20)
    expected = np.full(20, 2)
    expected[list(broken)] = 0
    expected[5] += 4
    expected[0] += 2
    np.testing.assert_array_equal(drawn, expected)
    assert "1 of 20 examples are unusable" in caplog.text
    again = taken(to_source(Numbered(20, broken), **SIZE, backend="stream"), 3, 2)
    for one, other in zip(batches[3:], again, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])


def indices_by_content(batches):
    known = to_source(Numbered(20), **SIZE).resident["image"]
    images = np.concatenate([batch["image"].reshape(-1, 4, 6, 1) for batch in batches])
    return [int(np.flatnonzero((known == image).all((1, 2, 3)))[0]) for image in images]


def test_ten_thousand_files_small(tmp_path, caplog):
    """A tree of nested folders with one percent of damage, streamed for an epoch."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 6, 8), np.uint8)
    for i, image in enumerate(pixels):
        path = tmp_path / f"{i % 7}" / f"{i:05d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
        if i % 100 == 17:
            path.write_bytes(path.read_bytes()[: 20 * (i // 100)])
    with caplog.at_level(logging.WARNING):
        source = to_source(open_set({"kind": "folder", "dir": tmp_path}), height=6, width=8, backend="stream")
        seen = np.concatenate([batch["image"].reshape(-1, 6, 8) for batch in taken(source, 0, 30, range(5), 5)])
    good = np.delete(pixels, [17, 117, 217], axis=0)
    assert {image.tobytes() for image in seen} == {image.tobytes() for image in good}
    assert "1 of 300 examples are unusable" in caplog.text


def test_nothing_usable_and_defects_reach_the_caller_as_they_are():
    with pytest.raises(UserError, match="none of the 5 examples is usable"):
        to_source(Numbered(5, range(5)), **SIZE, backend="stream")
    with pytest.raises(RuntimeError, match="a defect of the program"):
        taken(to_source(Numbered(8, failing=[6]), **SIZE, backend="stream"), 0, 9)


def test_abandoned_streams_do_not_hang():
    """Closed, forgotten and left over at exit, each with work under way in TensorFlow's threads."""
    program = """
import time
import numpy as np
from eyegan_jax.data.stream import host_source

def produce(number):
    time.sleep(0.002)
    return {"number": np.array(number + 0 * sum(range(20000)))}

source = host_source(produce, {"number": np.array(0)}, 10)
left_over = []
for end in ("closed", "forgotten", "left over") * 4:
    batches = source.batches(1, range(40), 40, 1)
    assert next(batches)["number"][3, 0] == 43
    if end == "closed":
        batches.close()
    elif end == "left over":
        left_over.append(batches)
    del batches
print("all ended")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert (result.stdout, result.returncode) == ("all ended\n", 0), result.stderr


@given(st.integers(1, 300), st.integers(0, 2**32), st.integers(0, 50))
def test_orders_are_permutations(size, seed, epoch):
    np.testing.assert_array_equal(np.sort(permutation(seed, epoch, size)), np.arange(size))
    order = epoch_order(size, seed)
    assert [order(epoch * size + i) for i in range(size)] == permutation(seed, epoch, size).tolist()


def test_the_documented_order_of_a_seed():
    """Golden: resuming a run must find its order again on any machine and NumPy version."""
    assert permutation(0, 0, 8).tolist() == GOLDEN[0]
    assert permutation(7, 3, 8).tolist() == GOLDEN[1]


GOLDEN = ([0, 2, 1, 5, 4, 3, 6, 7], [2, 5, 7, 3, 0, 6, 4, 1])


def test_people_with_references_stream_too():
    eyes = Numbered(18, broken=[5, 17])  # The last person is left with one image.
    source = to_person_source(eyes, references=3, **SIZE, fields=("subject",), backend="stream")
    batches = taken(source, 0, 12)
    straight = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    known = to_source(Numbered(18), **SIZE).resident["image"]

    def which(images):
        flat = images.reshape(-1, 4, 6, 1)
        found = [int(np.flatnonzero((known == image).all((1, 2, 3)))[0]) for image in flat]
        return np.array(found).reshape(images.shape[:-3])

    target, others = which(straight["image"]), which(straight["references"])
    assert others.shape == (48, 2, 3)
    np.testing.assert_array_equal(others // 4, (target // 4)[..., None].repeat(3, -1))
    assert not (others == target[..., None]).any()
    assert set(target.reshape(-1)) == set(range(16)) - {5}
    for resumed, batch in zip(taken(source, 7, 2), batches[7:9], strict=True):
        np.testing.assert_array_equal(resumed["references"], batch["references"])


def write_folder(tmp_path):
    for i in range(5):
        Image.fromarray(np.full((4 + i, 6), 10 * i, np.uint8)).save(tmp_path / f"ann_{i}.png")
    (tmp_path / "ann_2.png").write_bytes(b"")
    rows = "\n".join(f"ann_{i}.png,{i},0" for i in range(5))
    (tmp_path / "labels.csv").write_text(f"filename,pitch,yaw\n{rows}\n")


def test_tfds_folder_there_and_back(tmp_path, caplog):
    builders = pytest.importorskip("eyegan_jax.data.tfds_builders")
    source = tmp_path / "raw"
    source.mkdir()
    write_folder(source)
    config = builders.EyesConfig(name="ann", fields=("gaze", "subject"), options={"subject": "prefix"})
    with caplog.at_level(logging.WARNING):
        folder = builders.prepare("folder", source, tmp_path / "tfds", config)
    assert "1 of 5 examples are unusable: ann_2.png" in caplog.text
    back = open_set({"kind": "tfds", "dir": folder})
    raw = open_set({"kind": "folder", "dir": source, "subject": "prefix"})
    assert back.names == ["ann_0.png", "ann_1.png", "ann_3.png", "ann_4.png"]
    assert back.subjects == ["ann"] * 4
    for i, name in enumerate(back.names):
        expected = raw[raw.names.index(name)]
        for field, value in back[i].items():
            np.testing.assert_array_equal(value, expected[field])
    assert to_source(back, **SIZE, fields=("gaze",)).size == 4
    assert len(ConcatSet([back, raw])) == 9
    with pytest.raises(UserError, match="has train, not 'test'"):
        open_set({"kind": "tfds", "dir": folder, "split": "test"})
    with pytest.raises(UserError, match="kind: expected one of"):
        builders.prepare("folders", source, tmp_path / "tfds")


def test_tfds_openeds_has_splits_and_masks(tmp_path):
    builders = pytest.importorskip("eyegan_jax.data.tfds_builders")
    source = tmp_path / "raw"
    for split, stems in (("train", ["1", "2"]), ("validation", ["3"])):
        folder = source / "Semantic_Segmentation_Dataset" / split
        for stem in stems:
            for part in ("images", "labels"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 5), 7, np.uint8)).save(folder / "images" / f"{stem}.png")
            np.save(folder / "labels" / f"{stem}.npy", np.full((8, 5), int(stem), np.uint8))
        text = '[{"id": "U1", "semantic_segmenation_images": ["1.", "2.", "3."]}]'
        (source / f"OpenEDS_{split}_userID_mapping_to_images.json").write_text(text)
    folder = builders.prepare("openeds", source, tmp_path / "tfds")
    train = open_set({"kind": "tfds", "dir": folder})
    assert len(train) == 2
    assert train.subjects == ["U1", "U1"]
    np.testing.assert_array_equal(train[1]["mask"], np.full((8, 5), 2))
    assert train[1]["image"].shape == (8, 5, 1)
    assert len(open_set({"kind": "tfds", "dir": folder, "split": "validation"})) == 1
