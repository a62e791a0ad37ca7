"""The HDF5 pair of Kaggle's 4quant/eye-gaze: ``gaze.h5`` (UnityEyes crops, labelled) and ``real_gaze.h5``.

Group ``image`` holds one ``[35, 55]`` uint8 data set per key; ``look_vec`` (x right, y up) and ``path`` are
listed by position, while keys come in name order: labels are matched through ``path``, never by counting.
"""

from pathlib import Path

import numpy as np

from eyegan_jax.data.examples import BadExample, Example
from eyegan_jax.data.folder import existing_folder
from eyegan_jax.data.hdf5 import malformed, open_h5, read_gray
from eyegan_jax.data.labels import gaze_from_look_vec
from eyegan_jax.errors import UserError

PARTS = {"synthetic": "gaze.h5", "real": "real_gaze.h5"}


class KaggleSet:
    """Gray eyes ``[35, 55, 1]``, with gaze for the synthetic part.

    folder: the folder with both files, or one of the files.
    part: ``synthetic`` (labels required) or ``real`` (labels taken where there are any); for a file given
        directly, told by its name.

    Raises UserError for a missing or malformed file. Indexing raises BadExample.
    """

    def __init__(self, folder: str | Path, *, part: str | None = None):
        path = Path(folder).expanduser()
        if part is not None and part not in PARTS:
            raise UserError(f"data.part: expected one of {', '.join(PARTS)}, found {part!r}")
        if not path.is_file():
            path = existing_folder(path) / PARTS[part or "synthetic"]
        elif part is None:
            part = "real" if path.name.startswith("real") else "synthetic"
        self._path = path
        self._file = open_h5(path)
        with malformed(path):
            self._images = self._file.get("image")
            if not hasattr(self._images, "keys") or not len(self._images):
                raise UserError(f"{path}: expected a group 'image' with one data set per eye, found none")
            self._keys = sorted(self._images.keys())
            self._look = self._labels(required=part != "real")

    @property
    def names(self) -> list[str]:
        return self._keys

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def subjects(self) -> list[str | None]:
        return [None] * len(self)

    def __getitem__(self, index: int) -> Example:
        name = self._keys[index]
        example = Example(name=name, image=read_gray(self._images, (name,), name))
        if self._look is not None:
            if (look := self._look.get(_stem(name))) is None:
                raise BadExample(name, f"{self._path.name}: no entry of 'path' names this image")
            example["gaze"] = gaze_from_look_vec(look, "look_vec", name)
        return example

    def _labels(self, required: bool) -> dict[str, np.ndarray] | None:
        if missing := [key for key in ("look_vec", "path") if key not in self._file]:
            if required:
                raise UserError(f"{self._path}: expected data sets 'look_vec' and 'path', {missing[0]!r} is missing")
            return None
        try:
            look, paths = np.asarray(self._file["look_vec"][:], np.float64), self._file["path"][:]
        except (TypeError, ValueError) as error:
            raise UserError(f"{self._path}: expected numbers in look_vec and text in path ({error})") from None
        if look.ndim != 2 or look.shape[1] < 2 or len(look) != len(paths):
            raise UserError(f"{self._path}: expected look_vec [N, 3] and path [N], found {look.shape}, {len(paths)}")
        by_stem: dict[str, np.ndarray] = {}
        for path, vector in zip(paths, look, strict=True):
            stem = _stem(path.decode(errors="replace") if isinstance(path, bytes) else str(path))
            if stem in by_stem:
                raise UserError(f"{self._path}: 'path' names the image {stem!r} twice")
            by_stem[stem] = vector[:3] if look.shape[1] > 2 else _toward_camera(vector)
        return by_stem


def _toward_camera(xy: np.ndarray) -> np.ndarray:
    """The unit vector with these x and y that looks toward the camera."""
    return np.array([*xy, -np.sqrt(max(0.0, 1.0 - float(xy @ xy)))])


def _stem(path: str) -> str:
    """``C:\\imgs\\12.jpg``, ``imgs/12_cropped.png`` and ``12`` are the same picture."""
    last = path.replace("\\", "/").rpartition("/")[2]
    return last.partition(".")[0].removesuffix("_cropped")
