"""Judges of edits: a classifier that reads the bin of every attribute from a picture; no generator ever sees it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from eyegan_jax.data.streams import collect, simulated_source
from eyegan_jax.evaluation.fitting import Training, predict, train
from eyegan_jax.networks.small_resnet import SmallResNet
from eyegan_jax.simulator.caption_tokens import SIZES
from eyegan_jax.simulator.captions import ATTRIBUTES, UNSAID

TEST = 1.0 / 16.0
"""Share of the reader's pictures on which it is tested."""

BATCH = 64

LEARNING_RATE = 3e-3
"""Of Muon, which reads more than Adam after as many steps: docs/text_edit.md."""


@dataclass(frozen=True)
class Reader:
    """A trained reader. ``accuracy``: share of test pictures on which it reads the true bin, by attribute."""

    network: SmallResNet
    variables: Any
    accuracy: dict[str, float | None]

    def read(self, images: np.ndarray) -> np.ndarray:
        """uint8 images ``[N, H, W, C]`` to bin numbers int32 ``[N, A]``; the likeliest one also of what is hidden."""
        logits = predict(self.network, self.variables, images, BATCH)
        return np.stack([np.argmax(of_one, -1) for of_one in split(jnp.asarray(logits))], axis=-1).astype(np.int32)


def split(logits: jax.Array) -> list[jax.Array]:
    """Logits ``[N, sum of bins]`` by attribute."""
    return jnp.split(logits, np.cumsum(SIZES)[:-1], axis=-1)


def reading_loss(logits: jax.Array, bins: jax.Array) -> jax.Array:
    """Mean cross-entropy over attributes that are said; logits ``[N, sum of bins]``, bins int ``[N, A]``."""
    total, count = jnp.zeros(()), jnp.zeros(())
    for i, of_one in enumerate(split(logits)):
        said = bins[:, i] != UNSAID
        entropy = optax.softmax_cross_entropy_with_integer_labels(of_one, jnp.maximum(bins[:, i], 0))
        total, count = total + jnp.sum(entropy * said), count + said.sum()
    return total / jnp.maximum(count, 1)


def train_reader(config: ml_collections.ConfigDict, path: Path | None = None) -> Reader:
    """The reader of a run's domain, view and size, learnt from people of its own; from ``path`` if it is there."""
    settings = config.evaluation
    network = SmallResNet(settings.reader_widths, outputs=int(SIZES.sum()))
    height, width, channels = config.image_shape
    blank = jnp.zeros((1, height, width, channels))
    if path is not None and path.exists():
        like = jax.eval_shape(network.init, jax.random.key(0), blank)["params"]
        stored = flax.serialization.msgpack_restore(path.read_bytes())
        params = flax.serialization.from_state_dict(like, stored["params"])
        return Reader(network, {"params": params}, stored["accuracy"])
    stream = config.data.edits.copy_and_resolve_references().unlock()
    stream.first_person, stream.people, stream.pool = settings.reader_people, 500_000, 0
    stream.mirror = False  # it reads left eyes, and right ones in a mirror
    source = simulated_source(config, stream, "reader")
    count = settings.reader_images // 2
    samples = collect(
        source,
        count,
        jax.random.fold_in(jax.random.key(config.seed), 77),
        ("image", "target_image", "bins", "target_bins"),
        "rendering for the reader",
    )
    held = max(1, int(TEST * count))  # both pictures of a pair fall on the same side of the split

    def sides(first: str, second: str) -> list[np.ndarray]:
        # Taken out of the samples: they are gigabytes, and would be there twice.
        both = samples.pop(first), samples.pop(second)
        return [np.concatenate([one[part] for one in both]) for part in (slice(held), slice(held, None))]

    (test_images, images), (test_bins, bins) = sides("image", "target_image"), sides("bins", "target_bins")
    how = Training(settings.reader_steps, BATCH, LEARNING_RATE, optimiser="muon")
    variables = train(network, reading_loss, images, bins, config.seed, how, title="training the reader")
    reader = Reader(network, variables, {})
    found = reader.read(test_images)
    accuracy = {name: _share(found[:, i] == test_bins[:, i], test_bins[:, i]) for i, name in enumerate(ATTRIBUTES)}
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = {"params": jax.device_get(dict(variables["params"])), "accuracy": accuracy}
        path.write_bytes(flax.serialization.msgpack_serialize(stored))
    return Reader(network, variables, accuracy)


def _share(right: np.ndarray, bins: np.ndarray) -> float | None:
    said = bins != UNSAID
    return float(right[said].mean()) if said.any() else None
