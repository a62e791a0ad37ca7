"""UnityEyes and UnityEyes2 renders with their JSON, and the sets that ``eyegan simulate`` writes.

Axes: ``look_vec`` and UnityEyes2's flat ``gaze_vec`` have y up, so ``g = (x, -y, z)``; its per-camera
``gaze_vector`` is in camera coordinates with y down, as ours. All 2D landmarks count y from the bottom row
up: ``y_image = H - y``.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eyegan_jax.data.decode import decode_image, decode_mask
from eyegan_jax.data.examples import BadExample, Example
from eyegan_jax.data.folder import TABLES, FolderSet, empty_folder, existing_folder, image_names
from eyegan_jax.data.geometry import Box, crop_resize, equalize
from eyegan_jax.data.labels import gaze_from_look_vec, lookup, numbers, read_json, unit
from eyegan_jax.data.pipeline import in_channels
from eyegan_jax.errors import UserError

LANDMARKS = {"interior_margin_2d": 16, "caruncle_2d": 7, "iris_2d": 32}
"""JSON key -> number of points. ``Example["landmarks"]`` holds them in this order, ``[55, 2]``."""

MARGIN, CARUNCLE, IRIS = slice(0, 16), slice(16, 23), slice(23, 55)
OUTER_CORNER = 8
"""Index of the margin point opposite the caruncle."""

CROPS = ("auto", "gazeml", "window", "none")
WINDOW = (84, 140)
"""Height and width of carpedm20's window, for 640x480 renders with camera parameters [0, 0, 20, 40]."""


class UnityEyesSet:
    """Renders below ``folder`` (``imgs/N.jpg`` + ``imgs/N.json``, or UnityEyes2's ``N_camera.jpg`` +
    ``N.json``).

    A folder without JSON but with a ``labels.csv`` of look vectors is read as a plain folder.

    crop: ``gazeml``, a window around the lid margin, 1.5 times as wide as the distance of caruncle and outer
        corner, as the normalised crops of MPIIGaze; ``window``, carpedm20's 84x140 window around the margin's
        centre; ``none``, the whole render; ``auto``, ``gazeml`` where the JSON has landmarks, else ``none``.
    size: (height, width) of the crop, which keeps this shape; ``none`` leaves images as they are.
    equalize: gray and histogram-equalised, as MPIIGaze's normalised images are.
    max_head_degrees: leaves out renders whose head is turned further in pitch or yaw (GazeML: 20).

    Examples have gaze (unit vector), landmarks (where the JSON has them) and no subject: UnityEyes draws a
    new person for every render. Raises UserError for a missing or empty folder. Indexing raises BadExample.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        crop: str = "auto",
        size: tuple[int, int] = (35, 55),
        equalize: bool = False,
        max_head_degrees: float | None = None,
    ):
        if crop not in CROPS:
            raise UserError(f"data.crop: expected one of {', '.join(CROPS)}, found {crop!r}")
        self.folder = existing_folder(folder)
        self._size = (int(size[0]), int(size[1]))
        self._equalize, self._max_head = equalize, max_head_degrees
        self._table: FolderSet | None = None
        self._entries = _renders(self.folder)
        if not any(json is not None for _, json, _ in self._entries):
            if not self._entries or not any((self.folder / name).is_file() for name in TABLES):
                raise empty_folder(self.folder, "renders with a .json each, or images and a labels.csv")
            self._table = FolderSet(self.folder)
        self._crop = self._crop_for_all(crop)

    @property
    def names(self) -> list[str]:
        return list(self._table.names) if self._table else [name for name, _, _ in self._entries]

    @property
    def subjects(self) -> list[str | None]:
        return [None] * len(self)

    def __len__(self) -> int:
        return len(self._table) if self._table else len(self._entries)

    def __getitem__(self, index: int) -> Example:
        example = self._table[index] if self._table else self._render(*self._entries[index])
        if self._equalize:
            example["image"] = equalize(in_channels(example["image"], 1))
        return example

    def _render(self, name: str, json: str | None, camera: str) -> Example:
        if json is None:
            raise BadExample(name, "has no .json of the same number beside it")
        if name == json:
            raise BadExample(name, "has no image of the same number beside it")
        root = read_json(self.folder / json, name)
        labels = camera_labels(root, camera, name)
        self._refuse_turned_head(labels, name)
        example = Example(name=name, image=decode_image(self.folder / name, name))
        height, width = example["image"].shape[:2]
        example["gaze"] = read_gaze(root, labels, name)
        if "interior_margin_2d" in labels or self._crop != "none":
            example["landmarks"] = read_landmarks(labels, height, name)
        if self._crop == "none":
            return example
        middle = _box_centre(example["landmarks"][MARGIN])
        if not (0 <= middle[0] <= width and 0 <= middle[1] <= height):
            raise BadExample(name, f"the eye's landmarks lie outside the {width}x{height} image, around {middle}")
        return crop_resize(example, crop_box(self._crop, example["landmarks"], self._size, name), *self._size)

    def _refuse_turned_head(self, labels: Mapping[str, Any], name: str) -> None:
        if self._max_head is None:
            return
        pitch, yaw = numbers(lookup(labels, "head_pose", name, "JSON"), 2, "head_pose", name)
        # Camera Euler angles: frontal is (0 or 360, 180).
        turned = max(abs(pitch - 360 if pitch > 180 else pitch), abs(yaw - 180))
        if turned > self._max_head:
            raise BadExample(name, f"head turned by {turned:.0f} degrees, more than {self._max_head:g}")

    def _crop_for_all(self, crop: str) -> str:
        """What ``auto`` means here: decided once, so that one broken JSON does not slip in uncropped."""
        if self._table is not None:
            if crop not in ("auto", "none"):
                raise UserError(f"{self.folder}: data.crop {crop!r} needs landmarks in .json files, found none")
            return "none"
        if crop != "auto":
            return crop
        for name, json, camera in self._entries:
            if json is not None and name != json:
                try:
                    labels = camera_labels(read_json(self.folder / json, name), camera, name)
                except BadExample:
                    continue
                return "gazeml" if "interior_margin_2d" in labels else "none"
        return "none"


class SimulatedSet:
    """What ``eyegan simulate`` wrote: ``images/N.png``, ``masks/N.png`` and ``labels/N.json`` below
    ``folder``.

    Examples have image, mask, gaze, landmarks and subject. Raises UserError for a missing or empty folder.
    Indexing raises BadExample.
    """

    def __init__(self, folder: str | Path):
        self.folder = existing_folder(folder)
        self._names = image_names(self.folder / "images", self.folder)
        if not self._names:
            raise empty_folder(self.folder, "images/, masks/ and labels/ as eyegan simulate writes them")

    @property
    def names(self) -> list[str]:
        return self._names

    @functools.cached_property
    def subjects(self) -> list[str | None]:
        return [self._subject(name) for name in self._names]

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Example:
        name = self._names[index]
        example = Example(name=name, image=decode_image(self.folder / name, name))
        labels = self._labels(name)
        mask = (self.folder / "masks" / Path(name).relative_to("images")).with_suffix(".png")
        example["mask"] = decode_mask(mask, name)
        if example["mask"].shape != example["image"].shape[:2]:
            raise BadExample(name, f"mask is {example['mask'].shape}, its image {example['image'].shape[:2]}")
        example["gaze"] = read_gaze(labels, labels, name)
        example["landmarks"] = read_landmarks(labels, example["image"].shape[0], name)
        example["subject"] = str(lookup(labels, "subject", name, "JSON"))
        return example

    def _labels(self, name: str) -> dict[str, Any]:
        relative = Path(name).relative_to("images")
        return read_json((self.folder / "labels" / relative).with_suffix(".json"), name)

    def _subject(self, name: str) -> str | None:
        try:
            return str(lookup(self._labels(name), "subject", name, "JSON"))
        except BadExample:
            return None


def camera_labels(root: Mapping[str, Any], camera: str, name: str) -> Mapping[str, Any]:
    """The part of a JSON about the view of ``camera`` (the name after ``N_``, or "" for ``N.jpg``)."""
    cameras = root.get("cameras")
    if cameras is None and not camera:
        return root
    if not isinstance(cameras, Mapping) or not cameras:
        raise BadExample(name, f"JSON: expected the camera {camera!r} under 'cameras', found none")
    key = camera or (next(iter(cameras)) if len(cameras) == 1 else "")
    if not isinstance(cameras.get(key), Mapping):
        raise BadExample(name, f"JSON: no camera {key!r} under 'cameras', which has {', '.join(cameras)}")
    return cameras[key]


def read_gaze(root: Mapping[str, Any], labels: Mapping[str, Any], name: str) -> np.ndarray:
    """Unit gaze vector ``[3]`` in our convention from whichever key the file has. Raises BadExample."""
    truth = labels.get("ground_truth")
    truth = truth if isinstance(truth, Mapping) else {}
    details = root.get("eye_details")
    details = details if isinstance(details, Mapping) else {}
    if "gaze_vector" in truth:
        return unit(numbers(truth["gaze_vector"], 3, "gaze_vector", name), "gaze_vector", name)
    if "gaze_vec" in truth:
        return gaze_from_look_vec(numbers(truth["gaze_vec"], 3, "gaze_vec", name), "gaze_vec", name)
    if "look_vec" in details:
        return gaze_from_look_vec(numbers(details["look_vec"], 3, "look_vec", name), "look_vec", name)
    raise BadExample(name, "JSON: no eye_details/look_vec, ground_truth/gaze_vector or ground_truth/gaze_vec")


def read_landmarks(labels: Mapping[str, Any], height: int, name: str) -> np.ndarray:
    """float32 ``[55, 2]``: lid margin, caruncle and iris in image pixels, from y-up coordinates."""
    points = []
    for key, count in LANDMARKS.items():
        found = lookup(labels, key, name, "JSON")
        if not isinstance(found, list) or len(found) != count:
            size = len(found) if isinstance(found, list) else type(found).__name__
            raise BadExample(name, f"JSON: {key}: expected {count} points, found {size}")
        points += [numbers(point, 2, f"{key}[{i}]", name) for i, point in enumerate(found)]
    x, y = np.array(points).T
    return np.stack([x, height - y], axis=-1).astype(np.float32)


def crop_box(crop: str, landmarks: np.ndarray, size: tuple[int, int], name: str) -> Box:
    """The window of ``crop`` (``gazeml`` or ``window``) around the eye that ``landmarks [55, 2]`` outline.

    GazeML: width 1.5 |mean caruncle x - outer corner x|, height to match ``size``, centred on the box around
    the lid margin. The window may reach beyond the image.
    """
    height, width = map(float, WINDOW)
    if crop == "gazeml":
        inner, outer = landmarks[CARUNCLE, 0].mean(), landmarks[MARGIN][OUTER_CORNER, 0]
        width = 1.5 * abs(float(inner - outer))
        if width < 2:
            raise BadExample(name, f"the eye's corners are {width / 1.5:.2f} pixels apart, too close to crop")
        height = width * size[0] / size[1]
    x, y = _box_centre(landmarks[MARGIN])
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _box_centre(points: np.ndarray) -> tuple[float, float]:
    """Centre of the bounding box in edge coordinates."""
    x, y = (points.min(axis=0) + points.max(axis=0)) / 2 + 0.5
    return float(x), float(y)


def _renders(folder: Path) -> list[tuple[str, str | None, str]]:
    """(name, JSON file, camera) of every render and every JSON without one; paths relative to ``folder``."""
    jsons = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.json")}
    entries, used = [], set()
    for name in image_names(folder, folder):
        stem = Path(name).with_suffix("").as_posix()
        if stem.endswith("_cropped"):
            continue  # What carpedm20's preparation leaves beside the renders.
        found, camera = stem, ""
        while found not in jsons and "_" in found.rpartition("/")[2]:
            found, _, last = found.rpartition("_")
            camera = f"{last}_{camera}" if camera else last
        used.add(found)
        entries.append((name, f"{found}.json", camera) if found in jsons else (name, None, ""))
    entries += [(f"{stem}.json", f"{stem}.json", "") for stem in jsons - used]
    return sorted(entries)
