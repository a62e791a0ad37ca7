"""A CUT run is judged as every refiner is."""

from eyegan_jax.evaluation.simgan import evaluate

__all__ = ["evaluate"]
