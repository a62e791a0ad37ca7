"""Judging a refiner's run, SimGAN's or CUT's: the SimGAN paper's experiments on the run's own two domains."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from tqdm import tqdm

from eyegan_jax import systems
from eyegan_jax.data.sources import DeviceSource
from eyegan_jax.data.streams import build_stream, collect
from eyegan_jax.errors import UserError
from eyegan_jax.evaluation.batches import in_batches
from eyegan_jax.evaluation.fitting import Training
from eyegan_jax.evaluation.refinement import RefinerRun, evaluate_refiner
from eyegan_jax.images import to_float
from eyegan_jax.models import load_model
from eyegan_jax.refining import refine_images

BATCH = 256
TITLES = {"simgan": "SimGAN", "cut": "CUT"}


def evaluate(config: ml_collections.ConfigDict, workdir: Path) -> Path:
    """Write ``workdir/report`` for the run; ``config.evaluation`` sets sample sizes and budgets."""
    settings = config.evaluation
    model = load_model(workdir, ("refiner_average", "discriminator"))
    tqdm.write("drawing samples of both domains")
    simulated = draw_eyes(config, "simulated", settings.samples, 0)
    real = draw_eyes(config, "real", settings.samples + settings.test_samples, 1)
    # A small real set is divided in the same proportion.
    split = len(real["image"]) * settings.samples // (settings.samples + settings.test_samples)
    run = RefinerRun(
        refine=partial(in_batches, jax.jit(partial(refine_images, model)), size=BATCH),
        discriminate=partial(in_batches, jax.jit(partial(discriminate, model)), size=BATCH),
        simulated=simulated["image"],
        real_train=real["image"][:split],
        real_test=real["image"][split:],
        simulated_gaze=simulated.get("gaze"),
        real_train_gaze=real["gaze"][:split] if "gaze" in real else None,
        real_test_gaze=real["gaze"][split:] if "gaze" in real else None,
    )
    return evaluate_refiner(
        workdir,
        run,
        f"{TITLES[config.system]}, {model.step} steps",
        config=config,
        command=f"python evaluate.py --workdir={workdir}",
        seeds=range(config.seed, config.seed + settings.seeds),  # so that a sweep over seeds varies these too
        estimators=tuple(settings.estimators),
        training=Training(steps=settings.estimator_steps, batch=settings.estimator_batch),
        progress=tqdm.write,
    )


def discriminate(model: Any, images: jax.Array) -> jax.Array:
    """Logits ``[B, h, w, 2]`` of the run's discriminator for uint8 images."""
    system: Any = systems.build_system(model.config)
    return system.discriminator.apply({"params": model.params["discriminator"]}, to_float(images))


def draw_eyes(config: ml_collections.ConfigDict, name: str, count: int, seed: int) -> dict[str, np.ndarray]:
    """Up to ``count`` images ``[N, H, W, C]`` of a stream, with ``gaze [N, 3]`` where the stream knows it.

    A finite set gives each of its images at most once, in an order that depends on ``seed``.
    """
    config = ml_collections.ConfigDict(config.to_dict())
    config.data[name].pool = 0  # the pool is what the run was trained on
    config.data.backend = "memory"
    try:
        config.data.fields[name] = ("image", "gaze")
        source = build_stream(config, config.data[name], name)
    except UserError:
        config.data.fields[name] = ("image",)
        source = build_stream(config, config.data[name], name)
    assert isinstance(source, DeviceSource)
    if source.size is not None:
        order = np.random.default_rng(seed).permutation(source.size)[:count]
        return {field: np.asarray(values)[order] for field, values in source.resident.items()}
    fields = (
        ("image", "gaze") if "gaze" in jax.eval_shape(source.draw, source.resident, jax.random.key(0)) else ("image",)
    )
    return collect(source, count, jax.random.fold_in(jax.random.key(seed), 1000), fields, f"rendering {name}")
