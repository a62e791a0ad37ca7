"""Which images of a person have the mask nearest to a wanted one: exact, in batches on the device, computed once.

The distance between masks t and r counts their disagreements, each by the classes that it concerns::

    d(t, r) = sum_x sum_c w_c ([t(x) = c] - [r(x) = c])^2 = sum_c w_c (|t_c| + |r_c| - 2 |t_c and r_c|)

With w = 1 it is twice the number of pixels that differ. Overlaps are matrix products of 0s and 1s, weights are whole
numbers: everything is exact, and equal distances are ranked by the lower index. Source of the idea: the OpenEDS 2019
synthesis winner (Buehler et al., ICCVW 2019), who used the L2 distance between masks.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.errors import UserError

CLASSES = 4
NOBODY = -1
"""Index in places of a ranking that a small pool cannot fill."""
FAR = np.iinfo(np.int32).max


def mask_distances(targets: jax.Array, candidates: jax.Array, weights: Sequence[int] = (1, 1, 1, 1)) -> jax.Array:
    """Distances int32 ``[T, N]`` between integer masks ``[T, H, W]`` and ``[N, H, W]``; see the module's equation."""
    targets, candidates = (masks.reshape(len(masks), -1) for masks in (targets, candidates))
    everywhere = jnp.ones((1, targets.shape[1]), jnp.int8)

    def of_class(c):
        # One byte a pixel: to write and read them is most of the work. Ones everywhere find the candidates' areas.
        here, there = ((masks == c).astype(jnp.int8) for masks in (targets, candidates))
        rows = jnp.concatenate([here, everywhere])
        overlaps = jnp.einsum("tp,np->tn", rows, there, preferred_element_type=jnp.int32)
        return here.sum(1, keepdims=True, dtype=jnp.int32) + overlaps[-1:] - 2 * overlaps[:-1]

    return sum(weights[c] * of_class(c) for c in range(CLASSES))


@functools.partial(jax.jit, static_argnames="count")
def _merge(best, targets, own, block, start, size, count, weights):
    """The ``count`` nearest of those found so far and of one more block of candidates."""
    distances = mask_distances(targets, block, weights)
    index = start + jnp.arange(len(block), dtype=jnp.int32)
    usable = (jnp.arange(len(block)) < size)[None] & (index[None] != own[:, None])
    # Blocks come in order and top_k keeps the earlier of equals: ties go to the lower index.
    pooled = jnp.concatenate([best[0], jnp.where(usable, distances, FAR)], axis=1)
    indices = jnp.concatenate([best[1], jnp.where(usable, index[None], NOBODY)], axis=1)
    # int32 sorts by -distance without loss: FAR becomes the smallest value but one.
    values, places = jax.lax.top_k(-pooled, count)
    return -values, jnp.take_along_axis(indices, places, axis=1)


def nearest(
    targets: np.ndarray,
    candidates: np.ndarray,
    count: int,
    *,
    weights: Sequence[int] = (1, 1, 1, 1),
    own: np.ndarray | None = None,
    target_block: int = 128,
    candidate_block: int = 512,
) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` candidates nearest to each target: indices and distances, int32 ``[T, count]``, nearest first.

    targets, candidates: integer masks ``[T, H, W]`` and ``[N, H, W]`` with ids 0 to 3, of one person.
    own: int ``[T]``, the target's own place among the candidates, which is left out; -1 where it is not among them.
    weights: whole numbers, one per class.

    Where fewer than ``count`` candidates exist the last places hold index -1 and distance 2^31 - 1. Memory: two
    blocks of one-hot masks on the device, whatever the pool. Raises UserError for an empty pool, other sizes, unknown
    ids and weights that are not whole and non-negative.
    """
    targets, candidates = _checked(targets, "target masks"), _checked(candidates, "candidate masks")
    if not len(candidates):
        raise UserError("retrieval: expected at least one candidate image of the person, found none")
    if targets.shape[1:] != candidates.shape[1:]:
        raise UserError(
            f"retrieval: expected candidate masks of the targets' size {_size(targets)}, found {_size(candidates)}"
        )
    if len(weights) != CLASSES or any(w < 0 or w != int(w) for w in weights):
        raise UserError(f"retrieval: expected {CLASSES} whole, non-negative class weights, found {list(weights)}")
    whole_weights = np.asarray(weights, np.int32)
    own = np.full(len(targets), NOBODY, np.int32) if own is None else np.asarray(own, np.int32)
    # Blocks of one size, so that pools of any size share one compiled program.
    target_block, candidate_block = (
        min(target_block, _bucket(len(targets))),
        min(candidate_block, _bucket(len(candidates))),
    )
    results = []
    for t in range(0, len(targets), target_block):
        part = _filled(targets[t : t + target_block], target_block)
        part_own = _filled(own[t : t + target_block], target_block)
        best = (
            jnp.full((target_block, count), FAR, jnp.int32),
            jnp.full((target_block, count), NOBODY, jnp.int32),
        )
        for n in range(0, len(candidates), candidate_block):
            block = candidates[n : n + candidate_block]
            filled = _filled(block, candidate_block)
            best = _merge(best, part, part_own, filled, np.int32(n), np.int32(len(block)), count, whole_weights)
        results.append(jax.device_get(best))
    distances, indices = (np.concatenate(arrays)[: len(targets)] for arrays in zip(*results, strict=True))
    return indices, distances


def _checked(masks: np.ndarray, what: str) -> np.ndarray:
    masks = np.asarray(masks)
    if masks.ndim != 3 or not np.issubdtype(masks.dtype, np.integer):
        raise UserError(f"retrieval: expected integer {what} [N, H, W], found {masks.dtype} {list(masks.shape)}")
    if masks.size and (masks.min() < 0 or masks.max() >= CLASSES):
        unknown = sorted(set(np.unique(masks).tolist()) - set(range(CLASSES)))
        raise UserError(f"retrieval: expected {what} with ids 0 to {CLASSES - 1}, found {unknown}")
    return masks.astype(np.uint8)


def _size(masks: np.ndarray) -> str:
    return "x".join(map(str, masks.shape[1:]))


def _bucket(count: int) -> int:
    return 1 << max(count - 1, 0).bit_length()


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    """``rows`` with the last one repeated up to ``count``."""
    return np.concatenate([rows, np.repeat(rows[-1:], count - len(rows), axis=0)])


@dataclass(frozen=True)
class Ranking:
    """The neighbours of one person's targets.

    targets, candidates: names of the images. index, distance: int32 ``[T, k]`` into ``candidates``, nearest first,
    -1 where the pool was too small.
    """

    targets: tuple[str, ...]
    candidates: tuple[str, ...]
    index: np.ndarray
    distance: np.ndarray

    def names(self, target: str) -> list[str]:
        """Candidates of ``target``, nearest first."""
        row = self.index[self.targets.index(target)]
        return [self.candidates[i] for i in row if i != NOBODY]


def rank_person(
    target_names: Iterable[str],
    target_masks: np.ndarray,
    candidate_names: Iterable[str],
    candidate_masks: np.ndarray,
    count: int = 200,
    weights: Sequence[int] = (1, 1, 1, 1),
) -> Ranking:
    """Rank one person's candidates for each of the person's targets; an image is never its own neighbour."""
    target_names, candidate_names = tuple(target_names), tuple(candidate_names)
    place = {name: i for i, name in enumerate(candidate_names)}
    own = np.array([place.get(name, NOBODY) for name in target_names], np.int32)
    count = min(count, max(len(candidate_names), 1))
    index, distance = nearest(target_masks, candidate_masks, count, weights=weights, own=own)
    return Ranking(target_names, candidate_names, index, distance)


def save_rankings(path: Path | str, rankings: Mapping[str, Ranking], weights: Sequence[int] = (1, 1, 1, 1)) -> None:
    """Write the rankings of all people to an HDF5 file.

    Layout: ``/PERSON/targets`` and ``/PERSON/candidates`` (UTF-8 names), ``/PERSON/index`` and ``/PERSON/distance``
    (int32 ``[T, k]``); file attributes ``weights`` (per class) and ``format`` = "eyegan ranking 1".
    """
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "eyegan ranking 1"
        file.attrs["weights"] = np.asarray(weights, np.int32)
        for person, ranking in rankings.items():
            group = file.create_group(person)
            group.create_dataset("targets", data=list(ranking.targets), dtype=h5py.string_dtype())
            group.create_dataset("candidates", data=list(ranking.candidates), dtype=h5py.string_dtype())
            group.create_dataset("index", data=ranking.index, compression="gzip")
            group.create_dataset("distance", data=ranking.distance, compression="gzip")


def load_rankings(path: Path | str) -> dict[str, Ranking]:
    """Read what :func:`save_rankings` wrote; UserError for a missing file or another kind of file."""
    if not Path(path).is_file():
        raise UserError(f"{path}: expected a ranking file, found nothing")
    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") != "eyegan ranking 1":
                raise UserError(f"{path}: expected a ranking file (format 'eyegan ranking 1'), found other HDF5")
            return {
                person: Ranking(
                    tuple(group["targets"].asstr()[:]),
                    tuple(group["candidates"].asstr()[:]),
                    group["index"][:],
                    group["distance"][:],
                )
                for person, group in file.items()
            }
    except OSError as error:
        raise UserError(f"{path}: expected an HDF5 ranking file: {error}") from None
