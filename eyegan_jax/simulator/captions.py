"""Sentences about an eye from its parameters, and back: a closed grammar of clauses, one per attribute.

``bins(values)`` names the bin of every attribute, ``caption`` says some of them in random words and order,
``parse`` recovers every stated bin, ``delta_caption`` says what changed. Left and right are those of the
image's viewer, so mirroring an image swaps the two words (:func:`mirror_text`).
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from eyegan_jax.errors import UserError
from eyegan_jax.simulator.parameters import IRIS_KINDS

DEGREES = 180.0 / math.pi

# Bin edges: below the first "straight", then "slightly", plain, and "far" above the third (degrees).
YAW_EDGES = (4.0, 12.0, 22.0)
PITCH_EDGES = (4.0, 10.0, 18.0)
PUPIL_EDGES = (0.3, 0.5)  # pupil over iris, radius
# Lid aperture: height of the opening over its width, then the bin above the edge.
APERTURE_EDGES = (0.02, 0.13, 0.24, 0.42)
LIDS = ("closed", "nearly closed", "half closed", "open", "wide open")
LIGHT_EDGES = (0.7, 1.15)  # ambient plus key light
SKIN_EDGES = (0.12, 0.25, 0.38, 0.52, 0.66)
SKINS = ("very light", "light", "medium light", "medium", "dark", "very dark")
LASH_EDGE, BROW_EDGE = 0.8, 0.6
HEAD_YAW_EDGE, HEAD_ROLL_EDGE = 8.0, 3.0  # degrees

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
        "closed": ("lids closed", "lids shut"),
        "nearly closed": ("lids nearly closed", "lids almost shut"),
        "half closed": ("lids half closed", "lids half open"),
        "open": ("lids open",),
        "wide open": ("lids wide open", "lids wide apart"),
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
YAWS, PITCHES = ("straight ahead", "left", "right"), ("level", "up", "down")
ATTRIBUTES = ("gaze yaw", "gaze pitch", *PHRASES)


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
_MEANING = {
    phrase: (attribute, name)
    for attribute, names in GRAMMAR.items()
    for name, phrases in names.items()
    for phrase in phrases
}
VOCABULARY = tuple(
    sorted({word for phrase in _MEANING for word in phrase.split()} | {"a", "same", "eye", "now", "the", "with", "is"})
)


def _direction(angle: float, edges, directions) -> str:
    """``angle`` in degrees; the second of ``directions`` is the positive one."""
    size = abs(angle)
    if size < edges[0]:
        return directions[0]
    extent = EXTENTS[int(np.searchsorted(edges[1:], size, side="right"))]
    return f"{extent} {directions[1] if angle > 0 else directions[2]}".strip()


def _band(value: float, edges, names) -> str:
    return names[int(np.searchsorted(edges, value, side="right"))]


def bins(values: Mapping[str, Any], look: str = "visible") -> dict[str, str]:
    """The bin of every attribute that this picture has, from its parameters by name.

    values: fields of Subject and Capture (one eye), as :func:`eyegan_jax.simulator.parameters_by_name` gives,
        with ``gaze`` as (pitch, yaw) in radians and ``opening`` (height over width of the lid opening).
    Infrared pictures have no colours, no skin tone and no tint.
    """
    pitch, yaw = (float(v) * DEGREES for v in np.asarray(values["gaze"]))
    found = {
        "gaze yaw": _direction(yaw, YAW_EDGES, YAWS),
        "gaze pitch": _direction(pitch, PITCH_EDGES, PITCHES),
        "pupil": _band(
            float(values["pupil_radius"]) / float(values["iris_radius"]),
            PUPIL_EDGES,
            ("constricted", "normal", "dilated"),
        ),
        "lid": _band(float(values["opening"]), APERTURE_EDGES, LIDS),
        "lashes": "dark" if float(values["lash_density"]) >= LASH_EDGE else "sparse",
        "brow": "dark" if float(values["brow_density"]) >= BROW_EDGE else "sparse",
        "camera": "colour" if look == "visible" else "near infrared",
    }
    head = np.asarray(values["head"]) * DEGREES
    if abs(head[1]) >= HEAD_YAW_EDGE:
        found["head"] = "left" if head[1] > 0 else "right"
    else:
        found["head"] = "tilted" if abs(head[2]) >= HEAD_ROLL_EDGE else "straight"
    if float(values["glasses"]) < 0.5:
        found["glasses"] = "none"
    elif float(values["glare"]) > 0.03:
        found["glasses"] = "glare"
    else:
        found["glasses"] = "thin" if float(values["glasses_thickness"]) < 2.0 else "thick"
    if look != "visible":
        return found
    found["iris"] = IRIS_KINDS[int(values["iris_kind"])]
    found["skin"] = _band(float(values["melanin"]), SKIN_EDGES, SKINS)
    strength = float(np.asarray(values["light_intensity"])[0])
    found["light"] = _band(float(values["ambient"]) + strength, LIGHT_EDGES, ("dim", "even", "bright"))
    elevation, azimuth = (float(v) * DEGREES for v in np.asarray(values["light_angles"])[0])
    if strength > 0.6:
        if elevation > 45.0:
            found["light from"] = "above"
        elif abs(azimuth) > 35.0:
            found["light from"] = "right" if azimuth > 0 else "left"
    warmth = float(np.asarray(values["light_warmth"])[0]) + float(values["white_balance"])
    if abs(warmth) > 0.3:
        found["tint"] = "warm" if warmth > 0 else "cool"
    return found


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
    """What changed, as an instruction: "same eye, now looking far left, dilated pupil"."""
    rng = np.random.default_rng(seed)
    changed = [name for name in after if before.get(name) != after[name]]
    if not changed:
        return "same eye"
    said = [_say(changed[i], after[changed[i]], rng) for i in rng.permutation(len(changed))]
    return "same eye, now " + ", ".join(said)


def parse(text: str) -> dict[str, str]:
    """The bins that a caption states. Raises UserError for a clause outside the grammar."""
    found = {}
    for clause in text.lower().split(","):
        phrase = re.sub(r"^(now|with|and)\s+", "", " ".join(clause.split()))
        if phrase in ("", "same eye"):
            continue
        if phrase not in _MEANING:
            raise UserError(f"caption: expected clauses of the grammar in docs/simulator.md, found {phrase!r}")
        attribute, name = _MEANING[phrase]
        found[attribute] = name
    return found


def mirror_text(text: str) -> str:
    """The caption of the picture flipped left to right."""
    swap = {"left": "right", "right": "left"}
    return re.sub(r"\b(left|right)\b", lambda match: swap[match.group()], text)
