"""Speed and memory of full-size inference: segmenter, both refiners, retrieval.

    python benchmarks/residual.py [--size 640x400] [--batch 1 8] [--dtype float32|bfloat16] [--rounds 5]
        [--out docs/results]

Prints one JSON line per measurement: seconds per image (median of the rounds, after compilation), and the memory that
the compiled program needs besides its arguments, as the compiler reports them. All of them are in
OUT/performance_residual_cpu.json or performance_residual_gpu.json.
"""

import argparse
import json
import shlex
import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.evaluation import results
from eyegan_jax.layers import keys
from eyegan_jax.networks.deeplab import DeepLab
from eyegan_jax.networks.residual_refiner import ReferenceRefiner, ResidualRefiner
from eyegan_jax.networks.segmenter import RITnet
from eyegan_jax.retrieval import nearest
from eyegan_jax.training import startup

ROOT = Path(__file__).resolve().parents[1]


def median_seconds(run, rounds: int) -> float:
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def random_variables(module, *inputs):
    """Variables of the right shapes; their values do not matter for speed."""
    shapes = jax.eval_shape(module.init, keys.compact(jax.random.key(0)), *inputs)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: jnp.asarray(0.01 * rng.standard_normal(s.shape), s.dtype), shapes)


def networks(batch: int, size: tuple[int, int], dtype):
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.uniform(-1, 1, (batch, *size, 1)), jnp.float32)
    mask = jnp.asarray(rng.integers(0, 4, (batch, *size)))

    def shown(count):
        references = jnp.broadcast_to(image[:, None], (batch, count, *size, 1))
        return mask, references, jnp.broadcast_to(mask[:, None], (batch, count, *size))

    yield "RITnet", RITnet(dtype=dtype), (image,)
    yield "residual refiner (DeepLab, ResNet-101)", ResidualRefiner(DeepLab(dtype=dtype)), shown(1)
    yield "several references (k = 4)", ReferenceRefiner(dtype=dtype), shown(4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x400")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pool", type=int, default=2600, help="candidates of one person, for retrieval")
    parser.add_argument("--targets", type=int, default=94, help="targets of one person, for retrieval")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results")
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.size.split("x"))
    startup.keep_freed_memory()
    rows = []

    def note(row: dict) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)

    for batch in arguments.batch:
        for name, module, inputs in networks(batch, (height, width), jnp.dtype(arguments.dtype)):
            variables = random_variables(module, *inputs)
            compiled = jax.jit(module.apply).lower(variables, *inputs).compile()
            seconds = median_seconds(lambda: jax.block_until_ready(compiled(variables, *inputs)), arguments.rounds)  # noqa: B023
            row = {"what": name, "batch": batch, "size": arguments.size, "dtype": arguments.dtype}
            row["seconds_per_image"] = round(seconds / batch, 6)
            memory = compiled.memory_analysis()
            row["temporary_megabytes"] = round(memory.temp_size_in_bytes / 2**20, 1) if memory else None
            note(row)
    masks = np.random.default_rng(0).integers(0, 4, (arguments.pool, height, width), dtype=np.uint8)
    seconds = median_seconds(lambda: nearest(masks[: arguments.targets], masks, 200), 1)
    row = {"what": f"retrieval, {arguments.targets} targets, {arguments.pool} candidates, one person"}
    note(row | {"size": arguments.size, "seconds": round(seconds, 3)})
    name = f"performance_residual_{'cpu' if jax.default_backend() == 'cpu' else 'gpu'}"
    command = f"python benchmarks/residual.py {shlex.join(sys.argv[1:])}".strip()
    config = {key: value for key, value in vars(arguments).items() if key != "out"}
    results.record(name, command, config, {"rows": rows}, [0], arguments.out)


if __name__ == "__main__":
    main()
