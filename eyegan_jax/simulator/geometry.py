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
from eyegan_jax.simulator.vectors import Vec, safe_sqrt, vec
from eyegan_jax.simulator.views import View

# Aqueous humour. One refracting surface with this index stands for cornea and aqueous (Gullstrand's schematic
# eye; the back surface of the cornea changes the iris's magnification by under 1 %).
REFRACTIVE_INDEX = 1.336
NEWTON_STEPS = 5


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


class Pose(struct.PyTreeNode):
    """Where the eye is and looks, in the anatomical frame, and the way back to the camera."""

    to_camera: jax.Array  # [3, 3] anatomical directions to camera directions; orthogonal
    axis: Vec  # unit, optical axis
    right: Vec  # unit, iris plane, outward (away from the nose)
    down: Vec  # unit, iris plane, down
    distance: jax.Array  # mm, pinhole to ball centre


def eye_pose(capture: Capture) -> Pose:
    mirror = jnp.stack([capture.side, jnp.ones_like(capture.side), jnp.ones_like(capture.side)])
    to_camera = head_rotation(capture.head) * mirror
    axis = vec(angles_to_vector(capture.gaze)).turned(to_camera.T)
    # Fick's basis of the iris plane (no torsion), then torsion about the axis.
    right = Vec(-axis.z, jnp.zeros_like(axis.x), axis.x).unit()
    down = right.cross(axis)
    cos, sin = jnp.cos(capture.torsion), jnp.sin(capture.torsion)
    return Pose(to_camera, axis, cos * right + sin * down, cos * down - sin * right, capture.distance)


class Camera(struct.PyTreeNode):
    """Pinhole camera: pixels are ``center + focal * (X, Y) / Z``; the top-left pixel's centre is (0, 0)."""

    focal: jax.Array  # pixels
    center: jax.Array  # [2] principal point, pixels


def to_image_plane(pose: Pose, points: Vec):
    """Anatomical points to normalised image coordinates (X / Z, Y / Z) ``[..., 2]``."""
    point = points.turned(pose.to_camera)
    return jnp.stack([point.x, point.y], axis=-1) / (point.z + pose.distance)[..., None]


def project(camera: Camera, pose: Pose, points: Vec):
    """Anatomical points to pixels ``[..., 2]``, along straight lines (no refraction)."""
    return camera.center + camera.focal * to_image_plane(pose, points)


def rays(camera: Camera, pose: Pose, x, y) -> tuple[Vec, Vec]:
    """Pixels to rays: a point on each (near the eye, for float32's sake) and a unit direction."""
    plane_x, plane_y = (x - camera.center[0]) / camera.focal, (y - camera.center[1]) / camera.focal
    direction = Vec(plane_x, plane_y, jnp.ones_like(plane_x)).unit()
    origin = Vec(plane_x * pose.distance, plane_y * pose.distance, jnp.zeros_like(plane_x))
    return origin.turned(pose.to_camera.T), direction.turned(pose.to_camera.T)


def pixel_grid(view: View):
    """Pixel centres: x and y, each ``[H, W]``."""
    y, x = jnp.meshgrid(jnp.arange(view.height), jnp.arange(view.width), indexing="ij")
    return x.astype(jnp.float32), y.astype(jnp.float32)


def limbus_axial(subject: Subject):
    """Distance of the limbus's plane from the ball's centre in mm: the two spheres meet in that plane."""
    return safe_sqrt(subject.ball_radius**2 - (subject.iris_radius + subject.limbus_margin) ** 2)


def cornea_offset(subject: Subject):
    """Centre of the cornea's sphere in front of the ball's centre in mm, so that both meet at the limbus."""
    limbus = subject.iris_radius + subject.limbus_margin
    return limbus_axial(subject) - safe_sqrt(subject.cornea_radius**2 - limbus**2)


def iris_axial(subject: Subject):
    """Distance of the iris plane from the ball's centre in mm."""
    return cornea_offset(subject) + subject.cornea_radius - subject.iris_depth


def hit_sphere(origin: Vec, direction: Vec, center: Vec, radius) -> tuple[Vec, jax.Array]:
    """First intersection and the squared half chord (mm^2; negative: the ray misses).

    A ray that misses is given its nearest point, so that values and gradients stay finite.
    """
    offset = origin - center
    nearest = offset - direction * offset.dot(direction)
    half_chord = radius * radius - nearest.dot(nearest)
    reach = jnp.where(half_chord > 1e-6, safe_sqrt(half_chord), 0.0)
    return center + nearest - direction * reach, half_chord


class Ball(struct.PyTreeNode):
    """Where rays meet the eyeball."""

    sclera: Vec  # point on the ball
    cornea: Vec  # point on the cornea's sphere
    normal: Vec  # the cornea's outward normal
    in_cornea: jax.Array  # bool
    rim: jax.Array  # mm along the axis, above the limbus's plane
    outward: jax.Array  # mm, where the refracted ray meets the iris plane
    down: jax.Array


def trace(subject: Subject, pose: Pose, origin: Vec, direction: Vec) -> Ball:
    """Intersects rays with ball and cornea and refracts them (Snell) onto the iris plane."""
    sclera, _ = hit_sphere(origin, direction, Vec(*jnp.zeros(3)), subject.ball_radius)
    center = pose.axis * cornea_offset(subject)
    cornea, cornea_chord = hit_sphere(origin, direction, center, subject.cornea_radius)
    normal = (cornea - center) * (1.0 / subject.cornea_radius)
    height = cornea.dot(pose.axis)
    rim = height - limbus_axial(subject)
    in_cornea = (cornea_chord > 0.0) & (rim > 0.0)
    cos_in = jnp.maximum(-direction.dot(normal), 0.0)
    eta = 1.0 / REFRACTIVE_INDEX
    cos_out = safe_sqrt(1.0 - eta * eta * (1.0 - cos_in * cos_in))
    inside = eta * direction + normal * (eta * cos_in - cos_out)
    point = cornea + inside * ((iris_axial(subject) - height) / jnp.minimum(inside.dot(pose.axis), -0.05))
    return Ball(sclera, cornea, normal, in_cornea, rim, point.dot(pose.right), point.dot(pose.down))


def iris_pixels(subject: Subject, camera: Camera, pose: Pose, points):
    """Where points ``[N, 2]`` of the iris plane (mm) are seen through the cornea: pixels ``[N, 2]``.

    Newton's method on :func:`trace`, started from the straight line; the refraction that the picture has is
    thereby also in its labels.
    """

    def seen(pixels):
        ball = trace(subject, pose, *rays(camera, pose, pixels[0], pixels[1]))
        return jnp.stack([ball.outward, ball.down])

    target = points.T
    # The refracted image of the iris is about 1.1 times larger about the axis: a good first guess.
    first = pose.axis * iris_axial(subject) + pose.right * (1.1 * target[0]) + pose.down * (1.1 * target[1])
    limit = 3.0 * camera.focal / pose.distance

    def step(_, pixels):
        value, push = jax.linearize(seen, pixels)
        along_x = push(jnp.stack([jnp.ones_like(pixels[0]), jnp.zeros_like(pixels[0])]))
        along_y = push(jnp.stack([jnp.zeros_like(pixels[0]), jnp.ones_like(pixels[0])]))
        wrong = value - target
        determinant = along_x[0] * along_y[1] - along_y[0] * along_x[1]
        determinant = jnp.where(jnp.abs(determinant) < 1e-9, 1e-9, determinant)
        move_x = (along_y[1] * wrong[0] - along_y[0] * wrong[1]) / determinant
        move_y = (along_x[0] * wrong[1] - along_x[1] * wrong[0]) / determinant
        # At most 3 mm a step: beyond the cornea's rim the mapping is flat and Newton would leap away.
        return pixels - jnp.clip(jnp.stack([move_x, move_y]), -limit, limit)

    start = project(camera, pose, first).T
    return jax.lax.fori_loop(0, NEWTON_STEPS, step, start).T


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
