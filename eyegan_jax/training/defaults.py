"""What every experiment's config shares, and the variants of a config file."""

import difflib
from collections.abc import Callable, Mapping

import ml_collections

from eyegan_jax.errors import UserError


def base_config(system: str) -> ml_collections.ConfigDict:
    """The fields that every training config has. ``run`` says how to run, the rest says what is computed."""
    config = ml_collections.ConfigDict()
    config.system = system
    config.seed = 0
    config.batch_size = 32  # global: over all devices and processes
    config.image_shape = (35, 55, 1)  # height, width, channels
    config.dtype = "float32"  # of the networks' computation; parameters and losses stay float32
    config.steps = 0  # of the last phase; may be raised later to train on
    config.run = ml_collections.ConfigDict(
        {
            "parallel": "pmap",  # or shard_map: the same step, another wrapper
            "steps_per_dispatch": 0,  # 0 = automatic: 1 on CPU, 20 elsewhere with device-resident data
            "log_every": 10,  # steps between lines of metrics.jsonl
            "checkpoint_every": 200,
            "checkpoint_minutes": 5.0,  # ... or so many minutes, whichever comes first (0 = never by time)
            "keep": 2,  # newest checkpoints kept, besides the best
            "monitor": "",  # metric whose mean since the last checkpoint decides the best ("" = none kept)
            "samples_every": 100,
            "samples": 8,  # columns of samples/STEP.png
        }
    )
    return config


def apply_variant(
    config: ml_collections.ConfigDict,
    variant: str,
    variants: Mapping[str, Callable[[ml_collections.ConfigDict], None]],
) -> ml_collections.ConfigDict:
    """Apply the named change to ``config`` and lock it; ``""`` changes nothing."""
    if variant and variant not in variants:
        near = difflib.get_close_matches(variant, variants, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UserError(f"config variant: expected one of {', '.join(variants)}, found {variant!r}{hint}")
    if variant:
        variants[variant](config)
    return config.lock()
