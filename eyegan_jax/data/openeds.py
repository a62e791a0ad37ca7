"""OpenEDS 2019 (folders, and the HDF5 file that Seg2Eye's authors prepare from them) and OpenEDS 2020.

Gray eyes, 640 high and 400 wide in 2019, 400 high and 640 wide in 2020, with class ids 0 background, 1
sclera, 2 iris, 3 pupil as ours. Sets of other sizes with the same layout are welcome. Gaze vectors of 2020
are not read: the frame that they are in is not documented.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eyegan_jax.data.decode import checked_ids, decode_image, decode_mask
from eyegan_jax.data.examples import BadExample, Example
from eyegan_jax.data.folder import empty_folder, existing_folder, image_names
from eyegan_jax.data.hdf5 import malformed, open_h5, read_gray
from eyegan_jax.errors import UserError

SPLITS = ("train", "validation", "test")
PARTS = {
    "segmentation": "Semantic_Segmentation_Dataset",
    "generative": "Generative_Dataset",
    "sequence": "Sequence_Dataset",
}
# The published key lacks a "t"; corrected copies exist.
MAPPING_KEYS = {
    "segmentation": ("semantic_segmenation_images", "semantic_segmentation_images"),
    "generative": ("generative_images",),
    "sequence": ("sequence_images",),
}
H5_PARTS = {"segmentation": "images_ss", "generative": "images_gen", "sequence": "images_seq"}


class OpenEDSSet:
    """OpenEDS 2019 as published; images of ``segmentation`` come with masks where the split has labels.

    Subjects are those of ``OpenEDS_{split}_userID_mapping_to_images.json``, where it lies in ``folder``.

    Raises UserError for an unknown part or split, a missing or empty folder, or an unreadable mapping.
    Indexing raises BadExample.
    """

    def __init__(self, folder: str | Path, *, part: str = "segmentation", split: str = "train"):
        _check("part", part, PARTS)
        _check("split", split, SPLITS)
        self.folder = existing_folder(folder)
        root = existing_folder(self.folder / PARTS[part] / split)
        images = root / "images" if (root / "images").is_dir() else root
        self._labels = root / "labels"
        self._names = image_names(images, self.folder)
        if not self._names:
            raise empty_folder(images, "PNG images")
        self._users = _users(self.folder / f"OpenEDS_{split}_userID_mapping_to_images.json", part)

    @property
    def names(self) -> list[str]:
        return self._names

    @property
    def subjects(self) -> list[str | None]:
        return [self._users.get(_stem(name)) for name in self._names]

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Example:
        name = self._names[index]
        example = Example(name=name, image=decode_image(self.folder / name, name, channels=1))
        label = self._labels / f"{Path(name).stem}.npy"
        if self._labels.is_dir():
            _add_mask(example, label)
        if (user := self._users.get(_stem(name))) is not None:
            example["subject"] = user
        return example


class OpenEDS2020Set:
    """OpenEDS 2020: ``participant/S_N/K.png`` with sparse ``label_K.npy``, or ``split/sequences/ID/K.png``.

    Subjects are the participants, or the sequences (of which one person may have several).

    labelled: True keeps only images that have a mask.

    Raises UserError for a missing or empty folder. Indexing raises BadExample.
    """

    def __init__(self, folder: str | Path, *, labelled: bool = False):
        self.folder = existing_folder(folder)
        names = image_names(self.folder, self.folder)
        self._names = [name for name in names if not labelled or self._label(name).is_file()]
        if not self._names:
            raise empty_folder(self.folder, f"{'labelled ' if labelled else ''}images as participant/S_N/K.png")

    @property
    def names(self) -> list[str]:
        return self._names

    @property
    def subjects(self) -> list[str | None]:
        return [Path(name).parent.name or None for name in self._names]

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Example:
        name = self._names[index]
        example = Example(name=name, image=decode_image(self.folder / name, name, channels=1))
        if self._label(name).is_file():
            _add_mask(example, self._label(name))
        if subject := Path(name).parent.name:
            example["subject"] = subject
        return example

    def _label(self, name: str) -> Path:
        path = self.folder / name
        return path.with_name(f"label_{path.stem}.npy")


class OpenEDSH5Set:
    """``/{split}/{user}/images_ss|images_gen|images_seq`` and ``labels_ss``, uint8 ``[N, H, W]`` each.

    folder: the HDF5 file. Raises UserError for a missing or malformed file. Indexing raises BadExample.
    """

    def __init__(self, folder: str | Path, *, part: str = "segmentation", split: str = "train"):
        _check("part", part, H5_PARTS)
        _check("split", split, SPLITS)
        self._path = Path(folder).expanduser()
        self._key = H5_PARTS[part]
        file = open_h5(self._path)
        with malformed(self._path):
            users = file.get(split)
            if not hasattr(users, "keys"):
                raise UserError(f"{self._path}: expected a group {split!r}, found {', '.join(file) or 'nothing'}")
            self._users = {user: users[user] for user in sorted(users) if hasattr(users[user], "keys")}
            self._rows = [
                (user, i)
                for user, group in self._users.items()
                if len(getattr(group.get(self._key), "shape", ())) >= 3
                for i in range(group[self._key].shape[0])
            ]
        if not self._rows:
            raise UserError(f"{self._path}: expected images under /{split}/<user>/{self._key}, found none")

    @property
    def names(self) -> list[str]:
        return [f"{user}/{self._key}/{i:05d}" for user, i in self._rows]

    @property
    def subjects(self) -> list[str | None]:
        return [user for user, _ in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        user, i = self._rows[index]
        name = f"{user}/{self._key}/{i:05d}"
        group = self._users[user]
        example = Example(name=name, image=read_gray(group, (self._key, i), name), subject=user)
        if self._key == "images_ss" and "labels_ss" in group:
            example["mask"] = checked_ids(read_gray(group, ("labels_ss", i), name)[..., 0], name)
            _check_shape(example)
        return example


def _users(path: Path, part: str) -> dict[str, str]:
    """Image stem -> user id from a mapping file, empty where there is none."""
    if not path.is_file():
        return {}
    try:
        entries: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON, found {' '.join(str(error).split())}") from None
    users: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, Mapping) or "id" not in entry:
            raise UserError(f"{path}: expected a list of objects with an 'id' and lists of images")
        for key in MAPPING_KEYS[part]:
            images = entry.get(key) or []
            if not isinstance(images, list):
                raise UserError(f"{path}: {key} of {entry['id']}: expected a list, found {type(images).__name__}")
            users.update((_stem(str(image)), str(entry["id"])) for image in images)
    return users


def _stem(name: str) -> str:
    """The digits of ``train/images/000000240768.png`` and of mapping entries, which end in a stray dot."""
    return name.rpartition("/")[2].partition(".")[0]


def _add_mask(example: Example, path: Path) -> None:
    try:
        example["mask"] = decode_mask(path)
    except BadExample as bad:
        raise BadExample(example["name"], f"mask {bad.name}: {bad.reason}") from None
    _check_shape(example)


def _check_shape(example: Example) -> None:
    mask, image = example["mask"].shape, example["image"].shape
    if mask != image[:2]:
        found, expected = "x".join(map(str, mask)), "x".join(map(str, image[:2]))
        raise BadExample(example["name"], f"mask is {found} (height x width), its image {expected}")


def _check(option: str, value: str, known: Any) -> None:
    if value not in known:
        raise UserError(f"data.{option}: expected one of {', '.join(known)}, found {value!r}")
