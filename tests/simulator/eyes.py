"""Rendered eyes that several of the simulator's tests look at; each program is compiled once a session."""

import dataclasses
import functools

import jax
import numpy as np

from eyegan_jax.simulator import DOMAINS, View, render, sample_captures, sample_subjects

CLEAN = dataclasses.replace(DOMAINS["simulated"], sensor=False)
CROP = View(48, 72)


@functools.cache
def program(view, domain, vmapped=True):
    one = functools.partial(render, view=view, domain=domain)
    return jax.jit(jax.vmap(one) if vmapped else one)


@functools.cache
def drawn(count=16, view=CROP, domain=CLEAN, seed=0):
    """Subjects and captures with a leading axis."""
    subjects = sample_subjects(jax.random.fold_in(jax.random.key(seed), 0), count, domain, view.look)
    return subjects, sample_captures(jax.random.fold_in(jax.random.key(seed), 1), subjects, domain, view)


@functools.cache
def eyes(count=16, view=CROP, domain=CLEAN, seed=0):
    """Subjects, captures and renderings, as NumPy."""
    subjects, captures = drawn(count, view, domain, seed)
    return jax.device_get((subjects, captures, program(view, domain)(subjects, captures)))


def one(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def border_distance(mask: np.ndarray, point) -> float:
    """Pixels from ``point`` (x, y) to the nearest border of a boolean mask: borders run between pixel centres."""
    rows, columns = np.nonzero(mask[:, 1:] != mask[:, :-1])
    vertical = np.stack([columns + 0.5, rows], axis=-1)
    rows, columns = np.nonzero(mask[1:] != mask[:-1])
    horizontal = np.stack([columns, rows + 0.5], axis=-1)
    # A crack between two pixels is a segment of length 1.
    best = np.inf
    for cracks, along in ((vertical, 1), (horizontal, 0)):
        if len(cracks):
            offset = np.abs(cracks - np.asarray(point))
            offset[:, along] = np.maximum(offset[:, along] - 0.5, 0.0)
            best = min(best, float(np.linalg.norm(offset, axis=-1).min()))
    return best
