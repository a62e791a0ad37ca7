"""Samples for learning a person's style: an image, and other images of the same person as references."""

import functools
import logging
from collections import Counter
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.data.examples import EyeSet
from eyegan_jax.data.pipeline import chosen_backend, load, sample_of
from eyegan_jax.data.sets import Subset, subjects_of
from eyegan_jax.data.sources import DeviceSource, HostSource, Source
from eyegan_jax.errors import UserError

log = logging.getLogger(__name__)


def to_person_source(
    eyeset: EyeSet,
    *,
    references: int,
    height: int,
    width: int,
    channels: int = 1,
    fields: Sequence[str] = ("image", "mask"),
    reference_masks: bool = False,
    backend: str = "auto",
    seed: int = 0,
    memory_limit_bytes: int | None = None,
    fit: str = "stretch",
) -> Source:
    """Samples as of :func:`eyegan_jax.data.pipeline.to_source`, each with ``references`` images of its
    person.

    Adds ``references``, uint8 ``[k, H, W, C]``, and with ``reference_masks`` their masks, uint8 ``[k, H,
    W]``: never the target itself, all different where the person has enough images, else repeated in turn.
    People with one image only, and images without a subject, are left out with a warning; UserError where
    nobody is left.
    """
    if references < 1:
        raise UserError(f"data.references: expected at least 1, found {references}")
    pictured, alone = people_with_several(eyeset)
    if alone:
        log.warning("%d of %d images have no second image of their person and are left out", alone, len(eyeset))
    stored = tuple(dict.fromkeys((*fields, "subject", *(("mask",) if reference_masks else ()))))
    take = sample_of(pictured, height, width, channels, stored, fit)
    copied = {"references": "image", **({"reference_masks": "mask"} if reference_masks else {})}
    kept = tuple(dict.fromkeys(("image", *fields)))
    if chosen_backend(pictured, height, width, channels, stored, backend, memory_limit_bytes) == "stream":
        return _stream(pictured, take, references, copied, kept, seed)
    arrays, _ = load(pictured, take)
    return _resident(arrays, references, copied, kept)


def people_with_several(eyeset: EyeSet) -> tuple[Subset, int]:
    """The images of people with two or more of them, and how many images that leaves out."""
    subjects = subjects_of(eyeset)
    counts = Counter(subject for subject in subjects if subject is not None)
    kept = [i for i, subject in enumerate(subjects) if subject is not None and counts[subject] > 1]
    if not kept:
        found = f"{len(counts)} with one each" if counts else "images without a subject"
        raise UserError(f"expected people with at least two images each, found {found}")
    return Subset(eyeset, kept), len(subjects) - len(kept)


def draw_with_references(resident, key, *, references, largest, copied, kept):
    """One target, uniformly over images, and ``references`` others of its person's block of rows.

    resident: ``samples`` (arrays sorted by person), ``first`` and ``count`` int32 ``[N]``: each row's block.
    largest: the largest block, a bound that shapes can depend on.
    """
    target = jax.random.randint(jax.random.fold_in(key, 0), (), 0, resident["first"].shape[0])
    first, count = jnp.asarray(resident["first"])[target], jnp.asarray(resident["count"])[target]
    places = jnp.arange(largest)
    others = (places < count) & (first + places != target)
    score = jnp.where(others, jax.random.uniform(jax.random.fold_in(key, 1), (largest,)), -1.0)
    # The best-scored places are a uniform draw without replacement from the others, in random order.
    ranked = jax.lax.top_k(score, min(references, largest))[1]
    rows = first + ranked[jnp.arange(references) % jnp.minimum(count - 1, len(ranked))]
    samples = {name: jnp.asarray(array) for name, array in resident["samples"].items()}
    sample = {name: samples[name][target] for name in kept}
    return sample | {name: samples[of][rows] for name, of in copied.items()}


def _resident(arrays, references: int, copied, kept) -> DeviceSource:
    # Broken images may have left somebody alone.
    subject, counts = arrays["subject"], np.bincount(arrays["subject"])
    usable = np.flatnonzero(counts[subject] > 1)
    if not len(usable):
        raise UserError("expected people with at least two usable images each, found none")
    rows = usable[np.argsort(subject[usable], kind="stable")]
    subject = subject[rows]
    _, first, inverse, count = np.unique(subject, return_index=True, return_inverse=True, return_counts=True)
    resident = {
        "samples": {name: arrays[name][rows] for name in {*kept, *copied.values()}},
        "first": first[inverse].astype(np.int32),
        "count": count[inverse].astype(np.int32),
    }
    draw = functools.partial(
        draw_with_references, references=references, largest=int(count.max()), copied=copied, kept=kept
    )
    return DeviceSource(draw, resident, len(rows))


def _stream(eyeset: Subset, take, references: int, copied, kept, seed: int) -> HostSource:
    from eyegan_jax.data.stream import Usable, epoch_order, host_source

    usable = Usable(eyeset, take)
    order = epoch_order(len(eyeset), seed)
    subjects = subjects_of(eyeset)
    images: dict[str, list[int]] = {}
    for i, subject in enumerate(subjects):
        images.setdefault(str(subject), []).append(i)

    def produce(number: int) -> dict[str, np.ndarray]:
        start = order(number)
        # A target with no usable second image gives way to the next, as a broken one does.
        for index in range(start, start + len(eyeset)):
            target, sample = usable.from_index(index)
            others = _usable_others(images[str(subjects[target])], target, number)
            if others:
                break
        else:
            raise UserError("expected people with at least two usable images each, found none")
        chosen = [others[j % len(others)] for j in range(references)]
        result = {name: sample[name] for name in kept}
        return result | {name: np.stack([other[of] for other in chosen]) for name, of in copied.items()}

    def _usable_others(candidates: list[int], target: int, number: int) -> list[dict[str, np.ndarray]]:
        bits = np.random.Philox(key=[seed, number]).random_raw(len(candidates))
        queue = [candidates[i] for i in np.argsort(bits, kind="stable") if candidates[i] != target]
        found: list[dict[str, np.ndarray]] = []
        for candidate in queue:
            if len(found) == references:
                break
            if (sample := usable.get(candidate)) is not None:
                found.append(sample)
        return found

    like = produce(0)
    return host_source(produce, like, len(eyeset))
