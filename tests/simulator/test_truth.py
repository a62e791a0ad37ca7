"""The labels against the picture and against optics worked out independently."""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from eyes import CLEAN, CROP, border_distance, drawn, eyes, one, program

from eyegan_jax.gaze import angles_to_vector
from eyegan_jax.simulator import View, pupil_center
from eyegan_jax.simulator.geometry import (
    Camera,
    circle_points,
    cornea_offset,
    eye_pose,
    iris_axial,
    iris_pixels,
    limbus_axial,
    project,
    rays,
    trace,
)

WIDE = View(240, 320, framing="wide")


def straight(captures, **changes):
    """Frontal head and gaze, exact framing, wide open."""
    zero = jnp.zeros_like(captures.gaze)
    plain = captures.replace(
        gaze=zero,
        head=jnp.zeros_like(captures.head),
        torsion=jnp.zeros_like(captures.torsion),
        shift=jnp.zeros_like(captures.shift),
        scale=jnp.ones_like(captures.scale),
        aperture=jnp.ones_like(captures.aperture),
        squint=jnp.zeros_like(captures.squint),
    )
    return plain.replace(**changes)


def test_masks_hold_the_four_classes_and_nothing_else():
    _, _, pictures = eyes()
    assert pictures.mask.dtype == np.int32
    assert set(np.unique(pictures.mask)) == {0, 1, 2, 3}
    one_hot = np.stack([pictures.mask == k for k in range(4)])
    assert (one_hot.sum(axis=0) == 1).all()
    # Reflections lie in the opening; glasses are not worn in this domain.
    assert pictures.glints[pictures.mask == 0].max() < 0.75
    assert pictures.glints.max() > 0.5
    assert pictures.glasses.max() == 0.0


def test_margin_landmarks_lie_on_the_border_of_the_opening():
    _, _, pictures = eyes(view=WIDE)
    distances = []
    for k in range(len(pictures.mask)):
        opening = pictures.mask[k] > 0
        distances += [border_distance(opening, point) for point in pictures.margin[k]]
    # The corners end in a wedge thinner than a pixel, which no mask can show.
    assert np.mean(np.array(distances) < 0.5) > 0.9
    inner = np.array(distances).reshape(-1, 16)[:, [0, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14]]
    assert inner.max() < 0.5


def test_iris_landmarks_and_ellipses_lie_on_the_border_of_iris_and_pupil():
    subjects, captures = drawn(12, WIDE)
    # Without lids in the way the whole outlines show.
    open_wide = dataclasses.replace(CLEAN, lids_follow_gaze=False)
    wide = subjects.replace(
        upper_height=jnp.full(12, 14.0), lower_height=jnp.full(12, 14.0), fissure_width=jnp.full(12, 40.0)
    )
    captures = captures.replace(gaze=0.7 * captures.gaze)
    pictures = jax.device_get(program(WIDE, open_wide)(wide, captures))
    distances = []
    for k in range(12):
        iris, pupil = pictures.mask[k] >= 2, pictures.mask[k] == 3
        distances += [border_distance(iris, point) for point in pictures.iris[k]]
        cx, cy, a, b, angle = pictures.pupil[k]
        t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        x = cx + a * np.cos(t) * np.cos(angle) - b * np.sin(t) * np.sin(angle)
        y = cy + a * np.cos(t) * np.sin(angle) + b * np.sin(t) * np.cos(angle)
        distances += [border_distance(pupil, point) for point in np.stack([x, y], axis=-1)]
        rows, columns = np.nonzero(pupil)
        np.testing.assert_allclose([cx, cy], [columns.mean(), rows.mean()], atol=0.5)
        np.testing.assert_allclose(np.pi * a * b, pupil.sum(), rtol=0.1)
        # The gaze vector, sent through the cornea, ends in the pupil's middle.
        centre = pupil_center(one(wide, k), one(captures, k), WIDE, open_wide)
        np.testing.assert_allclose(centre, [cx, cy], atol=0.5)
    # A mask's border runs along pixels: on a slope it strays up to 0.7 from the true line.
    assert np.quantile(distances, 0.95) < 0.5
    assert max(distances) < 0.75


def snell_by_hand(subject, pose, origin, direction):
    """Refraction in float64 from Snell's law as angles: sin(out) = sin(in) / n."""
    axis = np.array([pose.axis.x, pose.axis.y, pose.axis.z], np.float64)
    centre, radius = float(cornea_offset(subject)) * axis, float(subject.cornea_radius)
    b = direction @ (origin - centre)
    t = -b - np.sqrt(b * b - ((origin - centre) @ (origin - centre) - radius**2))
    hit = origin + t * direction
    normal = (hit - centre) / radius
    angle_in = np.arccos(-direction @ normal)
    tangent = direction + np.cos(angle_in) * normal
    if np.linalg.norm(tangent) > 1e-12:
        tangent /= np.linalg.norm(tangent)
    angle_out = np.arcsin(np.sin(angle_in) / 1.336)
    inside = np.sin(angle_out) * tangent - np.cos(angle_out) * normal
    steps = (float(iris_axial(subject)) - hit @ axis) / (inside @ axis)
    return hit + steps * inside


def test_refraction_obeys_snell():
    subjects, captures = drawn()
    for k in range(4):
        subject, capture = one(subjects, k), one(captures, k)
        pose = eye_pose(capture)
        camera = Camera(jnp.float32(1500.0), jnp.array([36.0, 24.0]))
        middle = np.asarray(project(camera, pose, pose.axis * iris_axial(subject)))
        for move in ([0.0, 0.0], [2.0, 1.0], [-3.0, 2.0]):
            origin, direction = rays(camera, pose, *(jnp.asarray(middle + move, jnp.float32)))
            found = trace(subject, pose, origin, direction)
            right, down = (np.array([v.x, v.y, v.z]) for v in (pose.right, pose.down))
            point = snell_by_hand(subject, pose, *(np.array([v.x, v.y, v.z], np.float64) for v in (origin, direction)))
            np.testing.assert_allclose([found.outward, found.down], [point @ right, point @ down], atol=2e-3)


def test_cornea_magnifies_the_iris_by_7_to_18_percent_and_newton_inverts_the_refraction():
    subjects, captures = drawn()
    subject, capture = one(subjects, 0), one(straight(captures), 0)
    pose, camera = eye_pose(capture), Camera(jnp.float32(3000.0), jnp.zeros(2))
    points = circle_points(16, jnp.zeros(2), jnp.array([2.0, 2.0]))
    pixels = iris_pixels(subject, camera, pose, points)
    seen = trace(subject, pose, *rays(camera, pose, pixels[:, 0], pixels[:, 1]))
    np.testing.assert_allclose(np.stack([seen.outward, seen.down], axis=-1), points, atol=1e-3)
    bare = project(camera, pose, pose.axis * iris_axial(subject) + pose.right * points[:, 0] + pose.down * points[:, 1])
    magnification = np.linalg.norm(pixels - pixels.mean(0), axis=-1) / np.linalg.norm(bare - bare.mean(0), axis=-1)
    # Gullstrand's schematic eye gives 1.13 for a pupil 3.6 mm behind the apex.
    assert magnification.min() > 1.07 and magnification.max() < 1.18


def test_limbus_is_where_the_spheres_meet():
    """Spheres of radius 12 and 7.8 with centres 5.6 apart meet 10.23 from the ball's centre, at radius 6.28."""
    subject = one(drawn()[0], 0).replace(
        ball_radius=jnp.float32(12.0),
        cornea_radius=jnp.float32(7.8),
        iris_radius=jnp.float32(5.55),
        limbus_margin=jnp.float32(6.28 - 5.55),
    )
    assert float(limbus_axial(subject)) == pytest.approx(10.23, abs=0.01)
    assert float(cornea_offset(subject)) == pytest.approx(5.6, abs=0.02)


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("pitch,yaw,move", [(0, 20, (-1, 0)), (0, -20, (1, 0)), (15, 0, (0, -1)), (-15, 0, (0, 1))])
def test_gaze_moves_the_pupil_the_right_way_and_as_far_as_the_ball_turns(pitch, yaw, move, side):
    subjects, captures = drawn()
    subject = one(subjects, 1)
    capture = one(straight(captures, side=jnp.full(16, side)), 1)
    run = program(WIDE, CLEAN, vmapped=False)
    turned = capture.replace(gaze=jnp.deg2rad(jnp.array([pitch, yaw], jnp.float32)))
    before, after = run(subject, capture), run(subject, turned)
    np.testing.assert_allclose(after.gaze, angles_to_vector(turned.gaze), atol=1e-6)
    moved = np.asarray(after.pupil[:2] - before.pupil[:2])
    along = moved @ np.array(move, np.float32)
    millimetres = along * float(after.distance / after.focal)
    # The iris turns about the ball's centre; refraction makes it seem about 10 % further out.
    expected = float(iris_axial(subject)) * np.sin(np.deg2rad(abs(pitch + yaw)))
    assert expected < millimetres < 1.25 * expected
    assert abs(moved @ np.array(move[::-1])) < 0.15 * along


def test_mirrored_eye_is_the_mirrored_picture():
    subjects, captures = drawn()
    subject, capture = one(subjects, 2), one(captures, 2)
    flip = jnp.array([1.0, -1.0])
    other = capture.replace(
        side=-capture.side,
        gaze=capture.gaze * flip,
        head=capture.head * jnp.array([1.0, -1.0, -1.0]),
        shift=capture.shift * jnp.array([-1.0, 1.0]),
        light_angles=capture.light_angles * flip,
        glint_angles=capture.glint_angles * flip,
        window=capture.window * jnp.array([1.0, -1.0, 1.0, 1.0]),
    )
    run = program(CROP, CLEAN, vmapped=False)
    here, there = run(subject, capture), run(subject, other)
    np.testing.assert_allclose(here.image[:, ::-1], there.image, atol=0.02)
    assert np.mean(np.asarray(here.mask[:, ::-1]) == np.asarray(there.mask)) > 0.998
    np.testing.assert_allclose(here.gaze * np.array([-1, 1, 1]), there.gaze, atol=1e-6)
    np.testing.assert_allclose(71 - here.margin[:, 0], there.margin[:, 0], atol=1e-2)


def test_glint_moves_less_than_the_pupil_and_sits_where_the_mirror_law_puts_it():
    view = View(200, 266, framing="wide")
    subjects, captures = drawn()
    subject = one(subjects, 3)
    lamp = jnp.deg2rad(jnp.array([[20.0, 10.0], [0.0, 0.0]]))
    capture = one(straight(captures), 3).replace(
        light_angles=lamp,
        glint_angles=lamp,
        light_intensity=jnp.array([1.0, 0.0]),
        light_size=jnp.float32(0.03),
    )
    run = program(view, CLEAN, vmapped=False)

    def spot(rendering):
        weight = np.asarray(rendering.glints)
        y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
        return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()

    first = run(subject, capture)
    # Half way between lamp and camera stands the normal there: c + R n.
    toward = np.array(
        [
            np.cos(lamp[0, 0]) * np.sin(lamp[0, 1]),
            -np.sin(lamp[0, 0]),
            -np.cos(lamp[0, 0]) * np.cos(lamp[0, 1]),
        ]
    )
    normal = toward + np.array([0.0, 0.0, -1.0])
    normal /= np.linalg.norm(normal)
    point = np.array([0.0, 0.0, -float(cornea_offset(subject))]) + float(subject.cornea_radius) * normal
    pixel = np.asarray(first.ball) + float(first.focal) * point[:2] / (point[2] + float(first.distance))
    np.testing.assert_allclose(spot(first), pixel, atol=1.0)
    turned = run(subject, capture.replace(gaze=jnp.deg2rad(jnp.array([0.0, 8.0]))))
    pupil = float(turned.pupil[0] - first.pupil[0])
    glint = (spot(turned) - spot(first))[0]
    assert pupil < -3.0
    assert 0.3 < glint / pupil < 0.75


def test_closed_lids_hide_the_eye_and_landmarks_meet():
    subjects, captures = drawn()
    closed = captures.replace(aperture=jnp.zeros(16))
    pictures = jax.device_get(program(CROP, CLEAN)(subjects, closed))
    assert (pictures.mask == 0).all()
    np.testing.assert_allclose(pictures.margin[:, 1:8], pictures.margin[:, 15:8:-1], atol=0.05)


def test_visual_axis_points_to_the_nose_by_kappa():
    subjects, _, pictures = eyes()
    angle = np.degrees(np.arccos(np.clip((pictures.gaze * pictures.visual_gaze).sum(-1), -1, 1)))
    expected = np.degrees(np.arctan(np.linalg.norm(np.tan(subjects.kappa), axis=-1)))
    np.testing.assert_allclose(angle, expected, atol=0.1)
    # The inner corner is at image-left: the visual axis points further left.
    turned = subjects.kappa[:, 0] > np.deg2rad(1.0)
    assert (pictures.visual_gaze[turned, 0] < pictures.gaze[turned, 0]).all()
    np.testing.assert_allclose(np.linalg.norm(pictures.visual_gaze, axis=-1), 1.0, atol=1e-5)
