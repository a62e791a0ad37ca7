"""Two pictures of one person that differ in what a change changes, and in nothing else: the truth of an edit.

The camera stays where it is. A change is a pure function ``(key, subject, capture) -> (subject, capture)``; those of
:data:`CHANGES` have names for configs. Whatever follows from the changed parameters (lids that follow the gaze, moving
reflections, an exposure that adapts) changes with them.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from eyegan_jax.data.sources import DeviceSource
from eyegan_jax.errors import UserError
from eyegan_jax.gaze import angles_to_vector, vector_to_angles
from eyegan_jax.simulator.distributions import RAD
from eyegan_jax.simulator.domains import Domain, find_domain, sample_capture
from eyegan_jax.simulator.geometry import head_rotation
from eyegan_jax.simulator.lids import framed
from eyegan_jax.simulator.motion import ball_motion
from eyegan_jax.simulator.parameters import Capture, Subject
from eyegan_jax.simulator.populations import EYE_IN_HEAD
from eyegan_jax.simulator.render import Rendering, render
from eyegan_jax.simulator.source import find_view, fixed_subject, in_words, labelled, person_number
from eyegan_jax.simulator.views import View

Change = Callable[[jax.Array, Subject, Capture], tuple[Subject, Capture]]


class Shot(struct.PyTreeNode):
    """Pictures with all that they were made from (leading axis); captions and labels on disk need all three."""

    subject: Subject
    capture: Capture
    picture: Rendering


def unchanged(key, subject: Subject, capture: Capture) -> tuple[Subject, Capture]:
    del key
    return subject, capture


def gaze_in_head(capture: Capture):
    """(pitch, yaw) ``[2]`` in radians of the eye in the head; zero looks straight ahead of the face."""
    return vector_to_angles(head_rotation(capture.head).T @ angles_to_vector(capture.gaze))


def _farthest():
    """Largest (pitch, yaw) of an eye in its head that people take, ``[2]`` in radians."""
    return jnp.array([EYE_IN_HEAD["eye_pitch"].high, EYE_IN_HEAD["eye_yaw"].high])


def look_elsewhere(key, subject: Subject, capture: Capture) -> tuple[Subject, Capture]:
    """Another gaze, uniform over what the eye reaches in its head, whatever it was before."""
    in_head = jax.random.uniform(key, (2,), minval=-1.0) * _farthest()
    gaze = vector_to_angles(head_rotation(capture.head) @ angles_to_vector(in_head))
    return subject, dataclasses.replace(capture, gaze=gaze)


def turn(
    key, subject: Subject, capture: Capture, *, degrees: float | jax.Array, directions: int = 32
) -> tuple[Subject, Capture]:
    """Another gaze, ``degrees`` away from the first one in a random direction that the eye can reach.

    Where no direction ends within reach, the one that exceeds it least is taken.
    """
    first = angles_to_vector(capture.gaze)
    # Two unit vectors across the gaze; the eye never looks straight up, so the cross product has a length.
    across = jnp.cross(first, jnp.array([0.0, 1.0, 0.0]))
    across = across / jnp.linalg.norm(across)
    angle = 2.0 * jnp.pi * (jnp.arange(directions) + jax.random.uniform(key)) / directions
    sideways = jnp.cos(angle)[:, None] * across + jnp.sin(angle)[:, None] * jnp.cross(first, across)
    ends = jnp.cos(degrees * RAD) * first + jnp.sin(degrees * RAD) * sideways
    in_head = vector_to_angles(ends @ head_rotation(capture.head))
    beyond = jnp.max(jnp.abs(in_head) / _farthest(), axis=-1)
    # Any of those within reach with the same probability.
    score = jnp.maximum(beyond, 1.0) + 1e-3 * jax.random.uniform(jax.random.fold_in(key, 1), (directions,))
    chosen = jnp.argmin(jnp.where(beyond <= 1.0, score - 1.0, score))
    return subject, dataclasses.replace(capture, gaze=vector_to_angles(ends[chosen]))


def put_on_glasses(key, subject: Subject, capture: Capture, *, chance: float = 1.0) -> tuple[Subject, Capture]:
    """Glasses, with probability ``chance``; frame, tint and glare are those that the capture holds."""
    worn = jnp.where(jax.random.uniform(key) < chance, 1.0, capture.glasses)
    return subject, dataclasses.replace(capture, glasses=worn)


def take_off_glasses(key, subject: Subject, capture: Capture) -> tuple[Subject, Capture]:
    del key
    return subject, dataclasses.replace(capture, glasses=jnp.zeros_like(capture.glasses))


def one_after_another(*changes: Change) -> Change:
    """All of ``changes`` as one."""

    def change(key, subject, capture):
        for i, each in enumerate(changes):
            subject, capture = each(jax.random.fold_in(key, i), subject, capture)
        return subject, capture

    return change


CHANGES: dict[str, Change] = {
    "none": unchanged,
    "gaze": look_elsewhere,
    "gaze_without_glasses": one_after_another(look_elsewhere, take_off_glasses),
    "often_glasses": partial(put_on_glasses, chance=0.3),
    "glasses": put_on_glasses,
    "no_glasses": take_off_glasses,
}
"""Changes that configs name."""


def find_change(change: Change | str) -> Change:
    """A change by its name; raises UserError for an unknown one."""
    if not isinstance(change, str):
        return change
    if change not in CHANGES:
        raise UserError(f"change: expected {', '.join(CHANGES)}, found {change!r}")
    return CHANGES[change]


def with_camera_of(first: tuple[Subject, Capture], second: tuple[Subject, Capture], domain: Domain, view: View):
    """The second capture with the camera of the first, whatever the framing would follow: lids, corners, distance."""
    wanted, found = (framed(*each, view, domain)[0] for each in (first, second))
    capture = second[1]
    size = jnp.array([view.width, view.height], jnp.float32)
    # center = (size - 1) / 2 - focal * middle + shift * width: the middle is what the framing found.
    middle = (0.5 * (size - 1.0) + capture.shift * view.width - found.center) / found.focal
    shift = (wanted.center - 0.5 * (size - 1.0) + wanted.focal * middle) / view.width
    return dataclasses.replace(capture, scale=capture.scale * wanted.focal / found.focal, shift=shift)


def changed(key, subject: Subject, capture: Capture, change: Change, domain: Domain, view: View):
    """What ``change`` makes of ``(subject, capture)``, seen by the same camera."""
    other = change(key, subject, capture)
    return other[0], with_camera_of((subject, capture), other, domain, view)


def draw_pair(key, subject: Subject, domain: Domain, view: View, change: Change, before: Change = unchanged) -> Shot:
    """Two pictures of ``subject``, leading axis 2: circumstances drawn for it, and what ``change`` makes of them.

    before: changes the first picture's parameters; the second starts from the result.
    """
    first, keys = _start(key, subject, domain, view, before)
    return _take([first, changed(keys(0), *first, change, domain, view)], domain, view)


def _start(
    key, subject: Subject, domain: Domain, view: View, before: Change
) -> tuple[tuple[Subject, Capture], Callable[[int], jax.Array]]:
    """The first picture's parameters, and keys for what follows."""
    capture = sample_capture(jax.random.fold_in(key, 0), subject, domain, view)
    first = before(jax.random.fold_in(key, 1), subject, capture)
    return first, lambda i: jax.random.fold_in(jax.random.fold_in(key, 2), i)


def _take(eyes: Sequence[tuple[Subject, Capture]], domain: Domain, view: View) -> Shot:
    """Pictures of all ``eyes``, leading axis. In one go: the renderer is long to compile, once is enough."""
    subjects, captures = jax.tree.map(lambda *leaves: jnp.stack(leaves), *eyes)
    return Shot(subjects, captures, jax.vmap(lambda s, c: render(s, c, view, domain))(subjects, captures))


def pair_source(
    domain: Domain | str,
    view: View | str,
    *,
    change: Change | str,
    before: Change | str = "none",
    seed: int = 0,
    subjects: int | None = None,
    first_subject: int = 0,
    references: int = 0,
    reference_change: Change | str = "gaze",
) -> DeviceSource:
    """An unbounded source of pairs: the fields of :func:`eyegan_jax.simulator.simulator_source`, of both pictures.

    Those of the second picture are called ``target_image``, ``target_mask``, ``target_gaze`` and so on; ``glasses``
    and ``target_glasses``, bool scalars, say whether glasses are worn. ``motion`` float16 ``[H, W, 3]`` is
    :func:`~eyegan_jax.simulator.motion.ball_motion`. Under jit only what is used is computed.

    seed, subjects, first_subject: as of ``simulator_source``; numbers mean the same people there and here.
    references: k > 0 adds ``references`` uint8 ``[k, H, W, C]`` and ``reference_masks`` uint8 ``[k, H, W]``: what
        ``reference_change`` makes of the first picture, k times.
    """
    domain, view = find_domain(domain), find_view(view)
    changes = (change, before, reference_change)  # as named: functions have no words
    recipe = in_words("pairs", domain, view, *changes, seed, subjects, first_subject, references)
    change, before, reference_change = map(find_change, changes)
    if subjects is not None and subjects < 1:
        raise UserError(f"subjects: expected at least 1, found {subjects}")

    def draw(resident, key):
        del resident
        number = person_number(jax.random.fold_in(key, 0), subjects, first_subject)
        subject = fixed_subject(seed, number, domain, view.look)
        first, keys = _start(jax.random.fold_in(key, 1), subject, domain, view, before)
        changes = [change] + [reference_change] * references
        others = [changed(keys(i), *first, each, domain, view) for i, each in enumerate(changes)]
        shots = _take([first, *others], domain, view)
        fields = jax.vmap(labelled)(shots.picture) | {"glasses": shots.capture.glasses > 0.5}
        sample = {name: value[0] for name, value in fields.items()}
        sample |= {f"target_{name}": value[1] for name, value in fields.items()}
        motion = ball_motion(first, others[0], shots.picture.mask[:2], view, domain)
        sample |= {"motion": motion.astype(jnp.float16)}
        if references:
            sample |= {"references": fields["image"][2:], "reference_masks": fields["mask"][2:]}
        return sample | {"subject": number}

    return DeviceSource(draw=draw, recipe=recipe)
