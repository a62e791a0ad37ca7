"""The picture and everything that is true of it, from a Subject and a Capture: one pure function."""

import jax
import jax.numpy as jnp
from flax import struct

from eyegan_jax.gaze import angles_to_vector
from eyegan_jax.simulator import glasses, hair, lids, skin
from eyegan_jax.simulator.domains import Domain
from eyegan_jax.simulator.geometry import (
    Camera,
    Pose,
    circle_points,
    eye_pose,
    fit_ellipse,
    iris_pixels,
    pixel_grid,
    project,
    rays,
    trace,
)
from eyegan_jax.simulator.iris import pupil_ellipse, shade_iris
from eyegan_jax.simulator.lights import (
    directions,
    fresnel,
    irradiance,
    lighting,
    lobe,
    mirrored,
    surroundings,
    to_bands,
    typical_irradiance,
)
from eyegan_jax.simulator.noise import bell, edge, mix, smoothstep, stage
from eyegan_jax.simulator.parameters import Capture, Subject
from eyegan_jax.simulator.populations import capture_table
from eyegan_jax.simulator.sclera import caruncle_color, shade_sclera
from eyegan_jax.simulator.sensor import develop, sense
from eyegan_jax.simulator.vectors import Vec
from eyegan_jax.simulator.views import View

OUTLINE_POINTS = 16  # points that the ellipses are fitted to


class Rendering(struct.PyTreeNode):
    """One picture with its truth. Pixels (x, y), the top-left pixel's centre at (0, 0).

    image: float32 ``[H, W, C]`` in [-1, 1].
    mask: int32 ``[H, W]``, 0 skin (with caruncle), 1 sclera, 2 iris, 3 pupil; lashes and glasses ignored.
    glasses, glints: float32 ``[H, W]`` coverage of the frame, strength of the lamps' reflections.
    margin ``[16, 2]``, caruncle ``[7, 2]``, iris ``[32, 2]``: landmarks in UnityEyes' order; the iris's are
        its whole outline, hidden or not.
    pupil, iris_ellipse: ``[5]`` (cx, cy, semi-major, semi-minor, angle of the major axis from x toward y).
    ball: ``[2]`` projection of the ball's centre.
    gaze: ``[3]`` optical axis in the camera frame, the label; visual_gaze: ``[3]`` the visual axis.
    head: ``[3]`` (pitch, yaw, roll) in radians.
    focal: pixels; distance: mm from the pinhole to the ball's centre.
    """

    image: jax.Array
    mask: jax.Array
    glasses: jax.Array
    glints: jax.Array
    margin: jax.Array
    caruncle: jax.Array
    iris: jax.Array
    pupil: jax.Array
    iris_ellipse: jax.Array
    ball: jax.Array
    gaze: jax.Array
    visual_gaze: jax.Array
    head: jax.Array
    focal: jax.Array
    distance: jax.Array


def visual_axis(subject: Subject, pose: Pose) -> Vec:
    """The line of sight in the anatomical frame: the optical axis turned by kappa, to the nose and up."""
    nasal, up = jnp.tan(subject.kappa[0]), jnp.tan(subject.kappa[1])
    return (pose.axis - nasal * pose.right - up * pose.down).unit()


def shade_eyeball(subject, capture, pose, light, ball, iris, direction, view: View):
    """Radiance ``[H, W, bands]`` of the ball without reflections: white, limbus, iris and pupil."""
    white = shade_sclera(subject, pose, ball.sclera, view)
    normal = ball.sclera.unit()
    lit_white = white * irradiance(light, normal, 0.5)
    # The iris is lit through the cornea, from the side too, and shades little; light gathers opposite the lamp.
    flat = irradiance(light, pose.axis, 0.9)
    if view.look != "visible":
        lit_iris = iris.color * flat
    else:
        lamp = light.direction[0]
        side = ball.outward * lamp.dot(pose.right) + ball.down * lamp.dot(pose.down)
        caustic = -0.35 * jnp.clip(side / subject.iris_radius, -1.0, 1.0)
        lit_iris = iris.color * flat * (1.0 + caustic)[..., None]
    return mix(lit_white, lit_iris, iris.iris[..., None])


def reflections(subject, capture, pose, light, ball, direction, view: View, pixel):
    """What the wet eye mirrors: radiance ``[H, W, bands]``, and the lamps' share of it ``[H, W]``."""
    # Soft at the limbus, so that moving the eye changes the reflections smoothly.
    cornea = smoothstep(0.0, 0.3, ball.rim) * ball.in_cornea
    normal = (ball.normal * cornea + ball.sclera.unit() * (1.0 - cornea)).unit()
    mirror = mirrored(direction, normal)
    strength = fresnel(direction, normal)
    # The sclera is wet too, but rough: it mirrors little of the room.
    sharp = 0.2 + 0.8 * cornea
    room = surroundings(capture, pose, light, mirror) * (capture.reflection * strength * sharp)[..., None]
    # A pixel sees a range of mirror angles: twice its own angle on the cornea.
    spread = pixel / subject.cornea_radius
    size = jnp.sqrt(jnp.square(capture.light_size) + jnp.square(spread))
    dim = jnp.square(capture.light_size / size)
    wet = 0.35 + 0.65 * cornea
    lamps, strengths = 0.0, 0.0
    toward, intensity = (
        (directions(capture.led_angles, pose), capture.led_intensity)
        if view.look == "infrared"
        else (directions(capture.glint_angles, pose), 1.6 * capture.light_intensity)
    )
    color = None if view.look == "infrared" else light.color
    for k in range(len(toward)):
        spot = lobe(mirror, toward[k], size) * wet * dim * intensity[k]
        strengths = strengths + spot
        tint = 1.0 if color is None else color[k] / jnp.maximum(jnp.mean(color[k]), 1e-4)
        lamps = lamps + spot[..., None] * tint
    return room + 1.2 * lamps, strengths


def render(subject: Subject, capture: Capture, view: View, domain: Domain) -> Rendering:
    """Renders one eye. Pure; ``view`` and ``domain`` are static, everything else may be traced, mapped by vmap
    and differentiated (all edges are soft over about a pixel)."""
    pose = stage(eye_pose(capture))
    lid = stage(lids.lid_state(subject, capture, pose, domain.lids_follow_gaze))
    points = stage(lids.landmark_points(lid))
    camera = stage(lids.frame_camera(view, capture, pose, points))
    pixel = capture.distance / camera.focal
    origin, direction = stage(rays(camera, pose, *pixel_grid(view)))
    ball = stage(trace(subject, pose, origin, direction))
    x, y = stage(lids.hit_surface(lid, origin, direction))
    edges = stage(lids.margins(lid, x))
    from_upper, from_lower = lids.opening_distances(edges, y)
    on_ball = lids.caruncle_distance(lid, edges, x, y)
    light = stage(lighting(capture, pose, view.bands))

    iris = stage(shade_iris(subject, capture, ball, view, pixel))
    eye = stage(shade_eyeball(subject, capture, pose, light, ball, iris, direction, view))
    flesh = caruncle_color(subject, view) * irradiance(light, Vec(*jnp.array([0.3, 0.0, -1.0])), 0.5)
    eye = mix(flesh, eye, edge(on_ball, jnp.maximum(pixel, 0.6))[..., None])
    # The upper lid and its lashes shade the ball below them; the corners lie deep.
    depth = jnp.maximum(from_upper, 0.0)
    shadow = 1.0 - capture.lid_shadow * (0.75 * jnp.exp(-depth / 1.5) + 0.25 * jnp.exp(-depth / 4.0))
    corner = smoothstep(-0.02, 0.22, edges.along) * (1.0 - 0.8 * smoothstep(0.75, 1.02, edges.along))
    shadow = shadow * (0.68 + 0.32 * corner) * (1.0 - 0.3 * jnp.exp(-jnp.maximum(from_lower, 0.0) / 0.7))
    eye = eye * shadow[..., None]
    mirror, glints = stage(reflections(subject, capture, pose, light, ball, direction, view, pixel))
    seen = edge(on_ball, pixel) * edge(from_upper - 0.3, jnp.maximum(pixel, 0.5))
    eye = eye + mirror * seen[..., None]
    # The tear film gathers on the lower margin and shines.
    tear = bell(from_lower - 0.2, 0.22) * (0.35 + 0.65 * smoothstep(0.1, 0.5, edges.along))
    eye = eye + (tear * 0.22 * (0.4 + capture.reflection))[..., None] * (light.ambient + 0.5 * light.color[0])

    opening = jnp.clip(edge(from_upper, pixel) + edge(from_lower, pixel) - 1.0, 0.0, 1.0)
    skin_radiance = stage(skin.shade_skin(subject, lid, edges, light, x, y, direction, view, pixel))
    radiance = stage(mix(skin_radiance, eye, opening[..., None]))
    radiance = _add_hair(subject, capture, pose, lid, edges, light, radiance, x, y, view, pixel)
    frame = stage(glasses.frame_coverage(capture, x, y, pixel))
    radiance = _add_glasses(capture, light, radiance, frame, x, y, view, pixel)
    radiance = stage(radiance)
    metered = skin.skin_albedo(subject, view, melanin=capture.metered_melanin - subject.melanin)
    image = _picture(capture, radiance, metered, typical_irradiance(light), view, domain)

    inside = (from_upper > 0.0) & (from_lower > 0.0) & (on_ball > 0.0)
    part = jnp.where(iris.pupil_distance > 0.0, 3, jnp.where(iris.iris_distance > 0.0, 2, 1))
    outlines = _outlines(subject, capture, camera, pose)
    margin_pixels = project(camera, pose, points)
    return Rendering(
        image=image,
        mask=jnp.where(inside, part, 0).astype(jnp.int32),
        glasses=frame,
        glints=jnp.clip(glints, 0.0, 1.0) * seen * opening,
        margin=margin_pixels[:16],
        caruncle=margin_pixels[16:],
        iris=outlines[0],
        pupil=fit_ellipse(outlines[1]),
        iris_ellipse=fit_ellipse(outlines[0]),
        ball=project(camera, pose, Vec(*jnp.zeros(3))),
        gaze=angles_to_vector(capture.gaze),
        visual_gaze=visual_axis(subject, pose).turned(pose.to_camera).array(),
        head=capture.head,
        focal=camera.focal,
        distance=capture.distance,
    )


def _outlines(subject: Subject, capture: Capture, camera: Camera, pose: Pose):
    """Pixels of the iris's outline ``[32, 2]`` and of the pupil's ``[OUTLINE_POINTS, 2]``."""
    center, axes = pupil_ellipse(subject, capture)
    border = circle_points(32, jnp.zeros(2), jnp.stack([subject.iris_radius, subject.iris_radius]))
    pupil = circle_points(OUTLINE_POINTS, center, axes)
    seen = iris_pixels(subject, camera, pose, jnp.concatenate([border, pupil]))
    return seen[:32], seen[32:]


def pupil_center(subject: Subject, capture: Capture, view: View, domain: Domain):
    """Where the pupil's middle is seen ``[2]`` (pixels), by sending the optical axis through the cornea."""
    camera, pose, _ = lids.framed(subject, capture, view, domain)
    return iris_pixels(subject, camera, pose, pupil_ellipse(subject, capture)[0][None])[0]


def _add_hair(subject, capture, pose, lid, edges, light, radiance, x, y, view: View, pixel):
    # An upper lid that is raised, by gaze or by a head tipped back, turns its lashes up.
    lift = 1.1 * jnp.arcsin(jnp.clip(-pose.axis.y * lid.aperture, -0.9, 0.9)) - 0.5 * (1.0 - lid.aperture)
    # The camera as the head sees it: above (negative) or below.
    lift = lift - jnp.arcsin(jnp.clip(pose.to_camera[2, 1], -0.9, 0.9))
    coverage = stage(hair.lash_coverage(subject, lid, edges, lift, x, y, view, pixel))
    brow = hair.brow_coverage(subject, lid, edges, x, y, view)
    color = jnp.full((1,), 0.05) if view.look == "infrared" else to_bands(subject.hair_color, view.bands)
    lit = color * typical_irradiance(light)
    coverage = 1.0 - (1.0 - coverage) * (1.0 - brow)
    return mix(radiance, lit, coverage[..., None])


def _add_glasses(capture, light, radiance, frame, x, y, view: View, pixel):
    lens = glasses.lens_coverage(capture, x, y, pixel)
    radiance = radiance * (1.0 - capture.glasses_tint * lens)[..., None]
    bright = light.ambient + light.color[0]
    glare = lens * glasses.glare_brightness(capture, x, y)
    radiance = radiance + glare[..., None] * bright
    return mix(radiance, capture.glasses_albedo * bright, frame[..., None])


def _picture(capture, radiance, albedo, typical, view: View, domain: Domain):
    if domain.sensor:
        table = capture_table(domain.population, view.look, view.framing)
        picture = sense(capture, radiance, albedo, typical, view, table)
    else:
        picture = develop(capture, radiance, albedo, typical)
    return jnp.broadcast_to(2.0 * picture - 1.0, (view.height, view.width, view.channels))


def render_batch(subjects: Subject, captures: Capture, view: View, domain: Domain, chunk: int = 256) -> Rendering:
    """Renders many eyes (leading axis), ``chunk`` at a time so that memory stays bounded."""
    return jax.lax.map(lambda pair: render(pair[0], pair[1], view, domain), (subjects, captures), batch_size=chunk)
