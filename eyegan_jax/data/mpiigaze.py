"""MPIIGaze's normalised eyes: ``Data/Normalized/pXX/dayYY.mat``.

Vectors are in our camera frame already. Right eyes are mirrored (image, gaze x, head yaw), so that all eyes
look like left ones; ``pose`` is the head's rotation vector, whose third axis points from the face into the
head.
"""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eyegan_jax.data.examples import BadExample, Example
from eyegan_jax.data.folder import empty_folder, existing_folder
from eyegan_jax.data.geometry import mirror
from eyegan_jax.data.labels import angles_from_gaze, unit
from eyegan_jax.errors import UserError

SUBSETS = ("all", "evaluation")
EVALUATION_LISTS = Path("Evaluation Subset") / "sample list for eye image"
SIDES = ("left", "right")


class Row(NamedTuple):
    """One eye: which row of which file; ``problem`` says why there is none."""

    name: str
    file: Path
    side: str = ""
    row: int = 0
    problem: str = ""


class MPIIGazeSet:
    """Eyes ``[36, 60, 1]`` with gaze, head and subject (``p00`` ...), named ``p00/day01/0001.jpg/left``.

    folder: the data set's folder, or its ``Data/Normalized``.
    subset: ``all``, or ``evaluation`` for the published lists of 3,000 eyes per person.
    mirror_right: False leaves right eyes as they were photographed.

    Raises UserError for a missing or empty folder. Indexing raises BadExample.
    """

    def __init__(self, folder: str | Path, *, subset: str = "all", mirror_right: bool = True):
        if subset not in SUBSETS:
            raise UserError(f"data.subset: expected one of {', '.join(SUBSETS)}, found {subset!r}")
        self.folder = existing_folder(folder)
        self._mirror = mirror_right
        normalized = self.folder / "Data" / "Normalized"
        self._root = normalized if normalized.is_dir() else self.folder
        files = sorted(self._root.glob("p*/*.mat"))
        if not files:
            raise empty_folder(self._root, "pXX/dayYY.mat files")
        rows = [row for file in files for row in _rows_of(file)]
        self._rows = rows if subset == "all" else self._evaluation(rows)
        # Random access touches many files; each holds a few megabytes.
        self._load = functools.lru_cache(maxsize=64)(_load_day)

    @property
    def names(self) -> list[str]:
        return [row.name for row in self._rows]

    @property
    def subjects(self) -> list[str | None]:
        return [row.file.parent.name for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        row = self._rows[index]
        if row.problem:
            raise BadExample(row.name, row.problem)
        day = self._load(row.file)
        if isinstance(day, str):
            raise BadExample(row.name, day)
        images, gazes, poses = day[row.side]
        if row.row >= len(images):
            raise BadExample(row.name, f"{row.file.name}: {row.side} holds {len(images)} eyes, no row {row.row}")
        example = Example(
            name=row.name,
            image=np.ascontiguousarray(images[row.row][..., None]),
            gaze=unit(gazes[row.row], "gaze", row.name),
            head=_head_angles(poses[row.row]),
            subject=row.file.parent.name,
        )
        return mirror(example) if row.side == "right" and self._mirror else example

    def _evaluation(self, rows: list[Row]) -> list[Row]:
        lists = self._list_folder()
        known = {row.name: row for row in rows}
        chosen = []
        for file in sorted(lists.glob("*.txt")):
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                if not line.strip():
                    continue
                path, _, side = line.strip().rpartition(" ")
                name = f"{file.stem}/{path.strip()}/{side}"
                chosen.append(known.get(name) or Row(name, self._root / file.stem / "-", problem=_unlisted(file)))
        if not chosen:
            raise empty_folder(lists, "pXX.txt lists of the evaluation subset")
        return chosen

    def _list_folder(self) -> Path:
        for root in (self.folder, *self.folder.parents[:2]):
            if (root / EVALUATION_LISTS).is_dir():
                return root / EVALUATION_LISTS
        raise UserError(f"{self.folder / EVALUATION_LISTS}: expected the evaluation subset's lists, found nothing")


def _unlisted(file: Path) -> str:
    return f"listed in {file.name}, but not in the .mat files"


def _rows_of(file: Path) -> list[Row]:
    """The eyes of a file from its list of file names, without reading its images."""
    day = f"{file.parent.name}/{file.stem}"
    contents = _read_mat(file, ["filenames"])
    if isinstance(contents, str):
        return [Row(f"{day}.mat", file, problem=contents)]
    if "filenames" not in contents:
        return [Row(f"{day}.mat", file, problem="key 'filenames' is missing")]
    frames = [str(name).strip() for name in np.atleast_1d(contents["filenames"]).reshape(-1)]
    return [Row(f"{day}/{frame}/{side}", file, side, i) for i, frame in enumerate(frames) for side in SIDES]


def _read_mat(file: Path, names: list[str]) -> dict[str, Any] | str:
    """The named variables, or in one line why they cannot be had."""
    import scipy.io

    try:
        return scipy.io.loadmat(file, struct_as_record=False, squeeze_me=True, variable_names=names)
    except Exception as error:  # SciPy's parser raises whatever the bytes make it trip over.
        return f"not a readable MATLAB file: {' '.join(str(error).split()) or type(error).__name__}"


def _load_day(file: Path) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] | str:
    """Per side image ``[N, H, W]``, gaze ``[N, 3]`` and pose ``[N, 3]``, or why the file cannot be used."""
    contents = _read_mat(file, ["data"])
    if isinstance(contents, str):
        return contents
    sides = {}
    for side in SIDES:
        eye = getattr(contents.get("data"), side, None)
        arrays = []
        for key, axes in (("image", 3), ("gaze", 2), ("pose", 2)):
            array = getattr(eye, key, None)
            where = f"{file.name}: data.{side}.{key}"
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
                return f"{where}: expected numbers, found {type(array).__name__}"
            # squeeze_me drops the first axis of a day with one photograph.
            array = array[None] if array.ndim == axes - 1 else array
            if array.ndim != axes or (axes == 2 and array.shape[1] != 3):
                return f"{where}: unexpected shape {list(array.shape)}"
            arrays.append(array)
        image, gaze, pose = arrays
        if image.dtype != np.uint8:
            return f"{file.name}: data.{side}.image: expected uint8, found {image.dtype}"
        if not len(image) == len(gaze) == len(pose):
            return f"{file.name}: data.{side}: {len(image)} images, {len(gaze)} gazes, {len(pose)} poses"
        sides[side] = (image, gaze.astype(np.float64), pose.astype(np.float64))
    return sides


def _head_angles(rotation_vector: np.ndarray) -> np.ndarray:
    """(pitch, yaw) of where the face points, from its rotation vector; frontal is (0, 0)."""
    from scipy.spatial.transform import Rotation

    return angles_from_gaze(-Rotation.from_rotvec(rotation_vector).as_matrix()[:, 2])
