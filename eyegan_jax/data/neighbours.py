"""Samples for repairing retrieved pictures: a target, and the pictures of the same person with the nearest masks."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from eyegan_jax import cache
from eyegan_jax.data.sources import DeviceSource
from eyegan_jax.errors import UserError
from eyegan_jax.images import to_uint8
from eyegan_jax.retrieval import NOBODY, nearest

CHOICES = ("nearest", "uniform")


def rank_people(
    masks: np.ndarray, subjects: np.ndarray, count: int, candidate_masks: np.ndarray | None = None
) -> np.ndarray:
    """Rows of each image's ``count`` nearest others of the same person, int32 ``[N, count]``; -1 fills up.

    masks: ``[N, H, W]`` of the targets. subjects: int ``[N]``. candidate_masks: what is known of an image's mask when
    it serves as a candidate (a segmenter's, where the true one is not to be used); by default ``masks``.
    """
    candidate_masks = masks if candidate_masks is None else candidate_masks
    ranking = np.full((len(masks), count), NOBODY, np.int32)
    for person in tqdm(
        np.unique(subjects), desc="retrieval", unit="person", dynamic_ncols=True, disable=len(masks) < 1000
    ):
        rows = np.flatnonzero(subjects == person)
        index, _ = nearest(masks[rows], candidate_masks[rows], count, own=np.arange(len(rows)))
        ranking[rows] = np.where(index == NOBODY, NOBODY, rows[index])
    return ranking


def to_neighbour_source(
    arrays: dict[str, np.ndarray],
    *,
    references: int,
    pool: int | None = None,
    choice: str = "nearest",
    depth: int = 200,
    candidate_masks: np.ndarray | None = None,
) -> DeviceSource:
    """Samples ``image``, ``mask``, ``references [k, H, W, C]`` and ``reference_masks [k, H, W]``, nearest mask first.

    arrays: ``image`` uint8 ``[N, H, W, C]``, ``mask`` ``[N, H, W]``, ``subject`` int ``[N]``; others are passed on.
    choice: "nearest": the k nearest of a random part of the person's images; "uniform": any of the ``depth`` nearest,
        as the published refiner was trained.
    pool: how many images of a person there are to choose from when the network is used. In training each sample draws
        that many at random first, so that its references are as far away as they will be then; None: all of them.
    depth: neighbours that are kept of each image.

    Raises UserError for an unknown choice and where nobody has two images.
    """
    if choice not in CHOICES:
        raise UserError(f"data.choice: expected one of {', '.join(CHOICES)}, found {choice!r}")
    counts = np.bincount(arrays["subject"])
    usable = counts[arrays["subject"]] > 1
    if not usable.any():
        raise UserError("expected people with at least two images each, found none")
    arrays = {name: array[usable] for name, array in arrays.items()}
    candidate_masks = arrays["mask"] if candidate_masks is None else candidate_masks[usable]
    depth = min(depth, int(counts.max()) - 1)
    ranking = rank_people(arrays["mask"], arrays["subject"], depth, candidate_masks)
    share = np.ones(len(ranking), np.float32)
    if pool is not None:
        share = np.minimum(1.0, pool / np.maximum(counts[arrays["subject"]] - 1, 1)).astype(np.float32)
    resident = {
        "samples": {name: arrays[name] for name in arrays if name != "subject"},
        "candidate_masks": candidate_masks,
        "ranking": ranking,
        "share": share,
    }
    return DeviceSource(functools.partial(_draw, references=references, choice=choice), resident, len(ranking))


def _draw(resident: Any, key: jax.Array, *, references: int, choice: str) -> dict[str, jax.Array]:
    which, kept = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    target = jax.random.randint(which, (), 0, resident["ranking"].shape[0])
    row = jnp.asarray(resident["ranking"])[target]
    depth, found = row.shape[0], jnp.sum(row != NOBODY)
    chance = jax.random.uniform(kept, (depth,))
    if choice == "uniform":
        score = chance
    else:
        # Neighbours in the drawn part of the pool by rank; the others follow, for pools that are too small.
        score = jnp.where(chance < jnp.asarray(resident["share"])[target], 2.0, 1.0) - jnp.arange(depth) / depth
    order = jax.lax.top_k(jnp.where(row != NOBODY, score, -1.0), min(references, depth))[1]
    if choice == "uniform":
        order = jnp.sort(order)  # nearest first, like everywhere
    # A person with fewer others than references shows them in turn.
    rows = row[order[jnp.arange(references) % jnp.minimum(found, len(order))]]
    samples = {name: jnp.asarray(array)[target] for name, array in resident["samples"].items()}
    return samples | {
        "references": jnp.asarray(resident["samples"]["image"])[rows],
        "reference_masks": jnp.asarray(resident["candidate_masks"])[rows],
    }


RECORDING = 2**31
"""Folded into a person's key for the circumstances of the whole session; smaller numbers are pictures."""

SLIP = 0.1
"""How much of the difference between two recordings a headset's slip and the camera's drift make up."""


def _in_session(recording: Any, picture: Any) -> Any:
    """The circumstances of ``recording`` with the eye of ``picture``; both are the simulator's Capture."""
    moves = ("gaze", "torsion", "aperture", "squint", "pupil_radius", "capture_seed")
    slips = ("head", "distance", "shift", "scale", "exposure")
    own = {name: getattr(picture, name) for name in moves}
    slipped = {
        name: getattr(recording, name) + SLIP * (getattr(picture, name) - getattr(recording, name)) for name in slips
    }
    return dataclasses.replace(recording, **own, **slipped)


@functools.partial(jax.jit, static_argnames=("world", "view", "session", "count"))
def _pictures(seed, person, start, world: Any, view: Any, session: bool, count: int):
    """Images and masks ``start`` to ``start + count - 1`` of one person."""
    from eyegan_jax import simulator

    subject = simulator.fixed_subject(seed, person, world, view.look)
    root = jax.random.fold_in(jax.random.key(seed), person)
    recording = simulator.sample_capture(jax.random.fold_in(root, RECORDING), subject, world, view)

    def one(i):
        capture = simulator.sample_capture(jax.random.fold_in(root, i), subject, world, view)
        if session:
            capture = _in_session(recording, capture)
        picture = simulator.render(subject, capture, view, world)
        return to_uint8(picture.image), picture.mask.astype(jnp.uint8)

    return jax.vmap(one)(start + jnp.arange(count))


def simulated_people(
    domain: str,
    view: Any,
    *,
    people: int,
    images: int,
    seed: int = 0,
    first_person: int = 0,
    session: bool = False,
    title: str = "",
    chunk: int = 32,
) -> dict[str, np.ndarray]:
    """``images`` pictures of each of ``people`` simulated people: uint8 ``image``, ``mask``, and ``subject``.

    view: a name or a View of the simulator. Person p's pictures are a function of (seed, first_person + p) alone.
    session: all pictures of a person come from one recording, as in OpenEDS: light, camera and glasses stay, the eye
        moves and the headset slips a little. False: every picture has circumstances of its own.
    """
    from eyegan_jax import simulator

    world, view = simulator.find_domain(domain), simulator.find_view(view)
    fixed: dict[str, Any] = {"world": world, "view": view, "session": session, "count": chunk}

    def make():
        program = _pictures.lower(np.int32(seed), np.int32(0), np.int32(0), **fixed)
        run, pictures, masks = program.compile(), [], []
        with tqdm(total=people * images, desc=title, unit="img", dynamic_ncols=True, disable=not title) as bar:
            for person in range(first_person, first_person + people):
                for start in range(0, images, chunk):
                    image, mask = jax.device_get(run(np.int32(seed), np.int32(person), np.int32(start)))
                    count = min(chunk, images - start)
                    pictures.append(image[:count])
                    masks.append(mask[:count])
                    bar.update(count)
        subject = np.repeat(np.arange(people, dtype=np.int32), images)
        return {"image": np.concatenate(pictures), "mask": np.concatenate(masks), "subject": subject}

    what = repr(("people", world, view, session, chunk, cache.code(__name__, "eyegan_jax.simulator")))
    return cache.kept(what, (seed, first_person, people, images), make)
