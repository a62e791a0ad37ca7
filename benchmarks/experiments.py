"""What the benchmarks that train things share: config files, changes to them, a training that knows when it is done."""

import argparse
import runpy
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_collections

from eyegan_jax.cli import override
from eyegan_jax.training import startup
from eyegan_jax.training.loop import train

ROOT = Path(__file__).resolve().parents[1]


def parser(doc: str | None, config: str) -> argparse.ArgumentParser:
    """The flags that these benchmarks share; :func:`begin` reads them."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--workdir", type=Path, required=True)
    made.add_argument("--config", default=config, help="--config.NAME=VALUE changes a setting of it")
    made.add_argument("--seeds", type=int, nargs="+")
    made.add_argument("--out", type=Path, default=ROOT / "docs" / "results")
    return made


@dataclass(frozen=True)
class Chosen:
    """What a command line asks for: the experiment with its changes, where it lives, and how to ask for it again."""

    experiment: ml_collections.ConfigDict
    workdir: Path
    seeds: list[int]
    command: str
    arguments: argparse.Namespace


def begin(flags: argparse.ArgumentParser) -> Chosen:
    """Read the command line and set JAX up for a long command. Raises UserError for settings that do not exist."""
    arguments, changes = flags.parse_known_args()
    experiment = override(load(arguments.config), changes)
    startup.start()
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", f"--config={arguments.config}", *changes])
    return Chosen(
        experiment, arguments.workdir.resolve(), arguments.seeds or list(experiment.seeds), command, arguments
    )


def load(path: str) -> ml_collections.ConfigDict:
    """The config of ``configs/NAME.py[:variant]``."""
    name, _, variant = path.partition(":")
    return runpy.run_path(str(ROOT / name))["get_config"](variant)


def record_name(name: str, variant: str) -> str:
    """Of the recorded file: a variant has its own and never takes the place of the full one's."""
    return f"{name}_{variant}" if variant else name


def variant_of(path: str) -> str:
    """VARIANT of ``configs/NAME.py:VARIANT``."""
    return path.partition(":")[2]


def changed(path: str, changes: Iterable[tuple[str, Any]], seed: int) -> ml_collections.ConfigDict:
    """The config of ``path`` with this seed and these ``("dotted.field", value)``; unlocked, for the caller's own."""
    config = load(path)
    config.update_from_flattened_dict(dict(changes))
    config.seed = seed
    return config.unlock()


def train_arm(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """:func:`finish` with one checkpoint and one sheet, at the end."""
    config.run.checkpoint_every = config.run.samples_every = max(config.steps, 1)
    config.run.log_every = max(1, config.steps // 20)
    finish(config.lock(), workdir)


def finish(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Train (or go on, or find finished) in ``workdir`` to the end.

    Where a signal stops the training it leaves a checkpoint and ends the command: nothing half-trained is judged.
    """
    started = time.perf_counter()
    outcome = train(config, workdir)
    if outcome.interrupted:
        raise SystemExit(f"{workdir}: stopped at step {outcome.step}; the same command goes on from here")
    print(f"{workdir}: trained in {time.perf_counter() - started:.0f} s", flush=True)
