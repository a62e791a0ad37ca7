"""Parts, concatenations and splits of sets, the catalogue that opens them, and the scan for broken items."""

import ml_collections
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eyegan_jax.data.catalog import KINDS, open_set
from eyegan_jax.data.examples import BadExample, EyeSet
from eyegan_jax.data.sets import ConcatSet, Subset, check_set, of_subjects, split_subjects, subjects_of
from eyegan_jax.errors import UserError


class Listed:
    """A set of one-pixel images whose value is their index; negative counts stand for broken files."""

    def __init__(self, subjects, broken=()):
        self._people, self._broken = list(subjects), set(broken)
        self.names = [f"{i}.png" for i in range(len(self._people))]

    def __len__(self):
        return len(self._people)

    def __getitem__(self, index):
        name = self.names[index]
        if index in self._broken:
            raise BadExample(name, "torn")
        example = {"name": name, "image": np.full((1, 1, 1), index, np.uint8)}
        return example if self._people[index] is None else {**example, "subject": self._people[index]}


def test_concatenation_keeps_people_apart():
    eyes = ConcatSet([Listed(["1", "2"]), Listed(["1", None], broken=[1])], ["a", "b"])
    assert isinstance(eyes, EyeSet)
    assert eyes.names == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
    assert eyes.subjects == ["a/1", "a/2", "b/1", None]
    assert [int(eyes[i]["image"][0, 0, 0]) for i in range(3)] == [0, 1, 0]
    assert eyes[2]["name"] == "b/0.png"
    assert eyes[-2]["subject"] == "b/1"
    with pytest.raises(BadExample, match=r"b/1\.png: torn"):
        eyes[3]
    with pytest.raises(IndexError):
        eyes[4]


def test_subset_and_people():
    eyes = Listed(["x", "y", "x", None], broken=[1])
    part = Subset(eyes, [2, 0])
    assert part.names == ["2.png", "0.png"]
    assert part[0]["image"][0, 0, 0] == 2
    assert subjects_of(eyes) == ["x", None, "x", None]  # The broken one cannot tell.
    assert of_subjects(eyes, ["x"]).names == ["0.png", "2.png"]
    with pytest.raises(UserError, match="no such subject: z; the set has x"):
        of_subjects(eyes, ["z", "x"])


@given(st.lists(st.integers(0, 9), min_size=3, max_size=40), st.integers(0, 5))
def test_splits_share_nobody_and_lose_nobody(people, seed):
    eyes = Listed([f"p{person}" for person in people])
    fractions = [0.6, 0.2, 0.2]
    if len(set(people)) < 3:
        with pytest.raises(UserError, match="at least 3 subjects"):
            split_subjects(eyes, fractions, seed)
        return
    parts = split_subjects(eyes, fractions, seed)
    found = [set(part.subjects) for part in parts]
    assert all(found)
    assert sum(map(len, found)) == len(set.union(*found)) == len(set(people))
    assert sum(map(len, parts)) == len(eyes)
    assert [part.names for part in split_subjects(eyes, fractions, seed)] == [part.names for part in parts]


def test_splits_depend_on_the_seed_and_may_leave_people_out():
    eyes = Listed([f"p{i}" for i in range(20)])
    assert len({tuple(split_subjects(eyes, [0.5], seed)[0].names) for seed in range(5)}) > 1
    assert len(split_subjects(eyes, [0.5])[0]) == 10
    with pytest.raises(ValueError, match="fractions"):
        split_subjects(eyes, [0.9, 0.2])


def test_the_scan_counts_and_names_everything_broken():
    report = check_set(Listed(["a"] * 9, broken=[2, 3, 5, 7]))
    assert [bad.name for bad in report.bad] == ["2.png", "3.png", "5.png", "7.png"]
    assert report.found[0] == {"image": (1, 1, 1), "subject": ()}
    assert report.found[2] is None
    assert report.summary() == ("4 of 9 examples are unusable: 2.png (torn), 3.png (torn), 5.png (torn) and 1 more")


@pytest.fixture
def folder(tmp_path):
    for name in ("ann_1.png", "ann_2.png", "bob_1.png"):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
    return tmp_path


def test_open_set_from_a_locked_config(folder):
    config = ml_collections.ConfigDict({"kind": "folder", "dir": str(folder), "subject": "prefix", "table": None})
    eyes = open_set(config.lock())
    assert eyes.subjects == ["ann", "ann", "bob"]
    assert open_set({**config, "subjects": ["bob"]}).names == ["bob_1.png"]
    both = open_set([config, config])
    assert len(both) == 6
    assert both.names[0] == "0/ann_1.png"


def test_open_set_says_what_it_knows(folder):
    with pytest.raises(UserError, match=r"data\.kind: expected one of columbia, .*did you mean 'folder'"):
        open_set({"kind": "foldr", "dir": folder})
    with pytest.raises(UserError, match=r"data\.subjet: .*did you mean 'subject'"):
        open_set({"kind": "folder", "dir": folder, "subjet": "prefix"})
    with pytest.raises(UserError, match=r"data\.dir: expected"):
        open_set({"kind": "folder"})
    with pytest.raises(UserError, match=r"data\.dir: expected"):
        open_set({"kind": "folder", "dir": ""})
    with pytest.raises(UserError, match="empty list"):
        open_set([])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_refuses_missing_and_empty_folders_in_one_line(kind, tmp_path):
    if kind == "tfds":
        pytest.importorskip("tensorflow_datasets")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "gone", tmp_path / "empty"):
        with pytest.raises(UserError) as caught:
            open_set({"kind": kind, "dir": path})
        assert str(path) in str(caught.value)
        assert "expected" in str(caught.value)
        assert "found" in str(caught.value)
        assert "\n" not in str(caught.value)
