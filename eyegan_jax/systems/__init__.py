"""One file per published system; :func:`build_system` finds the one a config names."""

import difflib
import importlib
from collections.abc import Mapping

import ml_collections

from eyegan_jax.errors import UserError
from eyegan_jax.systems.base import System
from eyegan_jax.systems.ensemble import Ensemble

SYSTEMS = (
    "simgan",
    "cut",
    "seg2eye",
    "segmenter",
    "residual",
    "fusion",
    "redirect",
    "gaze_gan",
    "text_edit",
    "gaze_estimator",
)


def build_system(config: ml_collections.ConfigDict) -> System:
    """The system that ``config.system`` names, built from the rest of the config."""
    if config.system not in SYSTEMS:
        near = difflib.get_close_matches(config.system, SYSTEMS, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UserError(f"config.system: expected one of {', '.join(SYSTEMS)}, found {config.system!r}{hint}")
    system = importlib.import_module(f"eyegan_jax.systems.{config.system}").build(config)
    members = config.get("ensemble")
    if members is None:
        return system
    attributes = ensemble_scalars(config.system)
    return Ensemble(system, members.seeds, {attributes[field]: values for field, values in members.scalars})


def ensemble_scalars(name: str) -> Mapping[str, str]:
    """Settings of system ``name`` that the members of one ensemble may differ in, and the attributes they set."""
    return getattr(importlib.import_module(f"eyegan_jax.systems.{name}"), "SCALARS", {})
