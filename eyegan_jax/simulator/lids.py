"""The lids: two curves over the ball, the surface they lie on, and the landmarks along them."""

import jax
import jax.numpy as jnp
from flax import struct

from eyegan_jax.simulator.domains import Domain
from eyegan_jax.simulator.geometry import Camera, Pose, eye_pose, to_image_plane
from eyegan_jax.simulator.noise import stage
from eyegan_jax.simulator.parameters import Capture, Subject
from eyegan_jax.simulator.vectors import Vec
from eyegan_jax.simulator.views import FIELD_MM, View

# The surface that the lids lie on bulges over the ball and falls off to the face around it.
FACE_HEIGHT = 5.0  # mm in front of the ball's centre
LID_CLEARANCE = 0.9  # mm, lid over ball at the apex
BULGE_WIDTH = 9.5  # mm, standard deviation
# How far the corners lie from the ball's centre: the fissure extends further toward the nose.
INNER_SHARE = 0.54
CORNER_DROP = 0.8  # mm, the corners' line below the ball's centre
# Past the corners the curves run on along the corners' line, this share of the width past each other.
OVERRUN = 0.03


class Lids(struct.PyTreeNode):
    """Both margins as functions of x, in the anatomical frame (mm)."""

    inner: jax.Array  # x of the corner at the nose
    width: jax.Array
    tilt: jax.Array  # slope of the corners' line
    upper_height: jax.Array
    lower_height: jax.Array
    upper_skew: jax.Array
    lower_skew: jax.Array
    upper_power: jax.Array
    lower_power: jax.Array
    aperture: jax.Array
    top: jax.Array  # mm in front of the ball's centre, the surface's highest point
    caruncle: jax.Array  # x where the caruncle ends and the ball begins


def lid_state(subject: Subject, capture: Capture, pose: Pose, follow: bool = True) -> Lids:
    """The lids for this gaze. The upper margin follows the ball nearly fully, the lower one by a third.

    ``follow=False`` breaks that correlation: the lids stay where they are for a straight gaze.
    """
    rise = -pose.axis.y * subject.ball_radius * (1.0 if follow else 0.0)
    upper = subject.upper_height + subject.lid_follow[0] * rise
    lower = subject.lower_height - subject.lid_follow[1] * rise - capture.squint
    # The margins may touch but not pass: the sum stays above 0.6 mm (a smooth maximum).
    opening = upper + lower - 0.6
    upper = 0.6 + 0.5 * (opening + jnp.sqrt(opening * opening + 1.0)) - lower
    width = subject.fissure_width
    inner = -INNER_SHARE * width
    return Lids(
        inner=inner,
        width=width,
        tilt=-jnp.tan(subject.canthal_tilt),
        upper_height=upper,
        lower_height=lower,
        upper_skew=subject.upper_peak,
        lower_skew=subject.lower_peak,
        upper_power=subject.upper_roundness,
        lower_power=subject.lower_roundness,
        aperture=capture.aperture,
        top=subject.ball_radius + LID_CLEARANCE,
        caruncle=inner + subject.caruncle,
    )


def _arch(t, skew, power):
    """An arch with value 0 at t = 0 and 1, about 1 at its top, and its derivative in t."""
    z = 2.0 * (t + skew * t * (1.0 - t)) - 1.0
    size = jnp.abs(z) + 1e-6
    raised = size**power
    slope = -power * raised / size * jnp.sign(z) * 2.0 * (1.0 + skew * (1.0 - 2.0 * t))
    return 1.0 - raised, slope


class Margins(struct.PyTreeNode):
    """The margins at given x: heights (y, mm), slopes dy/dx, and the position along the fissure."""

    upper: jax.Array
    lower: jax.Array
    upper_slope: jax.Array
    lower_slope: jax.Array
    along: jax.Array  # 0 inner corner, 1 outer corner, not clipped
    arch: jax.Array  # the open upper margin's arch, 0 at the corners, 1 at the top


def margins(lids: Lids, x) -> Margins:
    along = (x - lids.inner) / lids.width
    t = jnp.clip(along, -OVERRUN, 1.0 + OVERRUN)
    upper_arch, upper_slope = _arch(t, lids.upper_skew, lids.upper_power)
    lower_arch, lower_slope = _arch(t, lids.lower_skew, lids.lower_power)
    per_mm = jnp.where((along > -OVERRUN) & (along < 1.0 + OVERRUN), 1.0 / lids.width, 0.0)
    line = CORNER_DROP + lids.tilt * x
    lower = line + lids.lower_height * lower_arch
    gap = lids.upper_height * upper_arch + lids.lower_height * lower_arch
    gap_slope = (lids.upper_height * upper_slope + lids.lower_height * lower_slope) * per_mm
    crossed = (gap < 0.0) & (t > 0.0) & (t < 1.0)
    gap, gap_slope = jnp.where(crossed, 0.0, gap), jnp.where(crossed, 0.0, gap_slope)
    lower_slope = lids.tilt + lids.lower_height * lower_slope * per_mm
    return Margins(
        upper=lower - lids.aperture * gap,
        lower=lower,
        upper_slope=lower_slope - lids.aperture * gap_slope,
        lower_slope=lower_slope,
        along=along,
        arch=upper_arch,
    )


def surface_height(lids: Lids, x, y):
    """How far the lids' surface stands in front of the ball's centre (mm) and its slopes d/dx, d/dy."""
    bulge = (lids.top - FACE_HEIGHT) * jnp.exp(-0.5 * (x * x + y * y) / BULGE_WIDTH**2)
    return FACE_HEIGHT + bulge, -bulge * x / BULGE_WIDTH**2, -bulge * y / BULGE_WIDTH**2


def hit_surface(lids: Lids, origin: Vec, direction: Vec):
    """Where rays meet the lids' surface: x and y (mm). Newton's method; three steps reach 1e-3 mm."""
    along = -(lids.top + origin.z) / direction.z
    for _ in range(3):
        point = origin + direction * along
        height, slope_x, slope_y = surface_height(lids, point.x, point.y)
        rate = direction.z + slope_x * direction.x + slope_y * direction.y
        along = along - (point.z + height) / jnp.maximum(rate, 0.1)
    return origin.x + along * direction.x, origin.y + along * direction.y


def opening_distances(edges: Margins, y):
    """Distances (mm) of points inside the opening from the upper and from the lower margin; negative outside."""
    upper = (y - edges.upper) / jnp.sqrt(1.0 + edges.upper_slope**2)
    lower = (edges.lower - y) / jnp.sqrt(1.0 + edges.lower_slope**2)
    return upper, lower


def caruncle_distance(lids: Lids, edges: Margins, x, y):
    """Distance (mm, along x) past the caruncle's border toward the ball; negative on the caruncle."""
    half = 0.5 * (edges.lower - edges.upper) + 0.2
    height = jnp.clip((y - 0.5 * (edges.lower + edges.upper)) / half, -1.0, 1.0)
    # The plica bulges toward the ball in the middle.
    return x - lids.caruncle - 0.7 * (1.0 - height * height)


def landmark_points(lids: Lids) -> Vec:
    """The 16 lid margin and 7 caruncle landmarks in UnityEyes' order, anatomical frame, arrays ``[23]``.

    Margin: 0 at the caruncle, 1 to 7 along the upper lid, 8 the outer corner, 9 to 15 back along the lower
    lid. Caruncle: 0 where it meets the upper margin, 3 the inner corner, 6 where it meets the lower margin.
    """
    outer = lids.inner + lids.width
    share = jnp.arange(1, 8) / 8.0
    start = lids.caruncle
    top_x = start + (outer - start) * share
    bottom_x = top_x[::-1]
    nose_x = start + (lids.inner - start) * jnp.array([0.0, 0.4, 0.8])
    x = jnp.concatenate([start[None] + 0.7, top_x, outer[None], bottom_x, nose_x, lids.inner[None], nose_x[::-1]])
    edges = margins(lids, x)
    middle, line = 0.5 * (edges.upper + edges.lower), CORNER_DROP + lids.tilt * x
    index = jnp.arange(23)
    is_upper = ((index >= 1) & (index <= 7)) | ((index >= 16) & (index <= 18))
    is_corner = (index == 8) | (index == 19)
    y = jnp.where(is_upper, edges.upper, edges.lower)
    y = jnp.where(index == 0, middle, jnp.where(is_corner, line, y))
    height, _, _ = surface_height(lids, x, y)
    return Vec(x, y, -height)


def frame_camera(view: View, capture: Capture, pose: Pose, points: Vec) -> Camera:
    """The camera that frames the eye as the view asks; ``points`` are the lid landmarks."""
    size = jnp.array([view.width, view.height], jnp.float32)
    if view.framing == "crop":
        plane = to_image_plane(pose, points)
        margin, caruncle = plane[:16], plane[16:]
        middle = 0.5 * (margin.min(axis=0) + margin.max(axis=0))
        field = 1.5 * jnp.abs(caruncle[:, 0].mean() - margin[8, 0])
    else:
        middle = jnp.zeros(2)
        field = FIELD_MM[view.framing] / pose.distance
    focal = view.width * capture.scale / field
    return Camera(focal, 0.5 * (size - 1.0) - focal * middle + capture.shift * view.width)


def framed(subject: Subject, capture: Capture, view: View, domain: Domain) -> tuple[Camera, Pose, Vec]:
    """An eye without its picture: the camera in front of it, where it is and looks, and its lid landmarks."""
    pose = stage(eye_pose(capture))
    points = stage(landmark_points(lid_state(subject, capture, pose, domain.lids_follow_gaze)))
    return stage(frame_camera(view, capture, pose, points)), pose, points
