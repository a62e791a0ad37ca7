"""Where every visible point of an eyeball was in another picture of it: the truth that a flow can learn from."""

import jax
import jax.numpy as jnp

from eyegan_jax.simulator.domains import Domain
from eyegan_jax.simulator.geometry import iris_pixels, pixel_grid, project, rays, trace
from eyegan_jax.simulator.iris import OUTSIDE, pupil_ellipse
from eyegan_jax.simulator.lids import framed
from eyegan_jax.simulator.noise import stage
from eyegan_jax.simulator.parameters import Capture, Subject
from eyegan_jax.simulator.vectors import safe_sqrt
from eyegan_jax.simulator.views import View

Eye = tuple[Subject, Capture]


def ball_motion(first: Eye, second: Eye, masks: jax.Array, view: View, domain: Domain) -> jax.Array:
    """Where each pixel of the second picture was in the first, ``[H, W, 3]``: (down, right) in pixels, and 1 or 0.

    ``first`` and ``second`` are one person's eye, masks ``[2, H, W]`` those of the two pictures. The third value is 1
    where the eyeball is seen in both; elsewhere (skin, what a lid hid before) all three are 0. Points of the white turn
    with the ball; points of the iris are seen through the cornea and follow the pupil's border when it widens.
    """
    (camera, pose, _), (then_camera, then_pose, _) = (framed(*eye, view, domain) for eye in (second, first))
    x, y = pixel_grid(view)
    ball = stage(trace(second[0], pose, *rays(camera, pose, x, y)))
    points = jnp.stack([ball.outward, ball.down], axis=-1)
    iris = _before(points, first, second)
    through_cornea = stage(iris_pixels(first[0], then_camera, then_pose, iris.reshape(-1, 2)).reshape(points.shape))
    white = ball.sclera
    turned = (
        then_pose.right * white.dot(pose.right)
        + then_pose.down * white.dot(pose.down)
        + then_pose.axis * white.dot(pose.axis)
    )
    radius = jnp.where(ball.in_cornea, safe_sqrt(jnp.sum(jnp.square(points), axis=-1)), OUTSIDE)
    in_iris = radius < second[0].iris_radius
    was = jnp.where(in_iris[..., None], through_cornea, project(then_camera, then_pose, turned))
    column, row = (jnp.round(was[..., i]).astype(jnp.int32) for i in range(2))
    inside = (row >= 0) & (row < view.height) & (column >= 0) & (column < view.width)
    then = masks[0][jnp.clip(row, 0, view.height - 1), jnp.clip(column, 0, view.width - 1)]
    # A point is seen where both masks have white, or both have iris or pupil.
    seen = inside & (masks[1] > 0) & (then > 0) & ((masks[1] > 1) == in_iris) & ((then > 1) == in_iris)
    flow = jnp.stack([was[..., 1] - y, was[..., 0] - x, jnp.ones_like(x)], axis=-1)
    return jnp.where(seen[..., None], flow, 0.0)


def _before(points, first: Eye, second: Eye):
    """Points ``[..., 2]`` of the iris plane (mm) as they were with the first eye's pupil: the same share of the way."""
    center, now = pupil_ellipse(*second)
    _, then = pupil_ellipse(*first)
    offset = points - center
    from_pupil = safe_sqrt(jnp.sum(jnp.square(offset / now), axis=-1), 1e-6)
    border = second[0].iris_radius
    radius_now, radius_then = second[1].pupil_radius, first[1].pupil_radius
    way = jnp.clip((from_pupil - 1.0) * radius_now / (border - radius_now), 0.0, 1.2)
    was = jnp.where(from_pupil < 1.0, from_pupil, 1.0 + way * (border - radius_then) / radius_then)
    return center + offset / now * then * (was / from_pupil)[..., None]
