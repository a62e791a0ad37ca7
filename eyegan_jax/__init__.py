"""eyegan_jax: labelled eye images made real, in JAX and Flax.

Names are imported on first use, so that ``import eyegan_jax`` stays light.
"""

import importlib
from typing import Any

from eyegan_jax import compiler
from eyegan_jax.errors import UserError
from eyegan_jax.version import __version__

compiler.keep_barriers()

_EXPORTS = {
    # The built-in eye.
    "DOMAINS": "eyegan_jax.simulator",
    "VIEWS": "eyegan_jax.simulator",
    "View": "eyegan_jax.simulator",
    "render": "eyegan_jax.simulator",
    "sample_capture": "eyegan_jax.simulator",
    "sample_subject": "eyegan_jax.simulator",
    "simulator_source": "eyegan_jax.simulator",
    # Conventions.
    "angles_to_vector": "eyegan_jax.gaze",
    "angular_error": "eyegan_jax.gaze",
    "vector_to_angles": "eyegan_jax.gaze",
    "to_float": "eyegan_jax.images",
    "to_uint8": "eyegan_jax.images",
    # Data.
    "open_set": "eyegan_jax.data.catalog",
    "to_source": "eyegan_jax.data.pipeline",
    # Networks.
    "Discriminator": "eyegan_jax.networks.discriminator",
    "GazeEstimator": "eyegan_jax.networks.gaze_estimator",
    "Refiner": "eyegan_jax.networks.refiner",
    # Systems and training.
    "Phase": "eyegan_jax.systems.base",
    "System": "eyegan_jax.systems.base",
    "build_system": "eyegan_jax.systems",
    "train": "eyegan_jax.training.loop",
    # Trained models.
    "load_model": "eyegan_jax.models",
    "refine_folder": "eyegan_jax.refining",
    "refine_images": "eyegan_jax.refining",
}

__all__ = ["UserError", "__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'eyegan_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
