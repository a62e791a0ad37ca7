"""From a set of eyes to a source of training samples: resident on the device, or streamed by tf.data."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.data.examples import BadExample, Example, EyeSet
from eyegan_jax.data.geometry import resize
from eyegan_jax.data.sets import nothing_usable, read_all, subjects_of
from eyegan_jax.data.sources import DeviceSource, Source
from eyegan_jax.errors import UserError

FIELDS = ("image", "gaze", "head", "mask", "landmarks", "subject")
BACKENDS = ("auto", "memory", "stream")
DEFAULT_MEMORY_LIMIT = 2 << 30

log = logging.getLogger(__name__)


def to_source(
    eyeset: EyeSet,
    *,
    height: int,
    width: int,
    channels: int = 1,
    fields: Sequence[str] = ("image",),
    backend: str = "auto",
    seed: int = 0,
    memory_limit_bytes: int | None = None,
    fit: str = "stretch",
) -> Source:
    """Samples with the given fields at one size, drawn uniformly from the set for ever.

    fields: any of ``FIELDS``; ``image`` is always there. Of one sample: image uint8 ``[H, W, C]``, mask uint8
        ``[H, W]``, gaze float32 ``[3]``, head float32 ``[2]``, landmarks float32 ``[N, 2]`` in the resized
        image, subject int32 (place in :func:`people`).
    backend: ``memory`` decodes everything once, keeps it on the device as uint8 and draws with replacement
        there; ``stream`` decodes with tf.data while training runs, every example once per epoch, in an order
        that is a function of ``seed`` alone; ``auto`` takes memory where the set fits.
    memory_limit_bytes: what ``auto`` calls fitting; by default a quarter of the device's memory, or 2 GiB.
    fit: see :func:`eyegan_jax.data.geometry.resize`.

    Examples that are broken or lack a field are left out, counted and named in one warning. Raises UserError
    where nothing is left.
    """
    take = sample_of(eyeset, height, width, channels, fields, fit)
    if chosen_backend(eyeset, height, width, channels, fields, backend, memory_limit_bytes) == "stream":
        from eyegan_jax.data.stream import stream_source

        return stream_source(eyeset, take, seed)
    resident, _ = load(eyeset, take)
    return DeviceSource(draw_uniform, resident, len(resident["image"]))


def draw_uniform(resident: dict[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
    """One example, each with the same probability."""
    index = jax.random.randint(key, (), 0, resident["image"].shape[0])
    return {name: jnp.asarray(array)[index] for name, array in resident.items()}


def people(eyeset: EyeSet) -> list[str]:
    """The set's subjects in the order that the field ``subject`` counts them."""
    return sorted({subject for subject in subjects_of(eyeset) if subject is not None})


def sample_of(
    eyeset: EyeSet, height: int, width: int, channels: int, fields: Sequence[str], fit: str = "stretch"
) -> Callable[[Example], dict[str, np.ndarray]]:
    """The function from an example to its sample of arrays; it raises BadExample where a field is missing."""
    if channels not in (1, 3):
        raise UserError(f"data.channels: expected 1 (gray) or 3 (RGB), found {channels}")
    if unknown := [field for field in fields if field not in FIELDS]:
        raise UserError(f"data.fields: expected any of {', '.join(FIELDS)}; found {', '.join(unknown)}")
    if fit not in ("stretch", "crop"):
        raise UserError(f"data.fit: expected 'stretch' or 'crop', found {fit!r}")
    wanted = tuple(dict.fromkeys(("image", *fields)))
    order = {name: i for i, name in enumerate(people(eyeset))} if "subject" in wanted else {}

    def take(example: Example) -> dict[str, np.ndarray]:
        if missing := [field for field in wanted if field not in example]:
            raise BadExample(example["name"], f"has no {' and no '.join(missing)}")
        resized = resize(example | {"image": in_channels(example["image"], channels)}, height, width, fit)
        sample: dict[str, np.ndarray] = {}
        for field in wanted:
            value = resized[field]  # type: ignore[literal-required]
            sample[field] = np.asarray(order[value], np.int32) if field == "subject" else np.asarray(value)
        return sample

    return take


def in_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """uint8 ``[H, W, 1 or 3]`` as gray (ITU-R BT.601, rounded) or RGB."""
    if image.shape[-1] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=-1)
    gray = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(gray)[..., None].astype(np.uint8)


def load(eyeset: EyeSet, take: Callable[[Example], dict[str, np.ndarray]]) -> tuple[dict[str, np.ndarray], list[int]]:
    """Every usable sample stacked, ``[N, ...]`` per field, and the indices of the examples that they came
    from.

    Warns in one line about those left out. Raises UserError where none is usable.
    """
    reading = read_all(eyeset, take, "loading images")
    kept = [i for i, sample in enumerate(reading.found) if sample is not None]
    if not kept:
        raise nothing_usable(reading.bad, len(eyeset))
    first = reading.found[kept[0]]
    for i in kept:
        for name, value in reading.found[i].items():
            if value.shape != first[name].shape:
                reason = f"{name} has shape {list(value.shape)}, the set's first {list(first[name].shape)}"
                reading.bad.append(BadExample(eyeset.names[i], reason))
                reading.found[i] = None
                break
    kept = [i for i in kept if reading.found[i] is not None]
    if reading.bad:
        log.warning(reading.summary())
    return {name: np.stack([reading.found[i][name] for i in kept]) for name in first}, kept


def chosen_backend(
    eyeset: EyeSet,
    height: int,
    width: int,
    channels: int,
    fields: Sequence[str],
    backend: str,
    memory_limit_bytes: int | None,
) -> str:
    """``memory`` or ``stream``; for ``auto`` whichever suits the decoded size of the set."""
    if backend not in BACKENDS:
        raise UserError(f"data.backend: expected one of {', '.join(BACKENDS)}, found {backend!r}")
    if backend != "auto":
        return backend
    # Labels together are rarely longer than 64 landmarks.
    needed = len(eyeset) * (height * width * (channels + ("mask" in fields)) + 512)
    limit = memory_limit() if memory_limit_bytes is None else memory_limit_bytes
    return "memory" if needed <= limit else "stream"


def memory_limit() -> int:
    """A quarter of the first local device's memory where it tells, else 2 GiB."""
    stats: dict[str, Any] = jax.local_devices()[0].memory_stats() or {}
    return int(stats.get("bytes_limit", 4 * DEFAULT_MEMORY_LIMIT)) // 4
