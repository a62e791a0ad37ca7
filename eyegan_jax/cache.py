"""What is kept between runs under ``~/.cache/eyegan_jax`` (or ``$XDG_CACHE_HOME/eyegan_jax``); safe to delete."""

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

Arrays = dict[str, np.ndarray]

LIMIT = "4G"
"""Room for what :func:`kept` keeps; what was not used for longest goes first."""

CONFIG = ("jax_enable_x64", "jax_default_matmul_precision", "jax_default_prng_impl", "jax_threefry_partitionable")
"""Settings of JAX that change what a program computes."""

IMPORT = re.compile(rf"^ *from ({__package__}[.\w]*) import (\([^)]*\)|.*)", re.MULTILINE)
"""What the modules of this package import from it."""


def folder(part: str) -> Path:
    """Where ``part`` of the cache is."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "eyegan_jax" / part


@functools.cache
def code(*modules: str) -> str:
    """A digest of the source of ``modules`` and of all that they import from this package, at the top or within."""
    sources: dict[str, str] = {}
    names = list(modules)
    while names:
        name = names.pop()
        file = _file(name)
        if name in sources or file is None:  # read already, or a function of a module
            continue
        sources[name] = file.read_text(encoding="utf-8")
        for module, imported in IMPORT.findall(sources[name]):
            names += [module, *(f"{module}.{word}" for word in re.findall(r"\w+", imported))]
    return hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()


def _file(module: str) -> Path | None:
    """The source of a module of this package, None where there is none of that name."""
    path = Path(__file__).parent.joinpath(*module.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def kept(what: str, inputs: Any, make: Callable[[], Arrays]) -> Arrays:
    """``make()``, or what it gave when ``what`` last ran on ``inputs`` here.

    what: all that decides the arrays beside ``inputs``: the text of the lowered program, or the settings of what makes
        them together with its :func:`code`, which is known without tracing it. Nothing stale is ever found. A cache
        that cannot be read or written costs its use, never the run.
    """
    import joblib  # here, since every command reads this file for the cache's folder

    key = hashlib.sha256(what.encode())
    for leaf in jax.tree.leaves(inputs):
        random = jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if random else leaf)
        key.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    # Another compiler may round differently, another generator draw other numbers.
    device = jax.devices()[0]
    settings = [getattr(jax.config, name) for name in CONFIG]
    flags = os.environ.get("XLA_FLAGS")
    key.update(repr((jax.__version__, device.platform, device.device_kind, flags, settings)).encode())
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
