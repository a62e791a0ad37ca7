"""Recorded figures: JSON that says where each number comes from."""

import datetime
import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from eyegan_jax.files import write_text

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "scikit-learn")


def plain(value: Any) -> Any:
    """Nested results as what JSON knows: arrays to lists, paths and other objects to text, NaN to null."""
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | jax.Array | np.generic):
        value = np.asarray(value).tolist()
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)


def versions() -> dict[str, str]:
    """Versions of Python, this library and what it computes with, as installed now."""
    from eyegan_jax.version import __version__

    found = {"python": platform.python_version(), "eyegan_jax": __version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """The devices that JAX uses now, and the host's processor, cores, memory and system."""
    devices = jax.devices()
    found: dict[str, Any] = {
        "backend": jax.default_backend(),
        "devices": len(devices),
        "device": devices[0].device_kind,
        "cpu": _cpu_name(),
        "cores": _usable_cores(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_gb"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return found


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` (see :func:`plain`), complete or not at all: a reader never meets half a file."""
    write_text(Path(path), json.dumps(plain(value), indent=2, allow_nan=False) + "\n")


def record(
    name: str,
    command: str,
    config: Any,
    results: Mapping[str, Any],
    seeds: Sequence[int],
    folder: str | Path = "docs/results",
) -> Path:
    """Write ``folder/name.json``: results with command, config, seeds, hardware, versions, date.

    Means over seeds or subjects in ``results`` have the form of :class:`eyegan_jax.evaluation.metrics.Mean`.
    """
    path = Path(folder) / f"{name}.json"
    write_json(
        path,
        {
            "command": command,
            "config": config,
            "hardware": hardware(),
            "versions": versions(),
            "seeds": list(seeds),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "results": results,
        },
    )
    return path
