"""Everything about one picture as plain data: parameters by name, UnityEyes' JSON, captions."""

import dataclasses
from typing import Any

import numpy as np

from eyegan_jax.simulator.captions import bins, captions, lid_opening
from eyegan_jax.simulator.parameters import IRIS_KINDS, Capture, Subject
from eyegan_jax.simulator.render import Rendering
from eyegan_jax.simulator.views import View

DEGREES = 180.0 / np.pi


def parameters_by_name(subject: Subject, capture: Capture) -> dict[str, Any]:
    """Every parameter of one eye as NumPy scalars and arrays."""
    return {
        field.name: np.asarray(getattr(part, field.name))
        for part in (subject, capture)
        for field in dataclasses.fields(part)
    }


def picture_bins(subject: Subject, capture: Capture, rendering: Rendering, view: View) -> dict[str, str]:
    """The caption bins of one rendered eye."""
    values = parameters_by_name(subject, capture) | {"opening": lid_opening(rendering.margin)}
    return bins(values, view.look)


def _point(x: float, y: float, z: float) -> str:
    return f"({x:.4f}, {y:.4f}, {z:.4f})"


def _plain(value: np.ndarray) -> Any:
    return np.round(value, 7).tolist() if np.issubdtype(value.dtype, np.floating) else value.tolist()


def unityeyes_labels(
    subject: Subject, capture: Capture, rendering: Rendering, view: View, number: int, caption_seed: int
) -> dict[str, Any]:
    """The JSON of one picture (arrays of one eye, as NumPy): UnityEyes' keys in its own formats, then ours.

    UnityEyes' keys keep its conventions: strings, y from the bottom row up (y = H - y_image), look_vec with y
    up. Ours: ``gaze`` and ``visual_gaze`` in the convention of :mod:`eyegan_jax.gaze`, ``subject``, ``pupil``
    and ``iris_ellipse`` (cx, cy, a, b, angle) in pixels, ``parameters``, ``caption_bins``, ``captions``.
    """
    depth = float(rendering.distance)

    def points(pixels):
        return [_point(x, view.height - y, depth) for x, y in np.asarray(pixels, np.float64)]

    gaze = np.asarray(rendering.gaze, np.float64)
    pitch, yaw, roll = (float(v) * DEGREES for v in rendering.head)
    found = picture_bins(subject, capture, rendering, view)
    elevation, azimuth = (float(v) * DEGREES for v in np.asarray(capture.light_angles)[0])
    return {
        "interior_margin_2d": points(rendering.margin),
        "caruncle_2d": points(rendering.caruncle),
        "iris_2d": points(rendering.iris),
        # UnityEyes' camera Euler angles: frontal is (0, 180, 0), pitch in [0, 360).
        "head_pose": _point(pitch % 360.0, 180.0 + yaw, roll),
        "eye_details": {
            "look_vec": f"({gaze[0]:.6f}, {-gaze[1]:.6f}, {gaze[2]:.6f}, 0.0000)",
            "pupil_size": f"{float(capture.pupil_radius) / float(subject.iris_radius):.6f}",
            "iris_size": f"{float(subject.iris_radius) / 5.55:.6f}",
            "iris_texture": IRIS_KINDS[int(subject.iris_kind)],
        },
        "lighting_details": {
            "skybox_texture": "procedural",
            "skybox_exposure": f"{float(capture.reflection):.4f}",
            "skybox_rotation": "0",
            "ambient_intensity": f"{float(capture.ambient):.4f}",
            "light_rotation": _point(elevation, azimuth, 0.0),
            "light_intensity": f"{float(np.asarray(capture.light_intensity)[0]):.4f}",
        },
        "eye_region_details": {"pca_shape_coeffs": [], "primary_skin_texture": "procedural"},
        "gaze": [round(float(v), 7) for v in gaze],
        "visual_gaze": [round(float(v), 7) for v in np.asarray(rendering.visual_gaze)],
        "subject": number,
        "pupil": [round(float(v), 4) for v in np.asarray(rendering.pupil)],
        "iris_ellipse": [round(float(v), 4) for v in np.asarray(rendering.iris_ellipse)],
        "parameters": {name: _plain(value) for name, value in parameters_by_name(subject, capture).items()},
        "caption_bins": found,
        "captions": captions(found, caption_seed),
    }
