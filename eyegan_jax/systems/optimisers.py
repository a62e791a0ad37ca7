"""An optax optimiser from its few lines of config."""

from typing import Any

import jax
import ml_collections
import optax
from optax import contrib

from eyegan_jax.errors import UserError

MATRIX_RMS = 0.5
"""Of Muon: root mean square of a matrix's update over the learning rate. Adam's is of that order, too, so one rate
serves what either of them updates (Liu et al. 2025 take 0.2 to 0.4)."""

FEWEST = 8
"""Outputs from which on a layer's weights are a matrix to Muon; heads of a few channels are Adam's."""


def optimiser_config(name: str = "sgd", learning_rate: float = 1e-3, **settings: Any) -> ml_collections.ConfigDict:
    """The fields of one optimiser with their defaults, but for the given ``settings``."""
    fields = {
        "name": name,  # sgd, adam or muon (Jordan 2024): layers' weights by Muon, the rest by Nesterov's Adam
        "learning_rate": learning_rate,
        "momentum": 0.0,  # sgd
        "nesterov": False,  # sgd
        "b1": 0.9,  # adam, also beside muon
        "b2": 0.999,  # the same
        "weight_decay": 0.0,  # added to the gradient (sgd) or decoupled (adam, muon)
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
    elif config.name == "muon":
        parts = [muon(rate, config.b1, config.b2, config.weight_decay)]
    else:
        raise UserError(f"optimiser name: expected 'sgd', 'adam' or 'muon', found {config.name!r}")
    if config.clip_norm:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    return optax.chain(*parts)


def muon(
    rate: optax.ScalarOrSchedule, b1: float = 0.9, b2: float = 0.999, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Muon (Jordan 2024) for layers' weights, Nesterov's Adam for the rest; decoupled weight decay."""
    return contrib.muon(
        rate,
        adam_b1=b1,
        adam_b2=b2,
        weight_decay=weight_decay,
        adam_weight_decay=weight_decay,
        muon_weight_dimension_numbers=_matrices,
        consistent_rms=MATRIX_RMS,
    )


def _matrices(params: Any) -> Any:
    """Of every array how it is a matrix to Muon, all inputs by outputs; None for what is none."""

    def of(path, array) -> contrib.MuonDimensionNumbers | None:
        if path[-1] != jax.tree_util.DictKey("kernel") or array.ndim < 2 or array.shape[-1] < FEWEST:
            return None
        return contrib.MuonDimensionNumbers(tuple(range(array.ndim - 1)), array.ndim - 1)

    return jax.tree_util.tree_map_with_path(of, params)
