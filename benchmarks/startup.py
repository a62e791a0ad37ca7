"""From the shell prompt to the first training step, and the package's import, with empty and with filled caches.

command:  python benchmarks/startup.py [--config=configs/simgan.py] [--rounds 3] [--out docs/results]
writes:   docs/results/startup.json
hardware: any

Every round starts ``train.py`` in a process of its own and stops it when its first step is in metrics.jsonl. The first
round begins with an empty cache of compiled programs and rendered pictures, the others find it filled.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments import ROOT

from eyegan_jax.evaluation import results


def first_step(config: str, workdir: Path, cache: Path, limit: float = 600.0) -> float:
    """Seconds until the first step of a fresh run has been logged."""
    command = [sys.executable, str(ROOT / "train.py"), f"--config={config}", f"--workdir={workdir}"]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--config.run.log_every=1"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not ((log := workdir / "metrics.jsonl").exists() and log.read_text()):
            if process.poll() is not None or time.perf_counter() - began > limit:
                raise SystemExit(f"expected a first step within {limit:.0f} s, found none")
            time.sleep(0.02)
        return time.perf_counter() - began
    finally:
        process.kill()
        process.wait()


def imported() -> float:
    """Seconds of a process that only imports the package."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import eyegan_jax"], cwd=ROOT, check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/simgan.py")
    parser.add_argument("--rounds", type=int, default=3, help="with filled caches")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder) / f"run{i}" for i in range(options.rounds + 1)]
        cold, *warm = [first_step(options.config, run, Path(folder) / "cache") for run in runs]
    found = {"cold_s": cold, "warm_s": warm, "import_s": [imported() for _ in range(options.rounds)]}
    print(found)
    command = f"python benchmarks/startup.py --config={options.config} --rounds {options.rounds}"
    results.record("startup", command, options.config, found, [0], options.out)


if __name__ == "__main__":
    main()
