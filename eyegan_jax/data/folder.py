"""Any folder of eye images, nested or flat, of mixed formats and sizes, with optional labels and masks."""

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from eyegan_jax.data.decode import SUFFIXES, decode_image, decode_mask
from eyegan_jax.data.examples import BadExample, Example
from eyegan_jax.data.labels import gaze_from_angles, gaze_from_look_vec, numbers, read_csv, unit
from eyegan_jax.errors import UserError
from eyegan_jax.files import is_hidden

NAME_COLUMNS = ("filename", "file", "name", "image", "path")
SUBJECT_COLUMNS = ("subject", "subject_id", "person", "user")
TABLES = ("labels.csv", "index.csv")
MASK_SUFFIXES = (".png", ".npy", ".bmp", ".tif", ".tiff", ".gif", ".pgm")
GAZE_COLUMNS = {
    "look": ("look_x", "look_y", "look_z"),
    "vector": ("gaze_x", "gaze_y", "gaze_z"),
    "xyz": ("x", "y", "z"),
    "angles": ("pitch", "yaw"),
    "angles_deg": ("pitch_deg", "yaw_deg"),
}


class FolderSet:
    """Images below ``folder`` in the order of their relative paths, which are their names.

    Where there is a sub-folder ``images``, only images in it count, and its sibling ``masks`` (any depth,
    same relative stem, PNG or .npy) holds their masks; ``masks`` is looked for in a plain folder too.

    table: CSV file with labels, by default ``labels.csv`` or ``index.csv`` in the folder. It has a header, a
        name column (one of ``NAME_COLUMNS``: path relative to the folder or to ``images``, or a file name
        that occurs once), and any of: gaze as ``pitch, yaw`` in degrees, as ``gaze_x, gaze_y, gaze_z`` or
        ``x, y, z`` in the camera frame of :mod:`eyegan_jax.gaze`, or as UnityEyes' ``look_x, look_y, look_z``
        (y up); ``head_pitch, head_yaw`` in degrees; a subject (one of ``SUBJECT_COLUMNS``).
    subject: ``column`` (default: the table's, where it has one), ``folder`` (the parent folder's name) or
        ``prefix`` (the file name up to its first ``_``).
    mask_values: maps the values stored in masks to OpenEDS ids, for example ``{255: 3}``.
    exclude: patterns of names to leave out, as in ``("BadFrame*",)``, matched against path and file name.

    Raises UserError for a missing or empty folder or an unusable table. Indexing raises BadExample.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        table: str | None = None,
        subject: str = "column",
        mask_values: Mapping[int, int] | None = None,
        exclude: Sequence[str] = (),
    ):
        if subject not in ("column", "folder", "prefix"):
            raise UserError(f"data.subject: expected 'column', 'folder' or 'prefix', found {subject!r}")
        self.folder = existing_folder(folder)
        self._subject = subject
        self._mask_values = None if mask_values is None else {int(k): int(v) for k, v in mask_values.items()}
        self._masks = self.folder / "masks"
        self._images = self.folder / "images" if (self.folder / "images").is_dir() else self.folder
        names = [name for name in image_names(self._images, self.folder) if not name.startswith("masks/")]
        self._table = _find_table(self.folder, table)
        self._rows = {} if self._table is None else self._read_table(self._table, names)
        # Listed but missing files stay in the set, so that they are counted and named like any broken image.
        names = sorted({*names, *self._rows})
        self._names = [name for name in names if not _matches(name, exclude)]
        if not self._names:
            raise empty_folder(self._images, f"images ({' '.join(sorted(SUFFIXES))})")

    @property
    def names(self) -> list[str]:
        return self._names

    @property
    def subjects(self) -> list[str | None]:
        return [self._subject_of(name) for name in self._names]

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Example:
        name = self._names[index]
        path = self.folder / name
        if not path.exists():
            table = self._table.name if self._table else "the table"
            raise BadExample(name, f"listed in {table}, but there is no such file")
        example = Example(image=decode_image(path, name), name=name)
        if (mask := self._mask_path(path)) is not None:
            example["mask"] = decode_mask(mask, name, self._mask_values)
            if example["mask"].shape != example["image"].shape[:2]:
                image, found = example["image"].shape[:2], example["mask"].shape
                raise BadExample(name, f"mask is {found[0]}x{found[1]}, its image {image[0]}x{image[1]}")
        if (row := self._rows.get(name)) is not None:
            self._add_labels(example, row)
        if (subject := self._subject_of(name)) is not None:
            example["subject"] = subject
        return example

    def _subject_of(self, name: str) -> str | None:
        if self._subject == "folder":
            return Path(name).parent.name or None
        if self._subject == "prefix":
            return Path(name).stem.split("_")[0]
        row = self._rows.get(name, {})
        return next((row[column] for column in SUBJECT_COLUMNS if row.get(column)), None)

    def _mask_path(self, image: Path) -> Path | None:
        stem = (self._masks / image.relative_to(self._images)).with_suffix("")
        candidates = (stem.with_name(stem.name + suffix) for suffix in MASK_SUFFIXES)
        return next((path for path in candidates if path.is_file()), None)

    def _read_table(self, path: Path, names: Sequence[str]) -> dict[str, dict[str, str]]:
        header, rows = read_csv(path)
        column = next((column for column in NAME_COLUMNS if column in header), None)
        if column is None:
            expected = ", ".join(NAME_COLUMNS)
            raise UserError(f"{path}: expected a column {expected}, found {', '.join(header) or 'no header'}")
        spellings: dict[str, str | None] = {}
        below = self._images.relative_to(self.folder)
        for name in names:
            for spelling in {Path(name).name, Path(name).relative_to(below).as_posix()}:
                # None marks a file name that occurs in several folders and so names no image.
                spellings[spelling] = None if spelling in spellings else name
        spellings.update((name, name) for name in names)
        known = {}
        for row in rows:
            listed = row.get(column, "")
            meant = spellings.get(listed, listed)
            if meant is None:
                raise UserError(f"{path}: {listed!r} is in several folders; give the path relative to {self.folder}")
            known[meant or "(empty name)"] = row
        return known

    def _add_labels(self, example: Example, row: Mapping[str, str]) -> None:
        name = example["name"]

        def values(columns: Sequence[str]) -> np.ndarray | None:
            if not all(row.get(column) for column in columns):
                return None
            where = f"{self._table.name if self._table else ''} columns {', '.join(columns)}"
            return numbers([row[column] for column in columns], len(columns), where, name)

        for kind, columns in GAZE_COLUMNS.items():
            if (found := values(columns)) is None:
                continue
            if kind == "look":
                example["gaze"] = gaze_from_look_vec(found, "look_x, look_y, look_z", name)
            elif kind.startswith("angles"):
                example["gaze"] = gaze_from_angles(*np.radians(found))
            else:
                example["gaze"] = unit(found, ", ".join(columns), name)
            break
        if (found := values(("head_pitch", "head_yaw"))) is not None:
            example["head"] = np.radians(found).astype(np.float32)


def existing_folder(folder: str | Path) -> Path:
    """The folder as a Path. Raises UserError where there is none."""
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UserError(f"{path}: expected a folder, found {'a file' if path.exists() else 'nothing there'}")
    return path


def image_names(root: Path, base: Path) -> list[str]:
    """Paths relative to ``base`` of the files below ``root`` that are called images, hidden ones aside."""
    found = (path.relative_to(base) for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path.as_posix() for path in found if not is_hidden(path))


def empty_folder(folder: Path, expected: str) -> UserError:
    """The error for a folder that holds nothing of what was expected; says what it does hold."""
    entries = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(entries[:4]) + (f" and {len(entries) - 4} more" if len(entries) > 4 else "")
    return UserError(f"{folder}: expected {expected}, found {shown or 'an empty folder'}")


def _find_table(folder: Path, table: str | None) -> Path | None:
    if table is None:
        return next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if not (folder / table).is_file():
        raise UserError(f"{folder / table}: expected a CSV file with labels, found nothing there")
    return folder / table


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, p) or fnmatch.fnmatch(Path(name).name, p) for p in patterns)
