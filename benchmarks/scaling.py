"""How SimGAN's training step scales: bytes that cross the network, from the compiled program, and a model of time.

command:  python benchmarks/scaling.py [--step-seconds S] [--out docs/results/scaling.json]
hardware: CPU; the collectives of the program are counted on 1, 2, 4 and 8 virtual devices, no time is measured
needs:    nothing but jax; S (seconds of one step of 512 images on one accelerator) comes from
          docs/results/performance_gpu.json where it is there

The model: every device keeps its own batch (weak scaling). A step takes the measured time of one device plus the
time of its all-reduces, none of it hidden behind computation: the worst case. An all-reduce of n bytes over p devices
as a ring moves 2 n (p - 1) / p bytes over every link and needs 2 (p - 1) hops.
"""

import argparse
import json
import os
import re
import runpy
import sys
from datetime import date
from pathlib import Path

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import numpy as np  # noqa: E402

PER_DEVICE = 512
LINKS = {
    # bytes/s that one device can send while it receives as many, and seconds per hop.
    "H100, NVLink 4 in a host of 8": {
        "bytes": 450e9,
        "hop": 2e-6,
        "source": "NVIDIA H100 data sheet: 900 GB/s both ways",
    },
    "H100, InfiniBand NDR, one 400 Gb/s port per GPU": {
        "bytes": 50e9,
        "hop": 5e-6,
        "source": "NVIDIA ConnectX-7 data sheet: 400 Gb/s",
    },
    "H100, one 100 Gb/s Ethernet port per 8 GPUs": {
        "bytes": 12.5e9 / 8,
        "hop": 20e-6,
        "source": "IEEE 802.3: 100 Gb/s",
    },
    "TPU v5e, one ICI link of four": {
        "bytes": 50e9,
        "hop": 1e-6,
        "source": "Google Cloud TPU v5e: 1,600 Gb/s per chip over four links",
    },
}
"""Hop latencies are assumptions of the usual order; bandwidths are the makers' figures."""
CHIPS = (8, 64, 512)
TYPES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "f16": 2, "pred": 1, "u8": 1, "s8": 1, "f64": 8, "s64": 8}


def all_reduces(hlo: str) -> list[int]:
    """Bytes of every all-reduce in compiled HLO, one entry per operation."""
    found = []
    for line in hlo.splitlines():
        match = re.search(r"= (.*?) all-reduce(?:-start)?\(", line)
        if match:
            shapes = re.findall(r"(\w+)\[([\d,]*)\]", match.group(1))
            sizes = (TYPES[kind] * int(np.prod([int(n) for n in dims.split(",") if n])) for kind, dims in shapes)
            found.append(sum(sizes))
    return found


def compiled_step(devices: int) -> str:
    """HLO of the paper's adversarial step (K_r = 2, K_d = 1) on so many devices of one process."""
    from eyegan_jax.systems import simgan
    from eyegan_jax.training.parallel import Parallel

    config = runpy.run_path(str(ROOT / "configs" / "simgan.py"))["get_config"]("paper").unlock()
    # What crosses the network does not depend on the batch; a small one compiles faster.
    config.batch_size = 16 * devices
    system = simgan.build(config)
    parallel = Parallel("shard_map", jax.devices()[:devices])
    phase = system.phases[2]
    batch = {
        name: {"image": jax.ShapeDtypeStruct((16 * devices, samples, 35, 55, 1), np.uint8)}
        for name, samples in phase.streams.items()
    }
    state = jax.eval_shape(
        lambda k: system.init(k, jax.tree.map(lambda s: jax.numpy.zeros(s.shape, s.dtype), batch), devices),
        jax.random.key(0),
    )

    def step(state, resident, batch):
        del resident
        return phase.step(state, batch, jax.random.fold_in(jax.random.key(0), state.step))

    return parallel.compile(step, system.sharding(state)).lower(state, {}, batch).compile().as_text()


def predicted(step_s: float, reduced: int, operations: int, link: dict, chips: int) -> dict[str, float]:
    """Seconds and efficiency of one step on so many chips, each with its own batch."""
    network = 2 * reduced * (chips - 1) / chips / link["bytes"] + operations * 2 * (chips - 1) * link["hop"]
    return {"network_s": network, "step_s": step_s + network, "efficiency": step_s / (step_s + network)}


def measured_step() -> float | None:
    """Seconds of the whole step at batch 512 in bfloat16 on the accelerator that was benchmarked."""
    path = ROOT / "docs" / "results" / "performance_gpu.json"
    if not path.exists():
        return None
    rows = json.loads(path.read_text())["results"]["rows"]
    wanted = ("whole step", PER_DEVICE, "bfloat16")
    return next((row["ours_s"] for row in rows if (row["what"], row["batch"], row["dtype"]) == wanted), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step-seconds", type=float, default=measured_step())
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "scaling.json")
    options = parser.parse_args()
    counted = []
    for devices in (1, 2, 4, 8):
        sizes = all_reduces(compiled_step(devices))
        counted.append(
            {
                "devices": devices,
                "all_reduces": len(sizes),
                "bytes_per_step": sum(sizes),
                # What one device sends for each of its images.
                "bytes_per_image": 2 * (devices - 1) / devices * sum(sizes) / PER_DEVICE,
            }
        )
        print(json.dumps(counted[-1]), flush=True)
    results: dict = {"counted": counted, "links": LINKS, "images_per_device": PER_DEVICE}
    if options.step_seconds:
        last = counted[-1]
        results["measured_step_s"] = options.step_seconds
        results["model"] = [
            {"link": name, "chips": chips}
            | predicted(options.step_seconds, last["bytes_per_step"], last["all_reduces"], link, chips)
            for name, link in LINKS.items()
            for chips in CHIPS
        ]
        for row in results["model"]:
            print(json.dumps(row))
    record = {
        "command": "python benchmarks/scaling.py",
        "config": "configs/simgan.py:paper",
        "hardware": "virtual CPU devices (program analysis only)",
        "versions": {"jax": jax.__version__},
        "seeds": [0],
        "date": date.today().isoformat(),
        "results": results,
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
