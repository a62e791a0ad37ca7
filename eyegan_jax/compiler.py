"""What XLA has to be told before it compiles anything, and how many programs it can hold."""

import importlib.metadata
import importlib.util
import os
from pathlib import Path


def keep_barriers() -> None:
    """Make the CPU compiler of jax 0.10 respect ``lax.optimization_barrier`` while it fuses, as newer ones do.

    It drops barriers just before fusion, so the renderer's stages are copied into each of their consumers: compilation
    takes three times as long and a picture seven. Without the pass that drops them, they stay to the end and cost
    nothing. Only where no accelerator's plugin is installed, for which this was not tried. Has an effect until the
    first computation of the process; a choice of passes in XLA_FLAGS is left alone.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    accelerated = any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
    old = importlib.metadata.version("jax").startswith("0.10.")
    if old and not accelerated and "xla_disable_hlo_passes" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_disable_hlo_passes=cse_barrier_expander".strip()


MAPS = Path("/proc/self/maps")

MOST_MAPS = 20_000
"""Memory maps of this process beyond which compiled programs are let go. Linux allows 65,530."""


def make_room() -> None:
    """Let compiled programs go where there are so many that further ones could crash the process.

    A program takes dozens of memory maps: a refiner 48 for every size of pictures, a small training 1,450. Beyond the
    limit XLA's CPU compiler ends in a segmentation fault. What is still used is compiled again.
    """
    import jax  # here, since this module is read before JAX may be

    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
