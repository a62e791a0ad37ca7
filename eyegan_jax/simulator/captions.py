"""Sentences about an eye from its parameters, and back: a closed grammar of clauses, one per attribute.

``bins(values)`` names the bin of every attribute, ``caption`` says some of them in random words and order,
``parse`` recovers every stated bin from free order, ``delta_caption`` says what changed. Left and right are those of
the image's viewer, so mirroring an image swaps the two words (:func:`mirror_text`). Numbers instead of names, for
programs that run on the device, come from :func:`bin_numbers`; :mod:`eyegan_jax.simulator.caption_tokens` makes their
sentences.
"""

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.errors import UserError
from eyegan_jax.simulator.parameters import IRIS_KINDS
from eyegan_jax.tokeniser import words_of

DEGREES = 180.0 / math.pi

# Bin edges: below the first "straight", then "slightly", plain, and "far" above the third (degrees).
YAW_EDGES = (4.0, 12.0, 22.0)
PITCH_EDGES = (4.0, 10.0, 18.0)
PUPIL_EDGES = (0.3, 0.5)  # pupil over iris, radius
# Lid aperture: height of the opening over its width, then the bin above the edge.
APERTURE_EDGES = (0.02, 0.13, 0.24, 0.42)
LIDS = ("closed", "nearly closed", "half closed", "open", "wide open")
LIGHT_EDGES = (0.55, 1.05)  # ambient plus key light, as the exposure shows it
KEY_EDGE = 0.6  # intensity from which a lamp's direction is seen
ABOVE_EDGE, BESIDE_EDGE = 45.0, 35.0  # degrees
TINT_EDGE = 0.3
SKIN_EDGES = (0.12, 0.25, 0.38, 0.52, 0.66)
SKINS = ("very light", "light", "medium light", "medium", "dark", "very dark")
LASH_EDGE, BROW_EDGE = 0.8, 0.6
HEAD_YAW_EDGE, HEAD_ROLL_EDGE = 8.0, 3.0  # degrees
FRAME_EDGE, GLARE_EDGE = 2.0, 0.03  # mm, strength

# attribute -> bin -> synonyms; the first is the plain word. No phrase may occur inside another attribute's.
COLORS: dict[str, tuple[str, ...]] = {kind: (f"{kind} iris", f"{kind} eye") for kind in IRIS_KINDS}
PHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "iris": COLORS,
    "pupil": {
        "constricted": ("constricted pupil", "small pupil"),
        "normal": ("normal pupil", "medium pupil"),
        "dilated": ("dilated pupil", "large pupil", "wide pupil"),
    },
    "lid": {
        "closed": ("lids closed", "lids shut", "closed eye"),
        "nearly closed": ("lids nearly closed", "lids almost shut", "nearly closed eye"),
        "half closed": ("lids half closed", "lids half open", "half closed eye"),
        "open": ("lids open", "open eye"),
        "wide open": ("lids wide open", "lids wide apart", "wide open eye"),
    },
    "light": {
        "dim": ("dim light", "faint light"),
        "even": ("even light", "ordinary light"),
        "bright": ("bright light", "intense light"),
    },
    "light from": {
        "left": ("strong light from the left", "lit from the left"),
        "right": ("strong light from the right", "lit from the right"),
        "above": ("strong light from above", "lit from above"),
    },
    "tint": {"warm": ("warm tones", "warm colours"), "cool": ("cool tones", "cool colours")},
    "skin": {tone: (f"{tone} skin", f"{tone} complexion") for tone in SKINS},
    "glasses": {
        "none": ("no glasses", "without glasses"),
        "thin": ("thin glasses", "glasses with a thin frame"),
        "thick": ("thick glasses", "glasses with a thick frame"),
        "glare": ("glare on the glasses", "reflecting glasses"),
    },
    "lashes": {"sparse": ("sparse lashes", "thin lashes"), "dark": ("dark lashes", "dense lashes")},
    "brow": {"sparse": ("sparse brow", "thin brow"), "dark": ("dark brow", "dense brow")},
    "camera": {
        "near infrared": ("near infrared image", "infrared picture"),
        "colour": ("colour image", "visible light picture"),
    },
    "head": {
        "left": ("head turned left", "face turned left"),
        "right": ("head turned right", "face turned right"),
        "tilted": ("head tilted", "face tilted"),
        "straight": ("head straight", "face straight"),
    },
}
EXTENTS = ("slightly", "", "far")
GAZES = ("gaze yaw", "gaze pitch")
YAWS, PITCHES = ("straight ahead", "left", "right"), ("level", "up", "down")


def _gaze_phrases(directions: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    phrases: dict[str, tuple[str, ...]] = {directions[0]: (f"looking {directions[0]}", f"gazing {directions[0]}")}
    for direction in directions[1:]:
        for extent in EXTENTS:
            name = f"{extent} {direction}".strip()
            phrases[name] = (f"looking {name}", f"gazing {name}")
    return phrases


GRAMMAR: dict[str, dict[str, tuple[str, ...]]] = {
    "gaze yaw": _gaze_phrases(YAWS),
    "gaze pitch": _gaze_phrases(PITCHES),
    **PHRASES,
}
ATTRIBUTES = tuple(GRAMMAR)
BINS: dict[str, tuple[str, ...]] = {attribute: tuple(names) for attribute, names in GRAMMAR.items()}
UNSAID = -1
"""In place of a bin's number where a picture does not show the attribute."""

HIDDEN = {
    ("lid", "closed"): ("gaze yaw", "gaze pitch", "iris", "pupil"),
    ("camera", "near infrared"): ("iris", "skin", "tint", "light", "light from"),
}
"""Bins in whose presence nothing can be said of other attributes."""

FILLERS = ("same", "eye", "now", "with", "and", "is", "it", "this", "but", "has")
"""Words that may stand between clauses and mean nothing."""


_MEANING = {
    tuple(words_of(phrase)): (attribute, name)
    for attribute, names in GRAMMAR.items()
    for name, phrases in names.items()
    for phrase in phrases
}
_LONGEST = max(map(len, _MEANING))
VOCABULARY = tuple(sorted({word for phrase in _MEANING for word in phrase} | set(FILLERS)))

FIELDS = (
    "gaze",
    "pupil_radius",
    "iris_radius",
    "opening",
    "lash_density",
    "brow_density",
    "head",
    "glasses",
    "glare",
    "glasses_thickness",
    "iris_kind",
    "melanin",
    "light_intensity",
    "ambient",
    "exposure",
    "adaptation",
    "light_angles",
    "light_warmth",
    "white_balance",
)
"""What :func:`bin_numbers` reads: fields of Subject and Capture, and ``opening``."""


def lid_opening(margin) -> jax.Array:
    """Height over width of the lid opening, from the 16 margin landmarks ``[16, 2]``; 0 closed."""
    gaps = margin[15:8:-1, 1] - margin[1:8, 1]
    return jnp.maximum(gaps.max(), 0.0) / jnp.maximum(jnp.abs(margin[8, 0] - margin[0, 0]), 1e-6)


def bin_numbers(values: Mapping[str, Any], look: str = "visible") -> jax.Array:
    """The bin of every attribute as its number in ``BINS[attribute]``: int32 ``[len(ATTRIBUTES)]``; traceable.

    values: the fields of one Subject and one Capture by name (``FIELDS``), with ``gaze`` as (pitch, yaw) in radians
        and ``opening`` (:func:`lid_opening`).
    UNSAID where the picture does not show it: nothing of a closed eye's ball, no colours, tones or lamps in infrared.
    """

    def band(value, edges):
        return jnp.sum(value >= jnp.asarray(edges))

    def direction(angle, edges):
        """Straight, then three extents of the positive side, then three of the negative one."""
        extent = band(jnp.abs(angle), edges)
        return jnp.where(extent == 0, 0, extent + jnp.where(angle > 0, 0, len(EXTENTS)))

    pitch, yaw = values["gaze"][0] * DEGREES, values["gaze"][1] * DEGREES
    _, turn, roll = (values["head"][i] * DEGREES for i in range(3))
    strength = values["light_intensity"][0]
    elevation, azimuth = (values["light_angles"][0, i] * DEGREES for i in range(2))
    # An exposure that adapts takes its share of the light's changes back.
    shown = (values["ambient"] + strength) ** (1.0 - values["adaptation"]) * 2.0 ** values["exposure"]
    warmth = values["light_warmth"][0] + values["white_balance"]
    beside = jnp.where(jnp.abs(azimuth) > BESIDE_EDGE, jnp.where(azimuth > 0, 1, 0), UNSAID)
    frame = jnp.where(values["glasses_thickness"] < FRAME_EDGE, 1, 2)
    numbers = {
        "gaze yaw": direction(yaw, YAW_EDGES),
        "gaze pitch": direction(pitch, PITCH_EDGES),
        "iris": values["iris_kind"],
        "pupil": band(values["pupil_radius"] / values["iris_radius"], PUPIL_EDGES),
        "lid": band(values["opening"], APERTURE_EDGES),
        "light": band(shown, LIGHT_EDGES),
        "light from": jnp.where(strength > KEY_EDGE, jnp.where(elevation > ABOVE_EDGE, 2, beside), UNSAID),
        "tint": jnp.where(jnp.abs(warmth) > TINT_EDGE, jnp.where(warmth > 0, 0, 1), UNSAID),
        "skin": band(values["melanin"], SKIN_EDGES),
        "glasses": jnp.where(values["glasses"] < 0.5, 0, jnp.where(values["glare"] > GLARE_EDGE, 3, frame)),
        "lashes": band(values["lash_density"], (LASH_EDGE,)),
        "brow": band(values["brow_density"], (BROW_EDGE,)),
        "camera": 1 if look == "visible" else 0,
        "head": jnp.where(
            jnp.abs(turn) >= HEAD_YAW_EDGE,
            jnp.where(turn > 0, 0, 1),
            jnp.where(jnp.abs(roll) >= HEAD_ROLL_EDGE, 2, 3),
        ),
    }
    return drop_hidden(jnp.stack([jnp.asarray(numbers[name], jnp.int32) for name in ATTRIBUTES]))


def drop_hidden(numbers: jax.Array) -> jax.Array:
    """Bin numbers ``[..., A]`` with UNSAID for what the others hide."""
    for (cause, name), hidden in HIDDEN.items():
        present = numbers[..., ATTRIBUTES.index(cause)] == BINS[cause].index(name)
        covered = jnp.asarray([attribute in hidden for attribute in ATTRIBUTES])
        numbers = jnp.where(present[..., None] & covered, UNSAID, numbers)
    return numbers


_compiled = jax.jit(bin_numbers, static_argnames="look")


def named(numbers) -> dict[str, str]:
    """Bin numbers ``[A]`` as names, without what is unsaid."""
    return {a: BINS[a][int(n)] for a, n in zip(ATTRIBUTES, np.asarray(numbers), strict=True) if n != UNSAID}


def bins(values: Mapping[str, Any], look: str = "visible") -> dict[str, str]:
    """The bin of every attribute that this picture shows, by name; see :func:`bin_numbers`."""
    return named(_compiled({name: np.asarray(values[name]) for name in FIELDS}, look=look))


def _say(attribute: str, name: str, rng: np.random.Generator) -> str:
    phrases = GRAMMAR[attribute][name]
    return phrases[int(rng.integers(len(phrases)))]


def caption(found: Mapping[str, str], seed: int, chance: float = 0.5, least: int = 2) -> str:
    """One sentence: each clause with probability ``chance``, at least ``least`` of them, in random order."""
    rng = np.random.default_rng(seed)
    names = list(found)
    keep = [name for name, u in zip(names, rng.random(len(names)), strict=True) if u < chance]
    order = [names[i] for i in rng.permutation(len(names))]
    keep += [name for name in order if name not in keep][: max(0, least - len(keep))]
    keep = [name for name in order if name in keep]
    return ", ".join(_say(name, found[name], rng) for name in keep)


def captions(found: Mapping[str, str], seed: int, count: int = 5) -> list[str]:
    """``count`` captions of one picture."""
    return [caption(found, seed=seed * 1009 + k) for k in range(count)]


def delta_caption(before: Mapping[str, str], after: Mapping[str, str], seed: int) -> str:
    """What changed, as an instruction: "the same eye, now looking far left, dilated pupil"."""
    rng = np.random.default_rng(seed)
    changed = [name for name in after if before.get(name) != after[name]]
    if not changed:
        return "the same eye"
    said = [_say(changed[i], after[changed[i]], rng) for i in rng.permutation(len(changed))]
    return "the same eye, now " + ", ".join(said)


def spelled_out(text: str) -> str:
    """The words of ``text`` with the verb before every direction: "looking far right and slightly up" has it once."""
    words, verb, start = words_of(text), "", 0
    said: list[str] = []
    while start < len(words):
        rest = [tuple(words[start : start + n]) for n in range(_LONGEST, 0, -1)]
        clause = next((phrase for phrase in rest if phrase in _MEANING), None)
        if clause is None and verb:
            clause = next((phrase for phrase in rest if (verb, *phrase) in _MEANING), None)
            said += [verb] if clause else []
        elif clause is not None:
            verb = clause[0] if _MEANING[clause][0] in GAZES else ""
        said += clause or words[start : start + 1]
        start += len(clause or (1,))
    return " ".join(said)


def parse(text: str) -> dict[str, str]:
    """The bins that a sentence states, whatever the order of its clauses and the filling words between them.

    Raises UserError for an empty text, an unknown word (with the nearest known one), words that make no clause, an
    attribute that is stated twice with different values, and clauses that exclude each other.
    """
    words = spelled_out(text).split()
    if not words:
        raise UserError('text: expected clauses such as "looking far left with a dilated pupil", found no words')
    unknown = next((word for word in words if word not in VOCABULARY), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, VOCABULARY, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else "; docs/text_edit.md lists the words"
        raise UserError(f"text: expected words of the grammar, found {unknown!r}{hint}")
    found: dict[str, str] = {}
    start = 0
    while start < len(words):
        length = next((n for n in range(_LONGEST, 0, -1) if tuple(words[start : start + n]) in _MEANING), 0)
        if not length:
            if words[start] not in FILLERS:
                raise UserError(f"text: expected a clause of docs/text_edit.md, found {' '.join(words[start:])!r}")
            start += 1
            continue
        attribute, name = _MEANING[tuple(words[start : start + length])]
        if found.setdefault(attribute, name) != name:
            raise UserError(f"text: expected one {attribute}, found {found[attribute]!r} and {name!r}")
        start += length
    for (cause, name), hidden in HIDDEN.items():
        clash = [attribute for attribute in hidden if attribute in found]
        if found.get(cause) == name and clash:
            raise UserError(
                f"text: expected clauses that can be true together, found {cause} {name!r}, which hides the "
                f"{clash[0]}, with {clash[0]} {found[clash[0]]!r}"
            )
    return found


def asked_in_turn(text: str) -> list[str]:
    """The sentences that an editor follows one after the other to do what ``text`` asks; ``[text]`` if it asks nothing.

    One for each attribute, in the order of ATTRIBUTES: an eye turns first, and then its lids open as far as is asked.
    Before them, where lids are spoken of with what closed ones hide, one with all of that: an eye that opens is
    invented, and whole. Raises as :func:`parse`.
    """
    found = parse(text)
    said = {attribute: GRAMMAR[attribute][found[attribute]][0] for attribute in ATTRIBUTES if attribute in found}
    behind = [attribute for attribute in HIDDEN["lid", "closed"] if attribute in said]
    opened = [" ".join(said[attribute] for attribute in ("lid", *behind))] if "lid" in said and behind else []
    return [*opened, *said.values()] or [text]


def mirror_text(text: str) -> str:
    """The caption of the picture flipped left to right."""
    swap = {"left": "right", "right": "left"}
    return re.sub(r"\b(left|right)\b", lambda match: swap[match.group()], text)
