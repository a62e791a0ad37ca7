"""The simulator as a source of training samples, rendered on the device inside the training step."""

from typing import Any

import jax
import jax.numpy as jnp

from eyegan_jax.data.sources import DeviceSource
from eyegan_jax.errors import UserError
from eyegan_jax.images import to_uint8
from eyegan_jax.simulator.domains import Domain, find_domain, sample_capture, sample_subject
from eyegan_jax.simulator.parameters import Capture, Subject
from eyegan_jax.simulator.render import Rendering, render
from eyegan_jax.simulator.views import VIEWS, View

UNBOUNDED = 2**31 - 1


def find_view(view: View | str) -> View:
    """A View by its name; raises UserError for an unknown one."""
    if isinstance(view, View):
        return view
    if view not in VIEWS:
        raise UserError(f"view: expected {', '.join(VIEWS)}, found {view!r}")
    return VIEWS[view]


def fixed_subject(seed: int, index, domain: Domain, look: str = "visible") -> Subject:
    """Person number ``index`` of a domain: a pure function of (seed, index)."""
    return sample_subject(jax.random.fold_in(jax.random.key(seed), index), domain, look)


def person_number(key, subjects: int | None, first_subject: int):
    """Number of a random person, int32: one of ``subjects`` from ``first_subject`` on, any where it is None."""
    count = UNBOUNDED - first_subject if subjects is None else subjects
    return (first_subject + jax.random.randint(key, (), 0, count)).astype(jnp.int32)


def labelled(picture: Rendering) -> dict[str, jax.Array]:
    """A picture as a training sample, see :func:`simulator_source`: uint8 image and mask, and the labels."""
    return {
        "image": to_uint8(picture.image),
        "mask": picture.mask.astype(jnp.uint8),
        "frame": picture.glasses > 0.5,
        "gaze": picture.gaze,
        "head": picture.head[:2],
        "pupil": picture.pupil,
        "landmarks": jnp.concatenate([picture.margin, picture.caruncle, picture.iris]),
    }


def draw_person(key, subject: Subject, count: int, domain: Domain, view: View) -> tuple[Capture, Rendering]:
    """``count`` pictures of one person: captures and renderings with a leading axis; picture i by (key, i)."""

    def one(index):
        capture = sample_capture(jax.random.fold_in(key, index), subject, domain, view)
        return capture, render(subject, capture, view, domain)

    return jax.vmap(one)(jnp.arange(count))


def in_words(*settings: Any) -> str:
    """The recipe of a source of these settings; none where one is an object that words cannot tell from another."""
    plain = (str, int, float, bool, tuple, Domain, View, type(None))
    return repr(settings) if all(isinstance(setting, plain) for setting in settings) else ""


def simulator_source(
    domain: Domain | str,
    view: View | str,
    *,
    seed: int = 0,
    subjects: int | None = None,
    first_subject: int = 0,
    references: int = 0,
) -> DeviceSource:
    """An unbounded source of rendered eyes.

    A sample holds ``image`` uint8 ``[H, W, C]``, ``mask`` uint8 ``[H, W]``, ``frame`` bool ``[H, W]`` (of glasses),
    ``gaze`` float32 ``[3]``, ``head`` float32 ``[2]``, ``pupil`` float32 ``[5]`` (cx, cy, a, b, angle), ``landmarks``
    float32 ``[55, 2]`` (margin, caruncle, iris) and ``subject`` int32. Under jit only what is used is computed.

    subjects: the person is one of that many fixed people, numbers ``first_subject`` to ``first_subject +
        subjects - 1`` of ``seed`` (so that disjoint people can be held out); None: a new person each time.
    references: k > 0 adds ``references`` uint8 ``[k, H, W, C]`` and ``reference_masks`` uint8 ``[k, H, W]`` of
        the same person under other circumstances.
    """
    domain, view = find_domain(domain), find_view(view)
    if subjects is not None and subjects < 1:
        raise UserError(f"subjects: expected at least 1, found {subjects}")

    def draw(resident, key):
        del resident
        who, how, others = (jax.random.fold_in(key, k) for k in range(3))
        number = person_number(who, subjects, first_subject)
        subject = fixed_subject(seed, number, domain, view.look)
        picture = render(subject, sample_capture(how, subject, domain, view), view, domain)
        sample = labelled(picture) | {"subject": number}
        if references:
            _, pictures = draw_person(others, subject, references, domain, view)
            sample["references"] = to_uint8(pictures.image)
            sample["reference_masks"] = pictures.mask.astype(jnp.uint8)
        return sample

    return DeviceSource(draw, recipe=in_words("eyes", domain, view, seed, subjects, first_subject, references))
