"""Numbers out of JSON and CSV files: parsed, never evaluated, and named in every complaint.

The gaze conversions repeat :mod:`eyegan_jax.gaze` in NumPy: readers run in many host threads, where a device
call per label would cost more than decoding the image.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eyegan_jax.data.examples import BadExample
from eyegan_jax.errors import UserError


def read_json(path: Path, name: str) -> dict[str, Any]:
    """The object that a JSON file holds. Raises BadExample naming ``name``."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise BadExample(name, f"{path.name} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise BadExample(name, f"{path.name} is not JSON: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise BadExample(name, f"{path.name}: expected a JSON object, found {type(value).__name__}")
    return value


def numbers(value: Any, count: int, where: str, name: str) -> np.ndarray:
    """``"(1.0, 2, 3)"``, ``[1.0, 2, 3]`` or ``{"x": 1.0, ...}`` to float64 ``[count]``; further numbers are
    dropped.

    ``where`` is the key (and index) for the message of the BadExample.
    """
    if isinstance(value, str):
        parts: list[Any] = value.strip().strip("()[]").split(",")
    elif isinstance(value, list | tuple):
        parts = list(value)
    elif isinstance(value, Mapping):
        parts = [value[axis] for axis in "xyzw" if axis in value]
    else:
        parts = []
    try:
        found = np.array([_number(part) for part in parts])
    except (TypeError, ValueError, OverflowError):
        found = np.zeros(0)
    if len(found) < count or not np.all(np.isfinite(found[:count])):
        raise BadExample(name, f"{where}: expected {count} finite numbers, found {_short(value)}")
    return found[:count]


def _number(part: Any) -> float:
    if isinstance(part, bool):
        raise TypeError("a truth value is no number")
    return float(part)


def lookup(tree: Mapping[str, Any], path: str, name: str, file: str) -> Any:
    """``lookup(tree, "eye_details/look_vec", ...)``. Raises BadExample naming the missing key."""
    value: Any = tree
    for key in path.split("/"):
        if not isinstance(value, Mapping) or key not in value:
            raise BadExample(name, f"{file}: key {path!r} is missing")
        value = value[key]
    return value


def read_csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names (lower case, stripped) and rows of a comma-separated file with a header line.

    Raises UserError where it is no such text.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [column.strip().lower() for column in next(reader, [])]
            rows = [dict(zip(header, map(str.strip, row), strict=False)) for row in reader if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: expected comma-separated text with a header line, found {reason}") from None
    return header, rows


def gaze_from_look_vec(vector: np.ndarray, where: str, name: str) -> np.ndarray:
    """UnityEyes' look vector (x right, y up, negative z to the camera) to our unit vector, float32 ``[3]``."""
    return unit(vector * np.array([1.0, -1.0, 1.0]), where, name)


def gaze_from_angles(pitch: float, yaw: float) -> np.ndarray:
    """(pitch, yaw) in radians to a unit vector, float32 ``[3]``."""
    cos_pitch = np.cos(pitch)
    vector = [-cos_pitch * np.sin(yaw), -np.sin(pitch), -cos_pitch * np.cos(yaw)]
    return np.array(vector, np.float32)


def angles_from_gaze(vector: np.ndarray) -> np.ndarray:
    """A gaze or head vector ``[3]`` to (pitch, yaw) in radians, float32 ``[2]``."""
    x, y, z = (float(part) for part in vector)
    return np.array([np.arctan2(-y, np.hypot(x, z)), np.arctan2(-x, -z)], np.float32)


def unit(vector: np.ndarray, where: str, name: str) -> np.ndarray:
    """The vector at length 1, float32. Raises BadExample for a vector without direction."""
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length < 1e-6:
        raise BadExample(name, f"{where}: expected a direction, found {_short(vector.tolist())}")
    return (vector / length).astype(np.float32)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
