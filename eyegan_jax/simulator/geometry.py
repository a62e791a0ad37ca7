"""Camera, ball, cornea and iris plane: rays in, points on the iris out, and back.

Everything is computed in the *anatomical frame*: origin at the ball's centre, x from the nose outward, y down,
z into the head. It is the head's frame, mirrored where the eye sits on the other side; the camera frame is
reached through :class:`Pose`.
"""

import jax
import jax.numpy as jnp
from flax import struct

from eyegan_jax.gaze import angles_to_vector
from eyegan_jax.simulator.parameters import Capture, Subject
from eyegan_jax.simulator.views import View

# Aqueous humour. One refracting surface with this index stands for cornea and aqueous (Gullstrand's schematic
# eye; the back surface of the cornea changes the iris's magnification by under 1 %).
REFRACTIVE_INDEX = 1.336
NEWTON_STEPS = 5


def dot(a, b):
    return jnp.sum(a * b, axis=-1)


def unit(vector):
    return vector / jnp.sqrt(jnp.maximum(dot(vector, vector), 1e-12))[..., None]


def safe_sqrt(x, floor=1e-6):
    """Square root with a finite gradient: arguments below ``floor`` are held there."""
    return jnp.sqrt(jnp.maximum(x, floor))


def head_rotation(head):
    """Rotation ``[3, 3]`` from head to camera: roll about z, then pitch about x, then yaw about y.

    Signs follow the gaze convention: positive pitch turns the face up, positive yaw to the viewer's left,
    positive roll clockwise in the image.
    """
    pitch, yaw, roll = head[0], head[1], head[2]
    (cp, sp), (cy, sy), (cr, sr) = ((jnp.cos(a), jnp.sin(a)) for a in (pitch, yaw, roll))
    zero, one = jnp.zeros_like(pitch), jnp.ones_like(pitch)
    about_x = jnp.stack([one, zero, zero, zero, cp, sp, zero, -sp, cp]).reshape(3, 3)
    about_y = jnp.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy]).reshape(3, 3)
    about_z = jnp.stack([cr, -sr, zero, sr, cr, zero, zero, zero, one]).reshape(3, 3)
    return about_z @ about_y @ about_x


@struct.dataclass
class Pose:
    """Where the eye is and looks, in the anatomical frame, and the way back to the camera."""

    to_camera: jax.Array  # [3, 3] anatomical directions to camera directions
    axis: jax.Array  # [3] unit, optical axis
    right: jax.Array  # [3] unit, iris plane, outward (away from the nose)
    down: jax.Array  # [3] unit, iris plane, down
    distance: jax.Array  # mm, pinhole to ball centre


def eye_pose(capture: Capture) -> Pose:
    mirror = jnp.stack([capture.side, jnp.ones_like(capture.side), jnp.ones_like(capture.side)])
    to_camera = head_rotation(capture.head) * mirror
    axis = angles_to_vector(capture.gaze) @ to_camera
    # Fick's basis of the iris plane (no torsion), then torsion about the axis.
    right = unit(jnp.stack([-axis[2], jnp.zeros_like(axis[0]), axis[0]]))
    down = jnp.cross(right, axis)
    cos, sin = jnp.cos(capture.torsion), jnp.sin(capture.torsion)
    return Pose(to_camera, axis, cos * right + sin * down, cos * down - sin * right, capture.distance)


@struct.dataclass
class Camera:
    """Pinhole camera: pixels are ``center + focal * (X, Y) / Z``; the top-left pixel's centre is (0, 0)."""

    focal: jax.Array  # pixels
    center: jax.Array  # [2] principal point, pixels


def to_image_plane(pose: Pose, points):
    """Anatomical points ``[..., 3]`` to normalised image coordinates (X / Z, Y / Z) ``[..., 2]``."""
    camera_points = points @ pose.to_camera.T
    return camera_points[..., :2] / (camera_points[..., 2:] + pose.distance)


def project(camera: Camera, pose: Pose, points):
    """Anatomical points ``[..., 3]`` to pixels ``[..., 2]``, straight lines (no refraction)."""
    return camera.center + camera.focal * to_image_plane(pose, points)


def rays(camera: Camera, pose: Pose, pixels):
    """Pixels ``[..., 2]`` to rays: a point on each (near the eye, for float32's sake) and a unit direction."""
    plane = (pixels - camera.center) / camera.focal
    one = jnp.ones_like(plane[..., :1])
    direction = unit(jnp.concatenate([plane, one], axis=-1))
    origin = jnp.concatenate([plane * pose.distance, jnp.zeros_like(one)], axis=-1)
    return origin @ pose.to_camera, direction @ pose.to_camera


def pixel_grid(view: View):
    """Pixel centres ``[H, W, 2]`` as (x, y)."""
    y, x = jnp.meshgrid(jnp.arange(view.height), jnp.arange(view.width), indexing="ij")
    return jnp.stack([x, y], axis=-1).astype(jnp.float32)


def limbus_axial(subject: Subject):
    """Distance of the limbus's plane from the ball's centre: where the two spheres meet, in mm."""
    r, c, k = subject.ball_radius, subject.cornea_radius, subject.cornea_offset
    return (r * r - c * c + k * k) / (2.0 * k)


def iris_axial(subject: Subject):
    """Distance of the iris plane from the ball's centre in mm."""
    return subject.cornea_offset + subject.cornea_radius - subject.iris_depth


def hit_sphere(origin, direction, center, radius):
    """First intersection ``[..., 3]`` and the squared half chord ``[...]`` (negative: the ray misses).

    A ray that misses is given its nearest point, so that values and gradients stay finite.
    """
    offset = origin - center
    along = dot(offset, direction)
    nearest = offset - along[..., None] * direction
    half_chord = radius * radius - dot(nearest, nearest)
    reach = jnp.where(half_chord > 1e-6, safe_sqrt(half_chord), 0.0)
    return center + nearest - reach[..., None] * direction, half_chord


@struct.dataclass
class Ball:
    """Where rays meet the eyeball."""

    sclera: jax.Array  # [..., 3] point on the ball
    sclera_hit: jax.Array  # [...] mm^2, squared half chord; negative where the ray misses
    cornea: jax.Array  # [..., 3] point on the cornea's sphere
    normal: jax.Array  # [..., 3] the cornea's outward normal
    in_cornea: jax.Array  # [...] bool
    iris: jax.Array  # [..., 2] mm, (outward, down) where the refracted ray meets the iris plane


def trace(subject: Subject, pose: Pose, origin, direction) -> Ball:
    """Intersects rays ``[..., 3]`` with ball and cornea and refracts them (Snell) onto the iris plane."""
    sclera, half_chord = hit_sphere(origin, direction, jnp.zeros(3), subject.ball_radius)
    center = subject.cornea_offset * pose.axis
    cornea, cornea_chord = hit_sphere(origin, direction, center, subject.cornea_radius)
    normal = (cornea - center) / subject.cornea_radius
    in_cornea = (cornea_chord > 0.0) & (dot(cornea, pose.axis) > limbus_axial(subject))
    cos_in = jnp.maximum(-dot(direction, normal), 0.0)
    eta = 1.0 / REFRACTIVE_INDEX
    cos_out = safe_sqrt(1.0 - eta * eta * (1.0 - cos_in * cos_in))
    inside = eta * direction + (eta * cos_in - cos_out)[..., None] * normal
    steps = (iris_axial(subject) - dot(cornea, pose.axis)) / jnp.minimum(dot(inside, pose.axis), -0.05)
    point = cornea + steps[..., None] * inside
    iris = jnp.stack([dot(point, pose.right), dot(point, pose.down)], axis=-1)
    return Ball(sclera, half_chord, cornea, normal, in_cornea, iris)


def iris_pixels(subject: Subject, camera: Camera, pose: Pose, points):
    """Where points ``[N, 2]`` of the iris plane (mm) are seen through the cornea: pixels ``[N, 2]``.

    Newton's method on :func:`trace`, started from the straight line; the refraction that the picture has is
    thereby also in its labels.
    """

    def seen(pixel):
        return trace(subject, pose, *rays(camera, pose, pixel)).iris

    def solve(point):
        # The refracted image of the iris is about 1.1 times larger about the axis: a good first guess.
        enlarged = 1.1 * (point[0] * pose.right + point[1] * pose.down)
        start = project(camera, pose, iris_axial(subject) * pose.axis + enlarged)

        def step(_, pixel):
            value, jacobian = seen(pixel) - point, jax.jacfwd(seen)(pixel)
            (a, b), (c, d) = jacobian
            determinant = a * d - b * c
            determinant = jnp.where(jnp.abs(determinant) < 1e-9, 1e-9, determinant)
            move = jnp.stack([d * value[0] - b * value[1], a * value[1] - c * value[0]]) / determinant
            # At most 3 mm a step: beyond the cornea's rim the mapping is flat and Newton would leap away.
            limit = 3.0 * camera.focal / pose.distance
            return pixel - jnp.clip(move, -limit, limit)

        return jax.lax.fori_loop(0, NEWTON_STEPS, step, start)

    return jax.vmap(solve)(points)


def circle_points(count, center, semi_axes):
    """``count`` points ``[count, 2]`` around an ellipse of the iris plane, from outward toward down."""
    angle = jnp.arange(count) * (2.0 * jnp.pi / count)
    return center + jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1) * semi_axes


def fit_ellipse(points):
    """Ellipse (cx, cy, a, b, angle) ``[5]`` of ``[N, 2]`` points evenly spaced in their own parameter.

    ``p(t) = c + A (cos t, sin t)``: the first Fourier coefficients give c and A, A's singular values the
    semi-axes a >= b and its left singular vector the major axis's angle from x toward y (down), in (-pi/2, pi/2].
    """
    t = jnp.arange(points.shape[0]) * (2.0 * jnp.pi / points.shape[0])
    center = points.mean(axis=0)
    cosines = 2.0 * jnp.mean((points - center) * jnp.cos(t)[:, None], axis=0)
    sines = 2.0 * jnp.mean((points - center) * jnp.sin(t)[:, None], axis=0)
    # A A^T = [[xx, xy], [xy, yy]]
    xx, yy = cosines[0] ** 2 + sines[0] ** 2, cosines[1] ** 2 + sines[1] ** 2
    xy = cosines[0] * cosines[1] + sines[0] * sines[1]
    middle, spread = 0.5 * (xx + yy), safe_sqrt(0.25 * (xx - yy) ** 2 + xy * xy, 1e-12)
    angle = 0.5 * jnp.arctan2(2.0 * xy, jnp.where((xy == 0.0) & (xx == yy), 1.0, xx - yy))
    major, minor = safe_sqrt(middle + spread), safe_sqrt(middle - spread)
    return jnp.stack([center[0], center[1], major, minor, angle])
