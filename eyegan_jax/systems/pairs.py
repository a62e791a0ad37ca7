"""What systems that learn from pairs of pictures share: samples in [-1, 1], random choices, mirror images."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from eyegan_jax.data.augmentation import MIRRORED, mirrored_pair
from eyegan_jax.gaze import vector_to_angles
from eyegan_jax.images import to_float, to_gray
from eyegan_jax.layers.detail import Change
from eyegan_jax.systems.seg2eye import some_of

FLIP, SHOW, PURPOSES = range(3)
"""Purposes of a sample's keys here; from ``PURPOSES`` on they are free."""


class Redirecting:
    """What systems that turn eyes have in common: :meth:`change` says what they do to a picture."""

    def change(
        self,
        variables: Mapping[str, Any],
        images: jax.Array,
        gaze: jax.Array,
        references: jax.Array | None = None,
        colours: jax.Array | None = None,
    ) -> Change:
        """What :meth:`redirect` does to images of the model's size, for :func:`~eyegan_jax.layers.detail.changed`.

        colours: gray ``images`` as they are in colour, ``[N, H, W, 3]``; the change is made to them then.
        """
        raise NotImplementedError

    def redirect(self, variables: Mapping[str, Any], images: jax.Array, gaze: jax.Array, references=None) -> jax.Array:
        """``images [N, H, W, C]`` in [-1, 1] looking along ``gaze [N, 2]`` (pitch, yaw) in radians.

        variables: ``state.average``. references: ``[N, k, H, W, C]``, further pictures of the same people, or None; one
        image is enough.
        """
        return self.change(variables, images, gaze, references).edited


def with_brightness(colours: jax.Array, gray: jax.Array) -> jax.Array:
    """``colours [N, H, W, 3]`` as bright as ``gray [N, H, W, 1]``, both in [-1, 1]; their differences are kept."""
    return jnp.clip(colours + gray - to_gray(colours), -1.0, 1.0)


class Eyes(flax.struct.PyTreeNode):
    """Pictures of a batch in [-1, 1] and, of simulated ones, what they shall become.

    image ``[B, H, W, C]``; shown ``[B, k, H, W, C]``, pictures of the person, and which of them are shown, bool
    ``[B, k]``. mask, target_mask ``[B, H, W]``; target ``[B, H, W, C]``; gaze, wanted ``[B, 2]`` in radians; motion
    ``[B, H, W, 3]``, where the target's pixels were (``simulator.motion.ball_motion``), where the batch says so.
    """

    image: jax.Array
    shown: jax.Array
    present: jax.Array
    mask: Any = None
    gaze: Any = None
    target: Any = None
    target_mask: Any = None
    wanted: Any = None
    motion: Any = None


def labelled(pairs: Mapping[str, jax.Array], keys, *, mirror: bool, vary: bool) -> Eyes:
    """A batch ``[B, 1, ...]`` of simulated pairs (:func:`eyegan_jax.simulator.pairs.pair_source`).

    mirror: flip half of the samples. vary: show between one and all pictures of a person, else all.
    """
    pairs = {name: value[:, 0] for name, value in pairs.items()}
    if mirror:
        pairs = flipped(pairs, coin(keys, FLIP))
    shown, present = _shown(pairs, keys, vary)
    return Eyes(
        image=to_float(pairs["image"]),
        shown=shown,
        present=present,
        mask=pairs["mask"].astype(jnp.int32),
        gaze=vector_to_angles(pairs["gaze"]),
        target=to_float(pairs["target_image"]),
        target_mask=pairs["target_mask"].astype(jnp.int32),
        wanted=vector_to_angles(pairs["target_gaze"]),
        motion=pairs["motion"].astype(jnp.float32) if "motion" in pairs else None,
    )


def unlabelled(real: Mapping[str, jax.Array], keys, *, mirror: bool, vary: bool) -> Eyes:
    """A batch of real pictures, with ``references`` where a person has several; nothing else is read."""
    pictures = {name: real[name][:, 0] for name in ("image", "references") if name in real}
    if mirror:
        pictures = flipped(pictures, coin(keys, FLIP))
    shown, present = _shown(pictures, keys, vary)
    return Eyes(image=to_float(pictures["image"]), shown=shown, present=present)


def _shown(pictures: Mapping[str, jax.Array], keys, vary: bool) -> tuple[jax.Array, jax.Array]:
    """All pictures of each person, in [-1, 1], and which of them the encoder sees."""
    shown = pictures["image"][:, None]
    if "references" in pictures:
        shown = jnp.concatenate([shown, pictures["references"]], axis=1)
    count = shown.shape[1]
    present = jnp.ones(shown.shape[:2], bool)
    if vary:
        present = jax.vmap(lambda k: some_of(jax.random.fold_in(k, SHOW), count))(keys)
    return to_float(shown), present


def together(first: Eyes, second: Eyes) -> tuple[jax.Array, jax.Array]:
    """The shown pictures of both, ``[2 B, k, H, W, C]``, and which are present; fewer pictures are filled up."""
    most = max(first.shown.shape[1], second.shown.shape[1])

    def filled(leaf):
        return jnp.pad(leaf, ((0, 0), (0, most - leaf.shape[1]), *((0, 0),) * (leaf.ndim - 2)))

    pairs = ((first.shown, second.shown), (first.present, second.present))
    shown, present = (jnp.concatenate([filled(leaf) for leaf in leaves]) for leaves in pairs)
    return shown, present


def coin(keys, purpose: int, chance: float = 0.5) -> jax.Array:
    """True with probability ``chance`` for each sample, bool ``[B]``; ``purpose`` tells its uses apart."""
    return jax.vmap(lambda k: jax.random.bernoulli(jax.random.fold_in(k, purpose), chance))(keys)


def either(choice, a, b) -> jax.Array:
    """``a`` where the sample's ``choice`` is true, else ``b``."""
    return jnp.where(choice.reshape(-1, *(1,) * (a.ndim - 1)), a, b)


def flipped(sample: Mapping[str, jax.Array], flip) -> dict[str, jax.Array]:
    """Everything about samples as in a mirror where ``flip [B]`` says so: a left eye becomes a right one."""
    known = {name: sample[name] for name in MIRRORED if name in sample}
    return jax.tree.map(partial(either, flip), jax.vmap(mirrored_pair)(known), known)
