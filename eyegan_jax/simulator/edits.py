"""Edits that a sentence can ask for: pairs of pictures that differ by a few clauses, and the sentences.

An edit moves the parameters behind an attribute into the middle of another bin. What follows from that (lids that
follow the gaze) follows in the picture, and the sentence mentions it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.data.augmentation import mirrored_pair
from eyegan_jax.data.sources import DeviceSource
from eyegan_jax.errors import UserError
from eyegan_jax.images import to_uint8
from eyegan_jax.simulator.caption_tokens import (
    CLAUSES,
    SIZES,
    attribute_mask,
    choose_clauses,
    falsify,
    first_few,
    mirrored_bins,
    sentence,
)
from eyegan_jax.simulator.captions import ATTRIBUTES, BINS, UNSAID, bin_numbers, lid_opening
from eyegan_jax.simulator.distributions import RAD
from eyegan_jax.simulator.domains import Domain, find_domain
from eyegan_jax.simulator.geometry import project
from eyegan_jax.simulator.lids import framed
from eyegan_jax.simulator.motion import ball_motion
from eyegan_jax.simulator.noise import stage
from eyegan_jax.simulator.pairs import Shot, draw_pair
from eyegan_jax.simulator.parameters import Capture, Subject
from eyegan_jax.simulator.populations import IRIS_COLORS
from eyegan_jax.simulator.source import find_view, fixed_subject, in_words, person_number
from eyegan_jax.simulator.views import View

Setter = Callable[[jax.Array, jax.Array, Subject, Capture], tuple[Subject, Capture]]

YAW = [(-2.5, 2.5), (5.5, 10.5), (14.0, 20.0), (24.0, 30.0)]
PITCH = [(-2.5, 2.5), (5.0, 9.0), (11.5, 16.5), (19.5, 24.0)]

RANGES: dict[str, Sequence[tuple[float, float]]] = {
    "gaze yaw": [*YAW, *((-high, -low) for low, high in YAW[1:])],  # degrees
    "gaze pitch": [*PITCH, *((-high, -low) for low, high in PITCH[1:])],
    "pupil": [(0.20, 0.27), (0.34, 0.45), (0.55, 0.68)],  # over the iris
    "lid": [(0.0, 0.005), (0.05, 0.11), (0.155, 0.215), (0.28, 0.38), (0.45, 0.55)],  # height over width
    "light": [(0.28, 0.45), (0.68, 0.88), (1.25, 1.75)],  # as the picture shows it
    "tint": [(0.45, 0.80), (-0.80, -0.45)],
    "skin": [(0.0, 0.09), (0.15, 0.22), (0.28, 0.35), (0.41, 0.49), (0.56, 0.63), (0.70, 0.80)],  # melanin
    "lashes": [(0.25, 0.60), (1.00, 1.40)],
    "brow": [(0.20, 0.45), (0.75, 0.95)],
}
"""What an edit sets, bin by bin, away from the bins' edges: a picture shows which side it is on."""

WEIGHTS = {"lid": (0.5, 0.5, 1.0, 3.0, 1.5), "glasses": (2.0, 1.0, 1.0, 1.0)}
"""Relative frequencies of bins, where they are not all equal: a closed eye shows little else."""

GLASSES = {"glasses_frame": (0.0, 1.0, 20.0, 11.5), "glasses_albedo": 0.04, "glare_box": (7.0, -5.0, 5.0, 3.5)}
"""The dark glasses that an edit puts on: fields of Capture."""

EDITABLE = (
    "gaze yaw",
    "gaze pitch",
    "iris",
    "pupil",
    "lid",
    "light",
    "light from",
    "tint",
    "skin",
    "glasses",
    "lashes",
    "brow",
)
"""In the order in which they are set: the lids are opened for the gaze that the eye then has."""


@dataclass(frozen=True)
class Editor:
    """Sets attributes of eyes that are seen by ``view``; hashable."""

    domain: Domain
    view: View

    def opening(self, subject: Subject, capture: Capture) -> jax.Array:
        """:func:`~eyegan_jax.simulator.captions.lid_opening` without rendering."""
        camera, pose, points = framed(subject, capture, self.view, self.domain)
        return stage(lid_opening(project(camera, pose, points)[:16]))

    def numbers(self, subject: Subject, capture: Capture, opening: jax.Array) -> jax.Array:
        """Bin numbers ``[A]`` of one eye."""
        return bin_numbers({**vars(subject), **vars(capture), "opening": opening}, self.view.look)

    def set_bins(self, key, wanted: jax.Array, subject: Subject, capture: Capture) -> tuple[Subject, Capture]:
        """The eye with every attribute in bin ``wanted [A]``, UNSAID leaves it as it is. Only EDITABLE ones are set."""
        # One draw for all: dozens of small ones would take longer to compile than the renderer.
        u = stage(jax.random.uniform(key, (len(ATTRIBUTES), 2)))
        for attribute in EDITABLE:
            i = ATTRIBUTES.index(attribute)
            changed = self._set(attribute, u[i], wanted[i], subject, capture)
            subject, capture = jax.tree.map(
                lambda new, old, wanted=wanted[i]: old if new is old else jnp.where(wanted == UNSAID, old, new),
                changed,
                (subject, capture),
            )
        return subject, capture

    def _set(self, attribute: str, u, number, subject: Subject, capture: Capture) -> tuple[Subject, Capture]:
        """The eye with ``attribute`` in bin ``number``; where in it is decided by ``u [2]`` in [0, 1]."""

        def of(part, **values):
            return dataclasses.replace(part, **values)

        number = jnp.maximum(number, 0)
        low, high = jnp.asarray(RANGES.get(attribute, [(0.0, 1.0)] * 9), jnp.float32)[number]
        value = low + u[0] * (high - low)
        match attribute:
            case "gaze yaw":
                return subject, of(capture, gaze=jnp.stack([capture.gaze[0], value * RAD]))
            case "gaze pitch":
                return subject, of(capture, gaze=jnp.stack([value * RAD, capture.gaze[1]]))
            case "pupil":
                return subject, of(capture, pupil_radius=value * subject.iris_radius)
            case "lid":
                # The opening is nearly proportional to the aperture.
                now = self.opening(subject, of(capture, aperture=jnp.ones_like(capture.aperture)))
                return subject, of(capture, aperture=value / jnp.maximum(now, 0.05))
            case "iris":
                color = jnp.asarray(IRIS_COLORS, jnp.float32)[number] * (0.9 + 0.2 * value)
                return of(subject, iris_kind=number.astype(jnp.int32), iris_color=color), capture
            case "light":
                by = value / (capture.ambient + capture.light_intensity[0])
                # Exposed as ordinary light is: an exposure that adapts would hide what the sentence asks for.
                return subject, of(
                    capture,
                    ambient=by * capture.ambient,
                    light_intensity=by * capture.light_intensity,
                    exposure=capture.adaptation * jnp.log2(value),
                )
            case "light from":
                elevation = jnp.where(number == 2, 55.0 + 15.0 * u[0], 25.0 * u[0])
                azimuth = jnp.where(number == 2, 30.0 * (u[1] - 0.5), (50.0 + 20.0 * u[1]) * (2.0 * number - 1.0))
                angles = capture.light_angles.at[0].set(jnp.stack([elevation, azimuth]) * RAD)
                strong = capture.light_intensity.at[0].max(0.8).at[1].multiply(0.5)
                return subject, of(capture, light_angles=angles, glint_angles=angles, light_intensity=strong)
            case "tint":
                return subject, of(
                    capture, light_warmth=jnp.full_like(capture.light_warmth, value) - capture.white_balance
                )
            case "skin":
                # Exposed as the skin before it was: an exposure that adapts would brighten the eye instead.
                return of(subject, melanin=value), capture
            case "glasses":
                thick = jnp.where(number == 1, 0.9 + 0.8 * u[0], 2.4 + 1.0 * u[0])
                glare = jnp.where(number == 3, 0.15 + 0.2 * u[1], 0.0)
                worn = jnp.where(number == 0, 0.0, 1.0)
                return subject, of(capture, glasses=worn, glasses_thickness=thick, glare=glare)
            case "lashes":
                return of(subject, lash_density=value), capture
            case "brow":
                return of(subject, brow_density=value), capture
        raise UserError(f"edits: expected one of {', '.join(EDITABLE)}, found {attribute!r}")

    def prepare(self, attributes: Sequence[str], chance: float):
        """A change that puts each of ``attributes`` into a random bin with probability ``chance``."""

        def before(key, subject: Subject, capture: Capture):
            keys = folded(key, 3)
            redrawn = jax.random.uniform(keys[0], (len(ATTRIBUTES),)) < chance
            wanted = other_bins(keys[1], jnp.full(len(ATTRIBUTES), UNSAID))
            wanted = jnp.where(redrawn & attribute_mask(attributes), wanted, UNSAID)
            subject, capture = self.set_bins(keys[2], wanted, subject, capture)
            return subject, dataclasses.replace(capture, metered_melanin=subject.melanin)

        return before

    def edit(self, attributes: Sequence[str], most: int, same: float):
        """A change that moves 1 to ``most`` visible ``attributes`` to other bins; none with probability ``same``."""

        def change(key, subject: Subject, capture: Capture):
            now = self.numbers(subject, capture, self.opening(subject, capture))
            # What is unsaid for want of a direction or tint may get one; what a closed lid hides may not.
            optional = attribute_mask(("light from", "tint"))
            keys = folded(key, 3)
            u = jax.random.uniform(keys[0], (len(ATTRIBUTES) + 2,))
            count = jnp.where(u[-1] < same, 0, 1 + (u[-2] * most).astype(int))
            candidates = jnp.asarray(attribute_mask(attributes)) & ((now != UNSAID) | optional)
            wanted = jnp.where(first_few(u[:-2], candidates, count), other_bins(keys[1], now), UNSAID)
            # No sentence says what glasses look like: those that an edit puts on are always the same.
            worn = capture.glasses > 0.5
            form = {name: jnp.where(worn, getattr(capture, name), jnp.array(v)) for name, v in GLASSES.items()}
            capture = dataclasses.replace(capture, **form)
            return self.set_bins(keys[2], wanted, subject, capture)

        return change


def _bin_weights() -> np.ndarray:
    """``[A, bins]``: relative frequency of every bin, 0 where an attribute has fewer."""
    weights = np.zeros((len(ATTRIBUTES), SIZES.max()), np.float32)
    for a, (attribute, names) in enumerate(BINS.items()):
        weights[a, : len(names)] = WEIGHTS.get(attribute, 1.0)
    return weights


BIN_WEIGHTS = _bin_weights()


EXTRA = 0.3
"""Probability with which an instruction also states something that stays as it is."""


def folded(key, count: int) -> jax.Array:
    """``fold_in(key, i)`` for i below ``count``, compiled as one operation."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))


def other_bins(key, now: jax.Array) -> jax.Array:
    """For every attribute a random bin that differs from ``now [A]``; any bin where that is UNSAID."""
    current = jnp.arange(BIN_WEIGHTS.shape[1]) == now[:, None]
    return jax.random.categorical(key, jnp.where(current, -jnp.inf, jnp.log(jnp.asarray(BIN_WEIGHTS))))


def edit_source(
    domain: Domain | str,
    view: View | str,
    *,
    attributes: Sequence[str] = EDITABLE,
    most: int = 2,
    same: float = 0.1,
    prepared: float = 0.5,
    seed: int = 0,
    subjects: int | None = None,
    first_subject: int = 0,
    references: int = 0,
) -> DeviceSource:
    """An unbounded source of edits: uint8 ``image`` and ``target_image [H, W, C]``, their bins, ``subject`` int32.

    ``bins`` and ``target_bins`` int32 ``[A]`` number the bin of every attribute (see ``captions.bin_numbers``);
    ``motion`` float16 ``[H, W, 3]`` is :func:`~eyegan_jax.simulator.motion.ball_motion`.

    attributes: which ones are edited. most: of them, in one edit. same: share of pairs without any edit.
    prepared: probability with which each attribute of the first picture is drawn evenly over its bins, not as the
        domain draws it. seed, subjects, first_subject: as of ``simulator_source``. There are no references.
    """
    if references:
        raise UserError(f"references: expected none for edits, found {references}")
    domain, view = find_domain(domain), find_view(view)
    unknown = [attribute for attribute in attributes if attribute not in EDITABLE]
    if unknown or not attributes:
        raise UserError(f"attributes: expected some of {', '.join(EDITABLE)}, found {', '.join(unknown) or 'none'}")
    editor = Editor(domain, view)
    change, before = editor.edit(attributes, most, same), editor.prepare(attributes, prepared)

    def draw(resident, key):
        del resident
        number = person_number(jax.random.fold_in(key, 0), subjects, first_subject)
        subject = fixed_subject(seed, number, domain, view.look)
        shot: Shot = draw_pair(jax.random.fold_in(key, 1), subject, domain, view, change, before)
        found = jax.vmap(lambda s, c, margin: editor.numbers(s, c, lid_opening(margin)))(
            shot.subject, shot.capture, shot.picture.margin
        )
        images = to_uint8(shot.picture.image)
        first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], (shot.subject, shot.capture)) for i in range(2))
        motion = ball_motion(first, second, shot.picture.mask, view, domain)
        return {
            "image": images[0],
            "target_image": images[1],
            "bins": found[0],
            "target_bins": found[1],
            "motion": motion.astype(jnp.float16),
            "subject": number,
        }

    edited = (tuple(attributes), most, same, prepared)
    return DeviceSource(draw, recipe=in_words("edits", domain, view, *edited, seed, subjects, first_subject))


def changed_clauses(before: jax.Array, after: jax.Array, allowed) -> jax.Array:
    """bool ``[A]``: the attributes that an instruction from one picture to the other has to mention."""
    return (before != after) & (after != UNSAID) & allowed


def say_edit(key, sample, attributes: Sequence[str], alike: bool = False) -> dict[str, jax.Array]:
    """The sentences of one edit, int32 ``[LENGTH]`` each, new ones for every key.

    ``text`` asks for the second picture: all that changed and now and then something that stays. ``own`` states
    clauses of the first picture, up to four or, if ``alike``, as many as ``text``; ``wrong`` too, but for one that is
    false. Only ``attributes`` are mentioned. ``text_bins`` int32 ``[A]``: the bins that the first states, UNSAID
    elsewhere.
    """
    before, after = sample["bins"], sample["target_bins"]
    allowed = attribute_mask(attributes)
    keys = folded(key, 5)
    changed = changed_clauses(before, after, allowed)
    u = jax.random.uniform(keys[0], (len(ATTRIBUTES) + 1,))
    extra = jnp.where(changed.any(), (u[-1] < EXTRA).astype(int), 2)
    kept = first_few(u[:-1], jnp.asarray(allowed) & (after != UNSAID) & ~changed, extra)
    least, most = 2 * [(changed | kept).sum()] if alike else (1, CLAUSES - 2)
    told = choose_clauses(keys[1], before, jnp.asarray(allowed), least, most)
    # The last two by the same key: they differ by the words of one clause.
    texts = jax.vmap(sentence)(
        keys[jnp.array([2, 3, 3])],
        jnp.stack([after, before, falsify(keys[4], before, told)]),
        jnp.stack([changed | kept, told, told]),
    )
    stated = jnp.where(changed | kept, after, UNSAID)
    return dict(zip(("text", "own", "wrong"), texts, strict=True)) | {"text_bins": stated}


def mirrored(sample: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """One pair without sentences as in a mirror: a left eye becomes a right one, and left becomes right."""
    bins = {name: mirrored_bins(sample[name]) for name in ("bins", "target_bins") if name in sample}
    return mirrored_pair(sample) | bins


def with_sentences(
    source: DeviceSource, attributes: Sequence[str] = EDITABLE, alike: bool = False, mirror: bool = False
) -> DeviceSource:
    """``source`` of edits, rendered or resident, with ``text``, ``own`` and ``wrong`` of :func:`say_edit`.

    mirror: half of the pairs :func:`mirrored`, by chance and anew for every draw.
    """

    def draw(resident, key):
        sample = dict(source.draw(resident, jax.random.fold_in(key, 0)))
        if mirror:
            flip = jax.random.bernoulli(jax.random.fold_in(key, 2))
            sample = jax.tree.map(lambda a, b: jnp.where(flip, a, b), mirrored(sample), sample)
        return sample | say_edit(jax.random.fold_in(key, 1), sample, attributes, alike)

    return DeviceSource(draw, source.resident, source.size)
