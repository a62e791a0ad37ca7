"""Before the first use of a device: compilation cache, several processes, known traps of a platform."""

import ctypes
import importlib.metadata
import importlib.util
import logging
import os
import platform
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.experimental import multihost_utils

from eyegan_jax import cache
from eyegan_jax.errors import UserError

SETTINGS: Any = jax.config
"""Its fields are made at run time; newer releases alone declare them."""


def start(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Set JAX up for a long command; call once, before anything touches a device.

    Joins the other processes of a job: found by itself on SLURM, Cloud TPU pods and Kubernetes (whatever
    ``jax.distributed`` recognises), or as told by all three arguments. Raises UserError where one of them is missing.
    """
    if "host_platform_device_count" in os.environ.get("XLA_FLAGS", "") or "JAX_NUM_CPU_DEVICES" in os.environ:
        # Fewer worker threads than virtual devices deadlock in collectives on jaxlib 0.10.
        os.environ.setdefault("NPROC", "16")
    keep_freed_memory()
    # A failed write is reported once, by whoever waits for it, not a second time by the event loop that ran it.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    sys.unraisablehook = partial(_report, sys.unraisablehook)
    if not SETTINGS.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(cache.folder("xla")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    told = {"--coordinator": coordinator, "--processes": processes, "--process": process}
    missing = [flag for flag, value in told.items() if value is None]
    if len(missing) == 3:
        if not _job_has_several_processes():
            return
        jax.distributed.initialize()
    elif coordinator is None or processes is None or process is None:
        raise UserError(f"expected all of {', '.join(told)} or none of them, found no {' and no '.join(missing)}")
    elif not 0 <= process < processes:
        raise UserError(f"--process: expected 0 to {processes - 1} (of --processes={processes}), found {process}")
    else:
        jax.distributed.initialize(coordinator, processes, process)
    # All are here now. Connecting later, after each has compiled for itself, may wait longer than gloo does (30 s).
    multihost_utils.sync_global_devices("started")


def _computes_on_cpu() -> bool:
    """Whether JAX will find no accelerator, known without asking it: that would start the device."""
    if platforms := SETTINGS.jax_platforms:
        return platforms.split(",")[0] == "cpu"
    return not importlib.metadata.entry_points(group="jax_plugins") and importlib.util.find_spec("libtpu") is None


def keep_freed_memory() -> None:
    """On CPU, make glibc keep what is freed instead of giving it back to the system; before a device is used.

    Every step of a program allocates its intermediate arrays anew. Pieces of more than 32 MB would come from the system
    each time, which fills them with zeros page by page (docs/performance.md says what that costs). One arena, because
    those of threads hold no pieces of more than 64 MB. Whoever sets glibc's variables has decided.
    """
    chosen = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if chosen or platform.libc_ver()[0] != "glibc" or not _computes_on_cpu():
        return
    trim_threshold, top_pad, mmap_max, arena_max = -1, -2, -4, -8  # malloc.h
    libc = ctypes.CDLL(None)
    for setting, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**26), (arena_max, 1)):
        libc.mallopt(setting, value)


def _report(hook: Callable, unraisable: Any) -> None:
    """``hook``, but for TensorStore's threads that end after Orbax gave up on a failed write and closed their loop."""
    if str(unraisable.exc_value) != "Event loop is closed":
        hook(unraisable)


def _job_has_several_processes() -> bool:
    """Whether a cluster's environment says that this process is one of several."""
    env = os.environ
    slurm = "SLURM_PROCID" in env and int(env.get("SLURM_NTASKS", "1")) > 1
    tpu_pod = "," in env.get("TPU_WORKER_HOSTNAMES", "")
    kubernetes = int(env.get("JOBSET_REPLICAS", env.get("JAX_NUM_PROCESSES", "1"))) > 1 and (
        "KUBERNETES_SERVICE_HOST" in env or "JAX_COORDINATOR_ADDRESS" in env
    )
    return slurm or tpu_pod or kubernetes
