"""Columbia Gaze eye patches, 64x64: ``<id>_2m_<head>P_<V>V_<H>H_<L|R>.jpg``, angles in degrees.

V is positive when the eyes look up and H when they look to the viewer's right, so pitch = V and yaw = -H.
Patches of right eyes are stored mirrored, for which H is negated first.
"""

import re
from pathlib import Path

import numpy as np

from eyegan_jax.data.decode import decode_image
from eyegan_jax.data.examples import BadExample, Example
from eyegan_jax.data.folder import empty_folder, existing_folder, image_names
from eyegan_jax.data.labels import gaze_from_angles

NAME = re.compile(r"(\d+)_\d+m_(-?\d+)P_(-?\d+)V_(-?\d+)H_([LR])")


class ColumbiaSet:
    """Eye patches with gaze, head yaw and subject. A file with another name is a broken example.

    Raises UserError for a missing or empty folder. Indexing raises BadExample.
    """

    def __init__(self, folder: str | Path):
        self.folder = existing_folder(folder)
        self._names = image_names(self.folder, self.folder)
        if not self._names:
            raise empty_folder(self.folder, "images named <id>_2m_<head>P_<V>V_<H>H_<L|R>.jpg")

    @property
    def names(self) -> list[str]:
        return self._names

    @property
    def subjects(self) -> list[str | None]:
        matches = [NAME.fullmatch(Path(name).stem) for name in self._names]
        return [match and match[1] for match in matches]

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Example:
        name = self._names[index]
        match = NAME.fullmatch(Path(name).stem)
        if match is None:
            raise BadExample(name, "expected a name like 0001_2m_0P_10V_-5H_L.jpg")
        head, vertical, horizontal = (np.radians(float(match[i])) for i in (2, 3, 4))
        side = -1.0 if match[5] == "R" else 1.0
        return Example(
            name=name,
            image=decode_image(self.folder / name, name),
            gaze=gaze_from_angles(vertical, -side * horizontal),
            head=np.array([0.0, -side * head], np.float32),
            subject=match[1],
        )
