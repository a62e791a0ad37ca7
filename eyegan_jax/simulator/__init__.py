"""The built-in eye: an analytic, differentiable eye renderer in pure JAX, with all truth beside each picture."""

from eyegan_jax.simulator.domains import (
    DOMAINS,
    Domain,
    find_domain,
    sample_capture,
    sample_captures,
    sample_subject,
    sample_subjects,
)
from eyegan_jax.simulator.parameters import IRIS_KINDS, Capture, Subject
from eyegan_jax.simulator.render import Rendering, pupil_center, render, render_batch
from eyegan_jax.simulator.source import draw_person, find_view, fixed_subject, simulator_source
from eyegan_jax.simulator.views import VIEWS, View

__all__ = [
    "DOMAINS",
    "IRIS_KINDS",
    "VIEWS",
    "Capture",
    "Domain",
    "Rendering",
    "Subject",
    "View",
    "draw_person",
    "find_domain",
    "find_view",
    "fixed_subject",
    "pupil_center",
    "render",
    "render_batch",
    "sample_capture",
    "sample_captures",
    "sample_subject",
    "sample_subjects",
    "simulator_source",
]
