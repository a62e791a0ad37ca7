"""MEYE: infrared eyes with pupil masks (human part of Zenodo 4488164).

``index.csv`` (filename, subject, blink, has_pupil_mask), ``images/*.jpg`` and ``pupil_masks/*.png``, where red is
pupil.
"""

from pathlib import Path

import numpy as np

from eyegan_jax.data.decode import decode_image
from eyegan_jax.data.examples import BadExample, Example
from eyegan_jax.data.folder import existing_folder
from eyegan_jax.data.labels import read_csv
from eyegan_jax.errors import UserError

COLUMNS = ("filename", "subject", "blink", "has_pupil_mask")
PUPIL = 3


class MeyeSet:
    """Gray eyes with their subject, and masks that know the pupil (id 3) from everything else (id 0).

    An image marked as a blink has an empty mask where none is drawn; one that is neither has no mask.

    blinks: False leaves out images marked as blinks.

    Raises UserError for a missing folder or unusable index. Indexing raises BadExample.
    """

    def __init__(self, folder: str | Path, *, blinks: bool = True):
        self.folder = existing_folder(folder)
        header, rows = read_csv(self.folder / "index.csv")
        if missing := [column for column in COLUMNS if column not in header]:
            raise UserError(f"{self.folder / 'index.csv'}: expected columns {', '.join(COLUMNS)}; {missing} missing")
        kept = [row for row in rows if blinks or row.get("blink") != "1"]
        self._rows = sorted(kept, key=lambda row: row["filename"])
        if not self._rows:
            raise UserError(f"{self.folder / 'index.csv'}: expected rows that name images, found none")

    @property
    def names(self) -> list[str]:
        return [row["filename"] for row in self._rows]

    @property
    def subjects(self) -> list[str | None]:
        return [row.get("subject") or None for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        row = self._rows[index]
        name = row["filename"]
        example = Example(name=name, image=decode_image(self.folder / "images" / name, name, channels=1))
        if subject := row.get("subject"):
            example["subject"] = subject
        if row.get("has_pupil_mask") == "1":
            example["mask"] = self._pupil(name, example["image"].shape[:2])
        elif row.get("blink") == "1":
            example["mask"] = np.zeros(example["image"].shape[:2], np.uint8)
        return example

    def _pupil(self, name: str, size: tuple[int, ...]) -> np.ndarray:
        path = (self.folder / "pupil_masks" / name).with_suffix(".png")
        try:
            colours = decode_image(path, path.name, channels=3)
        except BadExample as bad:
            raise BadExample(name, f"mask {bad.name}: {bad.reason}") from None
        if colours.shape[:2] != size:
            raise BadExample(name, f"mask is {colours.shape[:2]}, its image {tuple(size)}")
        red, others = colours[..., 0] >= 128, colours[..., 1:].max(axis=-1) < 128
        return np.where(red & others, PUPIL, 0).astype(np.uint8)
