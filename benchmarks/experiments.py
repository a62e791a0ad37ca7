"""What the benchmarks that train things share: config files, changes to them, a training that knows when it is done."""

import runpy
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ml_collections

from eyegan_jax.training.loop import train

ROOT = Path(__file__).resolve().parents[1]


def load(path: str) -> ml_collections.ConfigDict:
    """The config of ``configs/NAME.py[:variant]``."""
    name, _, variant = path.partition(":")
    return runpy.run_path(str(ROOT / name))["get_config"](variant)


def changed(path: str, changes: Iterable[tuple[str, Any]], seed: int) -> ml_collections.ConfigDict:
    """The config of ``path`` with this seed and these ``("dotted.field", value)``; unlocked, for the caller's own."""
    config = load(path)
    config.update_from_flattened_dict(dict(changes))
    config.seed = seed
    return config.unlock()


def train_arm(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Train (or go on, or find finished) in ``workdir``, with one checkpoint and one sheet at the end."""
    config.run.checkpoint_every = config.run.samples_every = max(config.steps, 1)
    config.run.log_every = max(1, config.steps // 20)
    started = time.perf_counter()
    train(config.lock(), workdir)
    print(f"{workdir}: trained in {time.perf_counter() - started:.0f} s", flush=True)
