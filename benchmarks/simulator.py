"""The simulator's figures: speed, the gap between its two domains, and use on UnityEyes' own renders.

    python benchmarks/simulator.py speed                       # images/s at 35x55, 128x128, 640x400
    python benchmarks/simulator.py gap --seeds 3               # gaze error, trained and tested on each domain
    python benchmarks/simulator.py unityeyes --seeds 3         # trained on renders, read on 50 UnityEyes renders

Each writes its part into docs/results/simulator.json (``--out`` for another file). ``gap`` and ``unityeyes`` want an
accelerator: minutes there, hours on two CPU cores, but two minutes per fit with
``--network resnet --images 6144 --steps 700 --batch 64``.
How a segmenter trained on renders does on real infrared eyes is ``benchmarks/meye.py``.
"""

import argparse
import datetime
import importlib.metadata
import json
import platform
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.data.geometry import Box, equalize, resample
from eyegan_jax.data.sources import draw_batch
from eyegan_jax.evaluation.domain_arms import histogram_matching
from eyegan_jax.evaluation.fitting import Training, predict, train
from eyegan_jax.evaluation.gaze import NETWORKS, Eyes
from eyegan_jax.evaluation.metrics import angular_errors
from eyegan_jax.losses import gaze_distance
from eyegan_jax.simulator import (
    View,
    find_domain,
    find_view,
    sample_captures,
    sample_subjects,
    simulator_source,
)
from eyegan_jax.simulator.render import render_batch

ROOT = Path(__file__).resolve().parents[1]
TRAIN_SEED, TEST_SEED = 1, 2  # different people and different pictures


def spread(values) -> dict[str, float | int]:
    values = np.asarray(values, np.float64)
    return {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        "n": len(values),
    }


def pool(domain, view, count: int, seed: int, fields=("image", "gaze"), batch: int = 500) -> dict[str, np.ndarray]:
    """``count`` samples of the simulator, each of another person."""
    source = simulator_source(domain, view, seed=seed)

    @jax.jit
    def draw(key):
        sample = draw_batch(source, source.resident, key, jnp.arange(batch), 1)
        return {field: sample[field][:, 0] for field in fields}

    keys = (jax.random.fold_in(jax.random.key(seed), k) for k in range(-(-count // batch)))
    parts = [jax.device_get(draw(key)) for key in keys]
    return {field: np.concatenate([part[field] for part in parts])[:count] for field in fields}


# Speed


def measure_speed(view: View, domain: str, batch: int, chunk: int, repeats: int) -> dict[str, float | str | int]:
    """Images/s of drawing people and captures and rendering image and mask."""
    domain = find_domain(domain)

    @jax.jit
    def make(key):
        subjects = sample_subjects(jax.random.fold_in(key, 0), batch, domain, view.look)
        captures = sample_captures(jax.random.fold_in(key, 1), subjects, domain, view)
        rendering = render_batch(subjects, captures, view, domain, chunk)
        return rendering.image, rendering.mask

    start = time.perf_counter()
    jax.block_until_ready(make(jax.random.key(0)))
    compiled = time.perf_counter() - start
    times = []
    for k in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(make(jax.random.key(k + 1)))
        times.append(time.perf_counter() - start)
    best = min(times)
    row = {
        "what": f"{view.height}x{view.width} {view.look} {domain.name}",
        "batch": batch,
        "chunk": chunk,
        "images_per_s": batch / best,
        "seconds": times,
        "first_call_s": compiled,
        "chunk_bytes": _peak_bytes(view, domain, chunk),
    }
    print(f"{row['what']}: {row['images_per_s']:.0f} images/s, first call {compiled:.1f} s", flush=True)
    return row


def _peak_bytes(view, domain, chunk) -> int:
    """Temporary memory that the compiler reserves for one chunk of pictures."""

    def make(key):
        subjects = sample_subjects(key, chunk, domain, view.look)
        return render_batch(subjects, sample_captures(key, subjects, domain, view), view, domain, chunk).image

    analysis = jax.jit(make).lower(jax.random.key(0)).compile().memory_analysis()
    return int(analysis.temp_size_in_bytes)


def speed(arguments) -> list[dict]:
    cpu = jax.default_backend() == "cpu"
    sizes = [
        (find_view("unityeyes_35x55"), 512 if cpu else 65536, 64 if cpu else 8192),
        (find_view("meye_128"), 64 if cpu else 8192, 16 if cpu else 1024),
        (find_view("openeds_640x400"), 8 if cpu else 512, 4 if cpu else 64),
    ]
    return [measure_speed(view, "simulated", batch, chunk, arguments.repeats) for view, batch, chunk in sizes]


# The gap


def _standardise(images):
    """Every image to the same mean and contrast: the best that a brightness correction can do."""
    values = images.astype(np.float32)
    mean, deviation = (f(values, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.std))
    return np.clip((values - mean) / np.maximum(deviation, 1e-3) * 60 + 127.5, 0, 255).round().astype(np.uint8)


def _equalise(images):
    return np.stack([equalize(image) for image in images])


def gap(arguments) -> dict:
    """2x2 table of angular errors (degrees), and what brightness and histogram corrections do to it."""
    network, how = NETWORKS[arguments.network], Training(arguments.steps, arguments.batch, arguments.rate)
    domains = ("simulated", "captured")
    data = {
        (name, part): pool(name, "unityeyes_35x55", count, seed)
        for name in domains
        for part, count, seed in (("train", arguments.images, TRAIN_SEED), ("test", 4000, TEST_SEED))
    }
    captured = data["captured", "train"]["image"][:4000]
    corrections = {
        "none": lambda images, name: images,
        "brightness and contrast": lambda images, name: _standardise(images),
        "equalised": lambda images, name: _equalise(images),
        "histograms matched": lambda images, name: (
            histogram_matching(images, captured) if name == "simulated" else images
        ),
    }
    table: dict = {}
    for label, correct in corrections.items():
        tests = {name: correct(data[name, "test"]["image"], name) for name in domains}
        for name in domains:
            eyes = Eyes(correct(data[name, "train"]["image"], name), data[name, "train"]["gaze"])
            errors: dict[str, list[float]] = {other: [] for other in domains}
            for seed in range(arguments.seeds):
                params = train(network, gaze_distance, *eyes, seed, how)
                for other in domains:
                    found = angular_errors(predict(network, params, tests[other]), data[other, "test"]["gaze"])
                    errors[other].append(float(np.mean(found)))
            table.setdefault(label, {})[name] = {other: spread(values) for other, values in errors.items()}
            print(
                label,
                "trained on",
                name,
                {k: round(v["mean"], 2) for k, v in table[label][name].items()},
                flush=True,
            )
        table[label]["ratio"] = (
            table[label]["simulated"]["captured"]["mean"] / table[label]["captured"]["captured"]["mean"]
        )
        print(label, "ratio", round(table[label]["ratio"], 2), flush=True)
    test_gaze = data["captured", "test"]["gaze"]
    guess = np.broadcast_to(data["captured", "train"]["gaze"].mean(axis=0), test_gaze.shape)
    table["constant guess"] = float(np.mean(angular_errors(guess, test_gaze)))
    return table


# UnityEyes' own renders


def find_eye(render: np.ndarray, size: tuple[int, int], share: float = 0.257) -> np.ndarray:
    """Crops the eye out of a whole UnityEyes render squashed to a square (uint8 ``[S, S, 3]``).

    These copies come without landmarks. The render stands in the middle of the 4:3 frame, so the window is
    centred on the ball, which UnityEyes' camera looks at; ``share`` is its width over the frame's.
    """
    side = render.shape[0]
    gray = np.asarray(render, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    width = share * side
    # The frame was 640x480: rows are stretched by 4 / 3.
    height = width * size[0] / size[1] * 4.0 / 3.0
    box: Box = (side / 2 - width / 2, side / 2 - height / 2, side / 2 + width / 2, side / 2 + height / 2)
    return np.clip(resample(gray[..., None], box, *size), 0, 255).round().astype(np.uint8)


def unityeyes(arguments) -> dict:
    """Angular error on the 50 labelled renders, against the best constant guess."""
    from eyegan_jax.data.catalog import open_set, realdata_dir

    folder = realdata_dir("unityeyes")
    if folder is None:
        raise SystemExit("unityeyes: no real test images at ../shared/realdata or $EYEGAN_REALDATA")
    eyeset = open_set({"kind": "unityeyes", "dir": folder, "crop": "none"})
    examples = [eyeset[k] for k in range(len(eyeset))]
    gaze = np.stack([example["gaze"] for example in examples])
    view = View(35, 55, framing="ball")
    images = np.stack([find_eye(example["image"], (view.height, view.width)) for example in examples])
    constant = gaze.mean(axis=0, keepdims=True)
    result: dict = {
        "constant": float(np.mean(angular_errors(np.broadcast_to(constant, gaze.shape), gaze))),
        "images": len(gaze),
    }
    network, how = NETWORKS[arguments.network], Training(arguments.steps, arguments.batch, arguments.rate)
    for domain in arguments.domains:
        data = pool(domain, view, arguments.images, TRAIN_SEED)
        eyes, tests = Eyes(_equalise(data["image"]), data["gaze"]), _equalise(images)
        errors, predictions = [], []
        for seed in range(arguments.seeds):
            found = predict(network, train(network, gaze_distance, *eyes, seed, how), tests)
            errors.append(float(np.mean(angular_errors(found, gaze))))
            predictions.append(found)
        mean = np.mean(predictions, axis=0)
        signs = {axis: float(np.corrcoef(mean[:, k], gaze[:, k])[0, 1]) for k, axis in enumerate("xy")}
        result[domain] = {"error": spread(errors), "correlation": signs}
        print(domain, result[domain], "constant", result["constant"], flush=True)
    return result


def record(name: str, result, path: Path, arguments) -> None:
    """Puts one part's result into the results file and keeps the others."""
    found = json.loads(path.read_text()) if path.is_file() else {}
    device = jax.devices()[0]
    results = found.get("results", {})
    key = f"{name}_{'cpu' if device.platform == 'cpu' else 'gpu'}" if name == "speed" else name
    results[key] = result
    runs = found.get("config", {})
    runs[key] = {
        "options": {k: v for k, v in vars(arguments).items() if k not in ("out", "run")},
        "hardware": device.device_kind if device.platform != "cpu" else f"{platform.machine()}, {_cores()} cores",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "command": "python benchmarks/simulator.py " + "|".join(sorted(k.split("_")[0] for k in results)),
        "config": runs,
        "hardware": runs[key]["hardware"],
        "versions": {p: importlib.metadata.version(p) for p in ("jax", "jaxlib", "flax", "numpy")},
        "seeds": list(range(arguments.seeds)),
        "date": runs[key]["date"],
        "results": results,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {key} to {path}")


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("speed", "gap", "unityeyes"))
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--network", choices=tuple(NETWORKS), default="cnn")
    parser.add_argument("--domains", nargs="+", default=["simulated", "captured", "randomized"])
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/simulator.json")
    arguments = parser.parse_args(sys.argv[1:])
    run = {"speed": speed, "gap": gap, "unityeyes": unityeyes}[arguments.part]
    record(arguments.part, run(arguments), arguments.out, arguments)


if __name__ == "__main__":
    main()
