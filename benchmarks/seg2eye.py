"""Seg2Eye's speed against the same architecture in plain PyTorch, both timed in turn in one process.

command:  python benchmarks/seg2eye.py [--width 64] [--size 320x256] [--batches 1,4] [--dtypes float32]
needs:    torch beside jax
writes:   docs/results/performance_seg2eye_cpu.json or performance_seg2eye_gpu.json, after every row
hardware: any; on an accelerator the published size, on CPU a quarter of its width at 160x96

Rows: the generator's forward pass, one mask in sixteen styles ("sixteen styles"), and the whole step
(generator, encoder, discriminator). PyTorch runs the step as released (two forward passes of the generator)
and with one shared pass as ours; ``torch_s`` is the fastest of its modes and ``ratio`` is torch_s / ours_s:
above 1 we are faster.
"""

import argparse
import json
import os
import runpy
import shlex
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from simgan import alternate, hardware, summary, versions  # noqa: E402

REFERENCES = 4
STYLES = 16


class Ours:
    """Our programs for one batch size and dtype; a call runs one and waits."""

    def __init__(self, width: int, size: tuple[int, int], batch: int, dtype: str, what: str):
        from eyegan_jax.systems import seg2eye
        from eyegan_jax.training.parallel import Parallel

        config = runpy.run_path(str(ROOT / "configs" / "seg2eye.py"))["get_config"]("official").unlock()
        config.dtype, config.image_shape = dtype, (*size, 1)
        config.seg2eye.mirror = False
        for network in ("generator", "encoder", "discriminator"):
            config.seg2eye[network].width = width
        self.system = seg2eye.build(config)
        numbers = np.random.default_rng(0)
        mask = numbers.integers(0, 4, (batch, 1, size[0] // 8, size[1] // 8), dtype=np.uint8)
        eyes = {
            "mask": mask.repeat(8, 2).repeat(8, 3),
            "image": numbers.integers(0, 256, (batch, 1, *size, 1), dtype=np.uint8),
            "references": numbers.integers(0, 256, (batch, 1, REFERENCES, *size, 1), dtype=np.uint8),
        }
        parallel = Parallel("pmap", jax.devices()[:1])
        state = jax.jit(partial(self.system.init, devices=1))(jax.random.key(0), {"eyes": eyes})
        sharding = self.system.sharding(state)
        self.state = parallel.place(state, sharding)
        self.run = {
            "whole step": self._step,
            "generator forward": self._forward,
            "sixteen styles": self._styles,
        }[what]
        if what == "whole step":
            self.batch = jax.device_put(parallel.shard_batch({"eyes": eyes}))

            def step(state, resident, batch):
                return self.system.adversarial_step(state, batch, jax.random.key(0))

            self.program = parallel.compile(step, sharding)
        else:
            self.mask = jnp.asarray(eyes["mask"][:, 0])
            self.style = jax.random.normal(jax.random.key(1), (batch if what != "sixteen styles" else STYLES, 16))
            generator = self.system.generator
            self.program = jax.jit(generator.apply if what == "generator forward" else self.system.paint_styles)

    def _step(self):
        self.state, metrics = self.program(self.state, {}, self.batch)
        return metrics

    def _forward(self):
        return self.program(self.state.average["generator"], self.mask, self.style)

    def _styles(self):
        return self.program(self.state.average, self.mask[:1], self.style)

    def __call__(self) -> None:
        jax.block_until_ready(self.run())


class Torch:
    """One way of PyTorch to run the same; a call runs it once and waits."""

    def __init__(self, width: int, size: tuple[int, int], batch: int, dtype: str, what: str, mode: str):
        from torch_seg2eye import TorchSeg2Eye

        device = "cpu" if jax.default_backend() == "cpu" else "cuda"
        order, _, compiled = mode.partition("+")
        copies = STYLES if what == "sixteen styles" else batch
        bfloat16 = dtype == "bfloat16"
        self.model = TorchSeg2Eye(width, size, copies, REFERENCES, order, bool(compiled), bfloat16, device)
        self.run: Callable = self.model.step if what == "whole step" else self.model.forward

    def __call__(self) -> None:
        self.run()
        self.model.synchronise()


def measure(what: str, batch: int, dtype: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    began = time.perf_counter()
    ours = Ours(options.width, options.size, batch, dtype, what)
    ours()
    compile_s = {"ours": time.perf_counter() - began}
    contenders: dict[str, Callable[[], None]] = {"ours": ours}
    # Without an update, the order of updates makes no difference.
    modes = options.modes if what == "whole step" else [m for m in options.modes if m.startswith("released")]
    for mode in modes:
        began = time.perf_counter()
        contenders[mode] = Torch(options.width, options.size, batch, dtype, what, mode)
        contenders[mode]()
        compile_s[mode] = time.perf_counter() - began
    times = alternate(contenders, options.seconds, options.rounds)
    sides = {name: summary(values) for name, values in times.items()}
    best = min(modes, key=lambda mode: sides[mode]["median_s"])
    row = {"what": what, "width": options.width, "size": list(options.size), "batch": batch, "dtype": dtype}
    row |= {"ours_s": sides["ours"]["median_s"], "torch_s": sides[best]["median_s"], "torch_mode": best}
    row["ratio"] = row["torch_s"] / row["ours_s"]
    row["ratios"] = {mode: sides[mode]["median_s"] / row["ours_s"] for mode in modes}
    return row | {"sides": sides, "compile_s": compile_s}


def parse(argv: list[str]) -> argparse.Namespace:
    cpu = jax.default_backend() == "cpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=16 if cpu else 64, help="of all three networks (published: 64)")
    parser.add_argument("--size", default="160x96" if cpu else "320x256")
    parser.add_argument("--batches", default="1,4" if cpu else "4")
    parser.add_argument("--dtypes", default="float32" if cpu else "bfloat16")
    parser.add_argument("--what", default="generator forward,sixteen styles,whole step")
    parser.add_argument("--modes", default="released,shared", help="of PyTorch; add +compile for torch.compile")
    parser.add_argument("--seconds", type=float, default=60 if cpu else 8, help="timed per row, over all sides")
    parser.add_argument("--rounds", type=int, default=7 if cpu else 15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    height, _, width = options.size.partition("x")
    options.size = int(height), int(width)
    options.batches = [int(batch) for batch in options.batches.split(",")]
    options.dtypes, options.modes = options.dtypes.split(","), options.modes.split(",")
    options.what = options.what.split(",")
    name = "performance_seg2eye_cpu.json" if cpu else "performance_seg2eye_gpu.json"
    options.out = options.out or ROOT / "docs" / "results" / name
    return options


def main() -> None:
    options = parse(sys.argv[1:])
    rows: list[dict[str, Any]] = []
    record = {
        "command": f"python benchmarks/seg2eye.py {shlex.join(sys.argv[1:])}".strip(),
        "config": "configs/seg2eye.py:official",
        "hardware": hardware(),
        "versions": versions(),
        "seeds": [0],
        "date": date.today().isoformat(),
        "results": {"rows": rows},
    }
    for dtype in options.dtypes:
        for batch in options.batches:
            for what in options.what:
                if what == "sixteen styles" and batch != options.batches[0]:
                    continue
                rows.append(measure(what, batch, dtype, options))
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.write_text(json.dumps(record, indent=1) + "\n")
                print(json.dumps({k: v for k, v in rows[-1].items() if k != "sides"}), flush=True)


if __name__ == "__main__":
    if jax.default_backend() != "cpu":
        import torch

        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    main()
