"""From a config to a set of eyes: every kind of data set that can be opened, by name."""

import difflib
import importlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eyegan_jax.data.examples import EyeSet
from eyegan_jax.data.sets import ConcatSet, of_subjects
from eyegan_jax.errors import UserError

KINDS: dict[str, str] = {
    "columbia": "eyegan_jax.data.columbia:ColumbiaSet",
    "folder": "eyegan_jax.data.folder:FolderSet",
    "kaggle": "eyegan_jax.data.kaggle:KaggleSet",
    "meye": "eyegan_jax.data.meye:MeyeSet",
    "mpiigaze": "eyegan_jax.data.mpiigaze:MPIIGazeSet",
    "openeds": "eyegan_jax.data.openeds:OpenEDSSet",
    "openeds2020": "eyegan_jax.data.openeds:OpenEDS2020Set",
    "openeds_h5": "eyegan_jax.data.openeds:OpenEDSH5Set",
    "simulated": "eyegan_jax.data.unityeyes:SimulatedSet",
    "tfds": "eyegan_jax.data.tfds_builders:TFDSSet",
    "unityeyes": "eyegan_jax.data.unityeyes:UnityEyesSet",
}
"""Kind -> where its class is. Imported on demand, so that each kind's own packages are needed by it alone."""


def open_set(config: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> EyeSet:
    """The set that ``{"kind": ..., "dir": ..., option: value, ...}`` describes; for a list, all in one.

    ``kind`` is one of ``KINDS``; ``dir`` is the folder (or file) to read, where relative paths start at the
    working directory; further keys are the options of the kind's class. ``subjects`` (a list) keeps only
    these people. Options that are None are as good as absent, so that a locked config can name all of them.

    Raises UserError for an unknown kind or option (naming the nearest), a missing folder, or one without
    images.
    """
    if isinstance(config, Sequence) and not isinstance(config, str):
        if not config:
            raise UserError("data: expected at least one data set, found an empty list")
        sets = [open_set(part) for part in config]
        return sets[0] if len(sets) == 1 else ConcatSet(sets)
    options = {key: value for key, value in dict(config).items() if value is not None}
    kind = options.pop("kind", None)
    if kind not in KINDS:
        raise UserError(f"data.kind: expected one of {', '.join(KINDS)}; found {kind!r}{_nearest(kind, KINDS)}")
    subjects = options.pop("subjects", None)
    if not options.get("dir"):  # an empty path would be the working directory
        raise UserError(f"data.dir: expected the path of the {kind} data set, found nothing")
    folder = options.pop("dir")
    make = _load(KINDS[kind])
    known = list(inspect.signature(make).parameters)[1:]
    for name in options:
        if name not in known:
            allowed = ", ".join([*known, "subjects"])
            raise UserError(f"data.{name}: the kind {kind!r} knows {allowed}{_nearest(name, known)}")
    eyeset = make(folder, **options)
    return eyeset if subjects is None else of_subjects(eyeset, subjects)


def realdata_dir(name: str = "") -> Path | None:
    """The real test images: ``$EYEGAN_REALDATA`` or ``../shared/realdata`` beside the checkout, or None."""
    root = os.environ.get("EYEGAN_REALDATA")
    beside = Path(__file__).resolve().parents[3] / "shared" / "realdata"
    path = (Path(root).expanduser() if root else beside) / name
    return path if path.is_dir() else None


def _load(where: str) -> Callable[..., EyeSet]:
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _nearest(name: Any, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
