"""SimGAN's speed against the same thing in plain PyTorch, both timed in turn, in the same processes, on one device.

command:  python benchmarks/simgan.py [--batches 32,128] [--dtypes float32,bfloat16] [--out FILE]
needs:    torch beside jax
writes:   docs/results/performance_cpu.json or performance_gpu.json, after every row
hardware: any; on an accelerator about four minutes, on two quiet CPU cores half an hour for each dtype

Ours is the program that the trainer runs: the system's own step, wrapped by pmap, with its data drawn on the device.
PyTorch's side is benchmarks/torch_simgan.py, eager, in channels_last and compiled. ``torch_s`` of a row is the fastest
of the three, ``ratio`` is torch_s / ours_s: above 1 we are faster. On a CPU every row is timed in several fresh
processes, since ours can be slow for a whole process (docs/performance.md); ``ratios_of_processes`` has each.
"""

import argparse
import json
import os
import platform
import runpy
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

STARTED = time.perf_counter()
# Two frameworks share the device: neither may take all of its memory at the start.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from pictures import peak_memory, pictures  # noqa: E402
from single_layers import LAYERS, ceilings, layer  # noqa: E402

from eyegan_jax.training.startup import keep_freed_memory  # noqa: E402

# As every long command does. PyTorch gains by it, too, in the same process; MALLOC_ARENA_MAX=64 leaves it out.
keep_freed_memory()

MODES = ("eager", "channels_last", "compile")


class Ours:
    """The trainer's device programs for one batch size and dtype; a call runs ``steps`` steps."""

    def __init__(self, batch: int, dtype: str, what: str, dispatch: int = 0, changes: tuple[str, ...] = ()):
        from eyegan_jax.systems import simgan
        from eyegan_jax.systems.base import Phase
        from eyegan_jax.training.parallel import Parallel

        config = runpy.run_path(str(ROOT / "configs" / "simgan.py"))["get_config"]("paper").unlock()
        config.batch_size, config.dtype = batch, dtype
        for change in changes:
            name, _, value = change.partition("=")
            config.update_from_flattened_dict({name: json.loads(value)})
        self.system = simgan.build(config)
        parallel = Parallel("pmap", jax.devices()[:1])
        images = pictures().transpose(0, 2, 3, 1)
        preview = {name: {"image": images[:2, None]} for name in ("simulated", "real")}
        state = jax.jit(lambda k, b: self.system.init(k, b, 1))(jax.random.key(0), preview)
        # A full history, as in all but the first steps of a run.
        state = state.replace(history=state.history.replace(filled=jnp.int32(state.history.images.shape[2])))
        self.sharding = self.system.sharding(state)
        self.state = parallel.place(state, self.sharding)
        self.resident = parallel.replicate({name: {"image": images} for name in ("simulated", "real")})
        # As the trainer: a scan around a convolution's backward pass is many times slower on CPU.
        self.steps = dispatch or (1 if jax.default_backend() == "cpu" else 20)
        phase = {phase.name: phase for phase in self.system.phases}
        self.phase = {
            "refiner pre-training step": phase["refiner"],
            "refiner update": Phase("r", 1, self._refiner_update, {"simulated": 1}),
            "discriminator update": Phase("d", 1, self._discriminator_update, {"simulated": 1, "real": 1}),
            "whole step": phase["adversarial"],
        }[what]
        self.batch = batch
        self.program = parallel.compile(self._device_steps(self.steps), self.sharding)

    def _refiner_update(self, state, batch, key):
        del key
        return self.system._update_refiner(state, to_float(batch["simulated"]["image"][:, 0]), adversarial=True)

    def _discriminator_update(self, state, batch, key):
        simulated, real = (to_float(batch[name]["image"][:, 0]) for name in ("simulated", "real"))
        return self.system._update_discriminator(state, simulated, real, key, use_history=True)

    def _device_steps(self, count: int) -> Any:
        from eyegan_jax.data.pipeline import draw_uniform
        from eyegan_jax.data.sources import DeviceSource
        from eyegan_jax.training.program import device_steps

        sources = {name: DeviceSource(draw_uniform, None, None) for name in self.resident}
        return device_steps(self.phase, count, jax.random.key(1), sources, self.batch)

    def flops(self) -> float:
        """Of one step, counted by XLA with every convolution as the sum that defines it."""
        from eyegan_jax.layers import convolution
        from eyegan_jax.systems import base
        from eyegan_jax.training.parallel import Parallel

        # Lowered for the CPU, since only its client counts what has not been compiled.
        compiled = Parallel("shard_map", jax.devices("cpu")[:1]).compile(self._device_steps(1), self.sharding)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (self.state, self.resident))
        plain = mock.patch.object(convolution, "convolve", jax.lax.conv_general_dilated)
        # In one part: of a loop over parts the body is counted once.
        with plain, mock.patch.object(base, "CPU_PIXELS", sys.maxsize):
            analysis = compiled.lower(*shapes, {}).cost_analysis()
        return float((analysis[0] if isinstance(analysis, list) else analysis)["flops"])

    def __call__(self) -> None:
        self.state, self.metrics = self.program(self.state, self.resident, {})
        jax.block_until_ready((self.state, self.metrics))

    def check(self) -> None:
        """Arithmetic on infinities would be another workload."""
        if not all(bool(jnp.isfinite(value).all()) for value in self.metrics.values()):
            raise SystemExit("expected finite metrics")


def to_float(images):
    from eyegan_jax.images import to_float

    return to_float(images)


class Torch:
    """One way of PyTorch to run the same; a call runs ``steps`` steps and waits."""

    def __init__(self, batch: int, dtype: str, what: str, mode: str, steps: int):
        from torch_simgan import TorchSimGAN

        device = "cpu" if jax.default_backend() == "cpu" else "cuda"
        self.model = TorchSimGAN(pictures(), batch, mode, dtype == "bfloat16", device)
        self.run: Callable = {
            "refiner pre-training step": lambda: self.model.update_refiner(adversarial=False),
            "refiner update": self.model.update_refiner,
            "discriminator update": self.model.update_discriminator,
            "whole step": self.model.whole_step,
        }[what]
        self.steps = steps

    def __call__(self) -> None:
        for _ in range(self.steps):
            self.run()
        self.model.synchronise()


def alternate(contenders: dict[str, Callable[[], None]], seconds: float, rounds: int) -> dict[str, list[float]]:
    """Seconds per call of each, timed in turn for about ``seconds`` but at least three rounds."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    began = time.perf_counter()
    for done in range(rounds):
        if done >= 3 and time.perf_counter() - began > seconds:
            break
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def summary(times: list[float]) -> dict[str, float]:
    """Median, quartiles and the fastest."""
    low, middle, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"fastest_s": min(times), "median_s": middle, "low_s": low, "high_s": high, "n": len(times)}


def timed(what: str, batch: int, dtype: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row in this process: seconds of every step by side, time to compile, floating-point operations."""
    began = time.perf_counter()
    ours = Ours(batch, dtype, what, changes=tuple(options.set))
    ours()
    compile_s = {"ours": time.perf_counter() - began}
    contenders: dict[str, Callable] = {"ours": ours}
    for mode in options.modes:
        began = time.perf_counter()
        contenders[mode] = Torch(batch, dtype, what, mode, ours.steps)
        contenders[mode]()
        compile_s[mode] = time.perf_counter() - began
    # Not timed: warming up.
    alternate(contenders, options.seconds / 2, options.rounds)
    times = alternate(contenders, options.seconds, options.rounds)
    ours.check()
    steps_s = {name: [t / ours.steps for t in values] for name, values in times.items()}
    return {"steps_s": steps_s, "compile_s": compile_s, "flops": ours.flops()}


def measure(what: str, batch: int, dtype: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table, over all steps of ``options.processes`` processes."""
    if options.processes == 1:
        runs = [timed(what, batch, dtype, options)]
    else:
        settings = {"what": what, "batches": batch, "dtypes": dtype, "modes": ",".join(options.modes)}
        settings |= {"seconds": options.seconds, "rounds": options.rounds}
        changes = [word for change in options.set for word in ("--set", change)]
        given = [f"--{name}={value}" for name, value in settings.items()]
        with tempfile.TemporaryDirectory() as kept:  # compiled once, by the first process
            compiled = {"JAX_COMPILATION_CACHE_DIR": kept}
            runs = [answer("row", [*given, *changes], environment=compiled) for _ in range(options.processes)]
    steps_s = {name: [t for run in runs for t in run["steps_s"][name]] for name in runs[0]["steps_s"]}
    sides = {name: summary(times) for name, times in steps_s.items()}
    row: dict[str, Any] = {"what": what, "batch": batch, "dtype": dtype, "ours_s": sides["ours"]["median_s"]}
    if options.modes:
        best = min(options.modes, key=lambda mode: sides[mode]["median_s"])
        row |= {"torch_s": sides[best]["median_s"], "torch_mode": best}
        row["ratio"] = ratio(steps_s)
        row["ratio_of_fastest"] = min(sides[mode]["fastest_s"] for mode in options.modes) / sides["ours"]["fastest_s"]
        row["ratios"] = {mode: sides[mode]["median_s"] / row["ours_s"] for mode in options.modes}
        row["ratios_of_processes"] = [ratio(run["steps_s"]) for run in runs]
    return row | {
        "sides": sides,
        "flops": runs[0]["flops"],
        "flops_per_s": runs[0]["flops"] / row["ours_s"],
        "compile_s": runs[0]["compile_s"],
    }


def ratio(steps_s: dict[str, list[float]]) -> float:
    """PyTorch's fastest way over ours, by their medians."""
    medians = {name: statistics.median(times) for name, times in steps_s.items()}
    ours = medians.pop("ours")
    return min(medians.values()) / ours


def answer(
    role: str, given: list[str], file: str = __file__, environment: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """What a fresh process of ``file`` prints as its last line."""
    command = [sys.executable, file, "--child", role, *given]
    env = os.environ | environment
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env).stdout
    return json.loads(printed.splitlines()[-1])


def child(batch: int, dtype: str) -> None:
    """Our side alone in its own process: peak memory and time from start to the end of the first step, as JSON."""
    run = Ours(batch, dtype, "whole step", 1)
    run()
    first = time.perf_counter() - STARTED
    for _ in range(2):
        run()
    stats = jax.local_devices()[0].memory_stats() or {}
    print(json.dumps(peak_memory(first, stats.get("peak_bytes_in_use"))))


def memory(batch: int, dtype: str, modes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Peak memory and time to the first step of every side, each in a fresh process."""
    rows = []
    for side in ("ours", *modes):
        file = __file__ if side == "ours" else str(ROOT / "benchmarks" / "torch_simgan.py")
        peak = answer(side, ["--batches", str(batch), "--dtypes", dtype], file)
        rows.append({"side": side, "batch": batch, "dtype": dtype} | peak)
    return rows


def hardware() -> str:
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"1 x {device.device_kind}"
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{len(models)} cores of {models[0] if models else platform.machine()}"


def versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("jax", "jaxlib", "flax", "optax", "torch")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def parse(argv: list[str]) -> argparse.Namespace:
    cpu = jax.default_backend() == "cpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", default="32,128" if cpu else "512")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--what", default="whole step,refiner update,discriminator update,refiner pre-training step")
    parser.add_argument("--modes", default=",".join(MODES), help="of PyTorch; empty to time ours alone")
    parser.add_argument("--seconds", type=float, default=5 if cpu else 4, help="timed per row and process, all sides")
    parser.add_argument("--rounds", type=int, default=3 if cpu else 15)
    parser.add_argument("--processes", type=int, default=5 if cpu else 1, help="fresh ones that a row is timed in")
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory and time to first step")
    parser.add_argument("--no-layers", action="store_true", help="leave out single layers")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=JSON", help="change a setting of our config")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    options.batches = [int(batch) for batch in options.batches.split(",")]
    options.dtypes, options.what = options.dtypes.split(","), options.what.split(",")
    options.modes = tuple(filter(None, options.modes.split(",")))
    name = "performance_cpu.json" if cpu else "performance_gpu.json"
    options.out = options.out or ROOT / "docs" / "results" / name
    return options


def main() -> None:
    options = parse(sys.argv[1:])
    if options.child == "row":
        print(json.dumps(timed(options.what[0], options.batches[0], options.dtypes[0], options)))
        return
    if options.child:
        child(options.batches[0], options.dtypes[0])
        return
    results: dict[str, Any] = {"rows": [], "memory": []}
    record = {
        "command": f"python benchmarks/simgan.py {shlex.join(sys.argv[1:])}".strip(),
        "config": "configs/simgan.py:paper",
        "hardware": hardware(),
        "versions": versions(),
        "seeds": [0],
        "date": date.today().isoformat(),
        "results": results,
    }

    def note(rows: list[dict[str, Any]], kind: str = "rows") -> None:
        results[kind] += rows
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")
        for row in rows:
            shown = {
                k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items() if k not in ("sides", "flops")
            }
            print(f"[{time.perf_counter() - STARTED:6.1f}]", json.dumps(shown), flush=True)

    results["ceilings"] = ceilings(options.dtypes)
    print(json.dumps(results["ceilings"]), flush=True)
    for dtype in reversed(options.dtypes):
        for batch in options.batches:
            for what in options.what:
                row = measure(what, batch, dtype, options)
                row["fraction_of_matrix_ceiling"] = row["flops_per_s"] / results["ceilings"][dtype]
                note([row])
    for dtype in reversed(options.dtypes):
        if options.modes and not options.no_layers:
            for batch in options.batches:
                for name in LAYERS:
                    note(layer(name, batch, dtype, results["ceilings"]))
    if not options.no_memory:
        for batch in options.batches:
            note(memory(batch, options.dtypes[0], options.modes), "memory")


if __name__ == "__main__":
    if jax.default_backend() != "cpu":
        import torch

        torch.backends.cudnn.benchmark = True
    main()
