"""From the ``data`` part of a config to one source per stream: files, the simulator, or a mixture of both."""

import dataclasses
import zlib
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from ml_collections.config_dict import placeholder
from tqdm import tqdm

from eyegan_jax.data.catalog import open_set
from eyegan_jax.data.examples import EyeSet
from eyegan_jax.data.neighbours import simulated_people, to_neighbour_source
from eyegan_jax.data.people import to_person_source
from eyegan_jax.data.pipeline import draw_uniform, load, sample_of, to_source
from eyegan_jax.data.sources import DeviceSource, Source, draw_batch
from eyegan_jax.errors import UserError

SIMULATOR, MIXTURE = "simulator", "mixture"


def stream_config(kind: str, **settings: Any) -> ml_collections.ConfigDict:
    """The fields of one stream. ``kind``: "simulator", "mixture" (of ``parts``) or a data set's (docs/data.md)."""
    config = ml_collections.ConfigDict(
        {
            "kind": kind,
            # Of the simulator.
            "domain": "simulated",  # or captured, randomized: a name in simulator.DOMAINS
            "view": "unityeyes_35x55",  # framing and look: a name in simulator.VIEWS; the size is image_shape's
            "people": placeholder(int),  # number of different people, unbounded if not set
            "first_person": 0,  # the first of them, so that other people can be held out
            "references": placeholder(int),  # further images of the same person in each sample
            "seed": 0,  # of the people
            "images_per_person": 64,  # rendered of each of ``people`` where neighbours are asked for
            "session": False,  # there: all pictures of a person from one recording: light and camera stay
            "pool": 0,  # render so many images once and draw from them; 0 = render anew in every step
            # Of data sets in files.
            "dir": placeholder(str),
            "table": placeholder(str),  # CSV with labels, of a folder
            "subject": placeholder(str),  # column, folder or prefix, of a folder
            "crop": placeholder(str),  # gazeml, window or none, of UnityEyes
            "split": placeholder(str),
            "fit": "stretch",  # how an image of another shape is brought to image_shape
            "weight": 1.0,  # share in a mixture
            # Retrieval, of any kind with several images per person: further images of the same person by their masks.
            "neighbours": placeholder(str),  # how ``references`` are chosen: nearest, or uniform over the 200 nearest
            "neighbour_pool": placeholder(int),  # of so many of a person, drawn anew for each sample; all if not set
        }
    )
    config.parts = ml_collections.ConfigDict()
    for name, value in settings.items():
        config[name] = value
    return config


def build_streams(config: ml_collections.ConfigDict, names: Collection[str]) -> dict[str, Source]:
    """One source for each named stream of ``config.data``, with images of ``config.image_shape``.

    Raises UserError for unknown kinds, missing folders and sets without a usable image.
    """
    ordered = sorted(names)
    # Side by side: compiling a renderer keeps one core busy for half a minute.
    with ThreadPoolExecutor() as pool:
        return dict(
            zip(ordered, pool.map(lambda name: build_stream(config, config.data[name], name), ordered), strict=True)
        )


def build_stream(config: ml_collections.ConfigDict, stream: ml_collections.ConfigDict, name: str) -> Source:
    """The source of one stream; ``name`` is for error messages."""
    if stream.neighbours is not None:
        return _neighbours(config, stream, name)
    if stream.kind == SIMULATOR:
        return _simulated(config, stream, name)
    if stream.kind == MIXTURE:
        used = {part: child for part, child in stream.parts.items() if child.weight > 0}
        parts = {part: build_stream(config, child, f"{name}.parts.{part}") for part, child in used.items()}
        return mix(parts, {part: child.weight for part, child in used.items()}, name)
    height, width, channels = config.image_shape
    try:
        eyeset = _open(stream, height, width)
        make = partial(to_person_source, references=stream.references) if stream.references else to_source
        return make(
            eyeset,
            height=height,
            width=width,
            channels=channels,
            fields=config.data.fields[name.partition(".")[0]],
            backend=config.data.backend,
            seed=config.seed,
            fit=stream.fit,
        )
    except UserError as error:
        raise UserError(f"config.data.{name}: {error}") from None


def _open(stream: ml_collections.ConfigDict, height: int, width: int) -> EyeSet:
    options = {key: stream[key] for key in ("table", "subject", "crop", "split") if stream[key] is not None}
    if stream.kind == "unityeyes":
        options["size"] = (height, width)  # its reader crops
    return open_set({"kind": stream.kind, "dir": stream.dir, **options})


def _simulated(config: ml_collections.ConfigDict, stream: ml_collections.ConfigDict, name: str) -> DeviceSource:
    from eyegan_jax import simulator

    height, width, channels = config.image_shape
    for field, known in (("domain", simulator.DOMAINS), ("view", simulator.VIEWS)):
        if stream[field] not in known:
            raise UserError(f"config.data.{name}.{field}: expected one of {', '.join(known)}, found {stream[field]!r}")
    source = simulator.simulator_source(
        stream.domain,
        dataclasses.replace(simulator.VIEWS[stream.view], height=height, width=width, channels=channels),
        seed=stream.seed,
        subjects=stream.people,
        first_subject=stream.first_person,
        references=stream.references or 0,
    )
    if not stream.pool:
        return source
    key = jax.random.fold_in(jax.random.key(config.seed), zlib.crc32(name.encode()))
    samples = collect(source, stream.pool, key, config.data.fields[name.partition(".")[0]], f"rendering {name}")
    return DeviceSource(draw_uniform, samples, stream.pool)


def _neighbours(config: ml_collections.ConfigDict, stream: ml_collections.ConfigDict, name: str) -> DeviceSource:
    """Images with those of the same person whose masks are nearest, all held on the device."""
    arrays = people_arrays(config, stream, name)
    try:
        return to_neighbour_source(
            arrays, references=stream.references or 1, pool=stream.neighbour_pool, choice=stream.neighbours
        )
    except UserError as error:
        raise UserError(f"config.data.{name}: {error}") from None


def people_arrays(
    config: ml_collections.ConfigDict, stream: ml_collections.ConfigDict, name: str
) -> dict[str, np.ndarray]:
    """All pictures of a stream's people: uint8 ``image [N, H, W, C]`` and ``mask [N, H, W]``, int32 ``subject [N]``."""
    height, width, channels = config.image_shape
    try:
        if stream.kind == SIMULATOR:
            from eyegan_jax import simulator

            return simulated_people(
                stream.domain,
                dataclasses.replace(simulator.find_view(stream.view), height=height, width=width, channels=channels),
                people=stream.people or 1,
                images=stream.images_per_person,
                seed=stream.seed,
                first_person=stream.first_person,
                session=stream.session,
                title=f"rendering {name}",
            )
        eyeset = _open(stream, height, width)
        take = sample_of(eyeset, height, width, channels, ("image", "mask", "subject"), stream.fit)
        return load(eyeset, take)[0]
    except UserError as error:
        raise UserError(f"config.data.{name}: {error}") from None


def collect(
    source: DeviceSource, count: int, key: jax.Array, fields: Collection[str], title: str = "", chunk: int = 128
) -> dict[str, np.ndarray]:
    """``count`` samples of a device source as NumPy arrays ``[count, ...]``; sample i depends on (key, i) only."""

    @jax.jit
    def draw(resident, start):
        batch = draw_batch(source, resident, key, start + jnp.arange(chunk), 1)
        return {field: batch[field][:, 0] for field in fields}

    parts = []
    with tqdm(total=count, desc=title, unit="img", dynamic_ncols=True, disable=not title) as bar:
        for start in range(0, count, chunk):
            parts.append(jax.device_get(draw(source.resident, start)))
            bar.update(min(chunk, count - start))
    return {field: np.concatenate([part[field] for part in parts])[:count] for field in fields}


def mix(parts: Mapping[str, Source], weights: Mapping[str, float], name: str) -> DeviceSource:
    """A device source that takes each sample from one of ``parts`` with probability proportional to its weight."""
    streamed = [part for part, source in parts.items() if not isinstance(source, DeviceSource)]
    if streamed or not parts:
        raise UserError(
            f"config.data.{name}: expected parts that fit on the device, found {streamed or 'none'}; "
            "set data.backend=memory or train on one of them"
        )
    sources = {part: source for part, source in parts.items() if isinstance(source, DeviceSource)}
    order = sorted(sources)
    cumulative = jnp.cumsum(jnp.array([weights[part] for part in order]))

    def draw(resident: Any, key: jax.Array) -> dict[str, jax.Array]:
        chosen = jnp.searchsorted(cumulative, jax.random.uniform(jax.random.fold_in(key, 0)) * cumulative[-1], "right")
        samples = [sources[part].draw(resident[part], jax.random.fold_in(key, 1)) for part in order]
        shared = set.intersection(*(set(sample) for sample in samples))
        return {field: jnp.stack([sample[field] for sample in samples])[chosen] for field in sorted(shared)}

    return DeviceSource(draw, {part: sources[part].resident for part in order})
