"""Many SimGAN runs as one program: what a member's step costs beside the step of a run alone.

    python benchmarks/ensemble.py [--members 1 2 4 8] [--config=configs/simgan.py] [--dtype float32] [--repeats 5]

Times the trainer's device program of the adversarial phase, data drawn on the device, alone and as an ensemble over
seeds and lambda, in turn in one process. ``saved`` is the share of the time of so many separate steps that the ensemble
does without; compilation (once instead of once per run where nothing is cached) is listed apart. Writes
docs/results/ensemble_cpu.json or ensemble_gpu.json.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from experiments import ROOT, load
from pictures import pictures

from eyegan_jax import systems
from eyegan_jax.data.pipeline import draw_uniform
from eyegan_jax.data.sources import DeviceSource
from eyegan_jax.evaluation import results
from eyegan_jax.evaluation.metrics import Mean
from eyegan_jax.training import startup
from eyegan_jax.training.parallel import Parallel
from eyegan_jax.training.program import device_steps


class Program:
    """The adversarial phase of ``members`` runs, compiled; calling it runs ``steps`` steps and waits for them."""

    def __init__(self, config, members: int):
        if members > 1:
            weights = tuple(float(w) for w in np.geomspace(0.003, 0.03, members))
            config.ensemble = {"seeds": tuple(range(members)), "scalars": (("simgan.loss.regularisation", weights),)}
        system, parallel = systems.build_system(config), Parallel("pmap", jax.devices()[:1])
        images = pictures().transpose(0, 2, 3, 1)
        preview = {name: {"image": images[:2, None]} for name in ("simulated", "real")}
        state = jax.jit(lambda key: system.init(key, preview, 1))(jax.random.key(0))
        sharding = system.sharding(state)
        self.state = parallel.place(state, sharding)
        source = DeviceSource(draw_uniform, {"image": jnp.asarray(images)}, len(images))
        sources = {"simulated": source, "real": source}
        self.resident = parallel.replicate(dict.fromkeys(sources, source.resident))
        self.steps = 1 if jax.default_backend() == "cpu" else 20  # as the trainer
        program = device_steps(system.phases[2], self.steps, jax.random.key(1), sources, config.batch_size)
        self.run = parallel.compile(program, sharding)
        start = time.perf_counter()
        self()
        self.first_call = time.perf_counter() - start

    def __call__(self) -> float:
        """Seconds of one step."""
        start = time.perf_counter()
        self.state, metrics = self.run(self.state, self.resident, {})
        jax.block_until_ready((self.state, metrics))
        return (time.perf_counter() - start) / self.steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--config", default="configs/simgan.py")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results")
    arguments = parser.parse_args()
    startup.start()

    def config():
        made = load(arguments.config).unlock()
        made.dtype = arguments.dtype
        return made

    programs = {members: Program(config(), members) for members in {1, *arguments.members}}
    times: dict[int, list[float]] = {members: [] for members in programs}
    for _ in range(arguments.repeats):  # in turn, so that a busy machine is busy for all
        for members, program in programs.items():
            times[members].append(program())
    alone = float(np.median(times[1]))
    table = {
        str(members): {
            "seconds": Mean(values).result(),
            "seconds_per_member": float(np.median(values)) / members,
            "saved": 1.0 - float(np.median(values)) / (members * alone),
            "first_call_s": programs[members].first_call,
        }
        for members, values in times.items()
    }
    for members, row in table.items():
        print(f"{members} members: {row['seconds_per_member']:.4f} s per member and step, saved {row['saved']:.0%}")
    name = "ensemble_cpu" if jax.default_backend() == "cpu" else "ensemble_gpu"
    numbers = f"--members {' '.join(map(str, arguments.members))} --repeats {arguments.repeats}"
    command = f"python benchmarks/ensemble.py {numbers} --config={arguments.config} --dtype {arguments.dtype}"
    print(results.record(name, command, config(), table, [0], arguments.out))


if __name__ == "__main__":
    main()
