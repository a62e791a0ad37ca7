"""Judging a fusion run: the same task and table as for the residual refiner."""

from eyegan_jax.evaluation.residual import evaluate

__all__ = ["evaluate"]
