"""An optax optimiser from its few lines of config."""

from typing import Any

import ml_collections
import optax

from eyegan_jax.errors import UserError


def optimiser_config(name: str = "sgd", learning_rate: float = 1e-3, **settings: Any) -> ml_collections.ConfigDict:
    """The fields of one optimiser with their defaults, but for the given ``settings``."""
    fields = {
        "name": name,  # sgd or adam
        "learning_rate": learning_rate,
        "momentum": 0.0,  # sgd
        "nesterov": False,  # sgd
        "b1": 0.9,  # adam
        "b2": 0.999,  # adam
        "weight_decay": 0.0,  # added to the gradient (sgd) or decoupled (adam)
        "clip_norm": 0.0,  # global gradient norm, 0 = no clipping
        "decay_start": 0,  # step from which the learning rate falls linearly to zero ...
        "decay_end": 0,  # ... at this step; 0 = constant. Steps count this network's own updates.
        "halve_every": 0,  # steps after which the learning rate is halved, again and again; 0 = never
    }
    return ml_collections.ConfigDict(fields | settings)


def fall_to_zero(optimiser: ml_collections.ConfigDict, updates: Any, constant: tuple[int, int] = (1, 2)) -> None:
    """Let the learning rate fall linearly to zero by the last of ``updates``, after a share that is ``constant``.

    updates: their number, or what ``config.get_ref("steps")`` gives, or arithmetic on that: the fall then follows a
    number of steps that is set later, on the command line say.
    """
    optimiser.decay_start = updates * constant[0] // constant[1]
    optimiser.decay_end = 1 * updates  # not the same field: that could be set through this one


def build_optimiser(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """One gradient transformation; every network has its own, with its own state."""
    rate = config.learning_rate
    if config.decay_end:
        rate = optax.linear_schedule(rate, 0.0, config.decay_end - config.decay_start, config.decay_start)
    elif config.halve_every:
        rate = optax.exponential_decay(rate, config.halve_every, 0.5, staircase=True)
    if config.name == "sgd":
        parts = [optax.sgd(rate, momentum=config.momentum or None, nesterov=config.nesterov)]
        if config.weight_decay:
            parts.insert(0, optax.add_decayed_weights(config.weight_decay))
    elif config.name == "adam":
        parts = [optax.adamw(rate, b1=config.b1, b2=config.b2, weight_decay=config.weight_decay)]
    else:
        raise UserError(f"optimiser name: expected 'sgd' or 'adam', found {config.name!r}")
    if config.clip_norm:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    return optax.chain(*parts)
