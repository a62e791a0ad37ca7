"""A SimGAN so small that a whole run takes seconds, and ways to start, disturb and compare such runs."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DRILL = Path(__file__).with_name("drill.py")
TOTAL = 40
"""Steps of a tiny run: 4 of the refiner, 4 of the discriminator, 32 adversarial."""


def write_images(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(seed).integers(0, 256, (count, 12, 16), dtype=np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")


def settings(images: Path, **changes: Any) -> dict[str, Any]:
    """What makes a run tiny, on ``images/simulated`` and ``images/real``; ``a__b=c`` sets ``a.b``."""
    tiny = {
        "image_shape": (12, 16, 1),
        "data.simulated.kind": "folder",
        "data.simulated.dir": str(images / "simulated"),
        "data.real.kind": "folder",
        "data.real.dir": str(images / "real"),
        "simgan.refiner.width": 4,
        "run.samples": 2,
        "steps": TOTAL - 8,
    }
    return tiny | {name.replace("__", "."): value for name, value in changes.items()}


def flags(images: Path, **changes: Any) -> list[str]:
    """The same as command-line flags."""
    found = settings(images, **changes)
    return [
        "--config=configs/simgan.py:smoke",
        *(f"--config.{name}={value}" for name, value in found.items()),
    ]


def config(images: Path, **changes: Any) -> Any:
    """The same as a locked ConfigDict."""
    found = runpy.run_path(str(ROOT / "configs" / "simgan.py"))["get_config"]("smoke")
    with found.unlocked():
        found.update_from_flattened_dict(settings(images, **changes))
    return found


def environment(devices: int = 1, **extra: str) -> dict[str, str]:
    """Of a child process with so many virtual devices."""
    env = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    env |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    if devices > 1:
        env["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    return env | extra


def start(
    workdir: Path, arguments: list[str], *, event: str = "", devices: int = 1, **options: Any
) -> subprocess.Popen:
    """``python train.py`` in the background, or under drill.py with an ``event`` such as "sigterm@20"."""
    script = [str(DRILL), event] if event else [str(ROOT / "train.py")]
    return subprocess.Popen(
        [sys.executable, *script, *arguments, f"--workdir={workdir}"],
        cwd=ROOT,
        env=environment(devices, **options.pop("env", {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(workdir: Path, arguments: list[str], *, status: int = 0, **options: Any) -> tuple[str, str]:
    """Run to the end and expect the exit status; ``(stdout, stderr)``."""
    process = start(workdir, arguments, **options)
    return finish(process, status)


def finish(process: subprocess.Popen, status: int = 0, timeout: float = 300) -> tuple[str, str]:
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still running after {timeout} s:\n{out}\n{err}") from None
    assert process.returncode == status, f"exit status {process.returncode}:\n{out}\n{err}"
    return out, err


def steps_of(workdir: Path) -> list[int]:
    """Steps with a complete checkpoint."""
    from eyegan_jax.training.checkpoints import Checkpoints

    with Checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.steps


def state_of(workdir: Path) -> tuple[int, dict]:
    """The newest checkpoint's step and state, as NumPy arrays."""
    from eyegan_jax.training.checkpoints import Checkpoints

    with Checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.load_newest()


def assert_same_bits(left: Any, right: Any) -> None:
    """Same tree, same shapes, same values, every leaf."""
    left, right = (jax.tree_util.tree_flatten_with_path(tree)[0] for tree in (left, right))
    assert [path for path, _ in left] == [path for path, _ in right] and left
    for (path, a), (_, b) in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


def assert_same_runs(left: Path, right: Path) -> None:
    """Two workdirs ended in the same state after the same metrics."""
    (left_step, left_state), (right_step, right_state) = state_of(left), state_of(right)
    assert left_step == right_step == TOTAL
    assert_same_bits(left_state, right_state)
    assert losses_of(left) == losses_of(right)


def losses_of(workdir: Path) -> list[dict]:
    """metrics.jsonl without what the clock says."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in lines]
