"""What is kept between runs under ``~/.cache/eyegan_jax`` (or ``$XDG_CACHE_HOME/eyegan_jax``); safe to delete."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

Arrays = dict[str, np.ndarray]

LIMIT = "4G"
"""Room for rendered pictures; what was not used for longest goes first."""


def folder(part: str) -> Path:
    """Where ``part`` of the cache is."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "eyegan_jax" / part


def rendered(program: jax.stages.Lowered, inputs: Any, make: Callable[[], Arrays]) -> Arrays:
    """``make()``, or what it gave when ``program`` last ran on ``inputs`` here.

    The lowered program is the key: any change of code or settings that could change a picture makes another one, so
    nothing stale is ever found. A cache that cannot be read or written costs its use, never the run.
    """
    import joblib  # here, since every command reads this file for the cache's folder

    key = hashlib.sha256(program.as_text().encode())
    for leaf in jax.tree.leaves(inputs):
        random = jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if random else leaf)
        key.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    # Another compiler may round differently.
    device = jax.devices()[0]
    key.update(repr((jax.__version__, device.platform, device.device_kind, os.environ.get("XLA_FLAGS"))).encode())
    try:
        memory = joblib.Memory(folder("rendered"), verbose=0)
        found = memory.cache(_made, ignore=["make"])(key.hexdigest(), make)
    except OSError:
        return make()
    with contextlib.suppress(OSError):
        memory.reduce_size(bytes_limit=LIMIT)
    return found


def _made(key: str, make: Callable[[], Arrays]) -> Arrays:
    del key  # joblib's
    return make()
