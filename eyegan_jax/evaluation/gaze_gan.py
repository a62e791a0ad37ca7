"""The He et al. baseline is judged as every redirector is."""

from eyegan_jax.evaluation.redirect import evaluate

__all__ = ["evaluate"]
