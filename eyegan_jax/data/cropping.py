"""``eyegan crop``: full UnityEyes renders to eye crops of one size, with their labels carried over."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from eyegan_jax.data.examples import BadExample, Example
from eyegan_jax.data.labels import angles_from_gaze
from eyegan_jax.data.sets import summarise_bad
from eyegan_jax.data.unityeyes import UnityEyesSet
from eyegan_jax.errors import UserError
from eyegan_jax.files import write_text

COLUMNS = ("name", "gaze_x", "gaze_y", "gaze_z", "pitch_deg", "yaw_deg", "source")


def crop_folder(source: Path, dest: Path, size: tuple[int, int], *, equalize: bool = False) -> str:
    """Crop every render below ``source`` as GazeML does and write a set that ``kind: folder`` reads with its gaze.

        DEST/images/NAME.png   DEST/labels/NAME.json (gaze, landmarks in pixels of the crop)   DEST/index.csv

    Crops that are there already stay as they are, so that the job can be stopped and started again. Returns the
    summary that a user reads. Raises UserError for a source without renders, and where none of them can be used.
    """
    renders = UnityEyesSet(source, crop="gazeml", size=size, equalize=equalize)
    bad, rows = [], []
    for index, name in enumerate(tqdm(renders.names, unit="img", dynamic_ncols=True)):
        stem = Path(name).with_suffix("").as_posix()
        label_path = dest / "labels" / f"{stem}.json"
        if label_path.exists():
            rows.append(_row(stem, json.loads(label_path.read_text())))
            continue
        try:
            example = renders[index]
        except BadExample as reason:
            bad.append(reason)
            continue
        labels = _labels(example)
        image_path = dest / "images" / f"{stem}.png"
        image_path.parent.mkdir(parents=True, exist_ok=True)
        image = example["image"]
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(image_path)
        # Last: a label says that its image is whole.
        write_text(label_path, json.dumps(labels) + "\n")
        rows.append(_row(stem, labels))
    if not rows:
        raise UserError(f"{source}: expected renders that can be cropped; {summarise_bad(bad, len(renders))}")
    with (dest / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    left_out = f"; left out: {summarise_bad(bad, len(renders))}" if bad else ""
    return f"{len(rows)} crops of {size[0]}x{size[1]} in {dest}{left_out}"


def _labels(example: Example) -> dict[str, Any]:
    gaze = example["gaze"]
    labels: dict[str, Any] = {
        "convention": "x right, y down, z away from the camera; a gaze into the camera is (0, 0, -1)",
        "gaze": [round(float(v), 6) for v in gaze],
        "gaze_pitch_yaw_deg": [round(float(v), 4) for v in np.degrees(angles_from_gaze(gaze))],
        "source": example["name"],
    }
    if "landmarks" in example:
        labels["landmarks"] = np.round(example["landmarks"], 3).tolist()
    return labels


def _row(stem: str, labels: Mapping[str, Any]) -> dict[str, Any]:
    values = [f"images/{stem}.png", *labels["gaze"], *labels["gaze_pitch_yaw_deg"], labels["source"]]
    return dict(zip(COLUMNS, values, strict=True))
