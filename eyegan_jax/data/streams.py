"""From the ``data`` part of a config to one source per stream: files, the simulator, or a mixture of both."""

import dataclasses
import zlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from ml_collections.config_dict import placeholder
from tqdm import tqdm

from eyegan_jax import cache
from eyegan_jax.data.captioned import CAPTIONED, captioned_source
from eyegan_jax.data.catalog import open_set
from eyegan_jax.data.examples import EyeSet
from eyegan_jax.data.neighbours import simulated_people, to_neighbour_source
from eyegan_jax.data.people import to_person_source
from eyegan_jax.data.pipeline import draw_uniform, load, sample_of, to_source
from eyegan_jax.data.sources import DeviceSource, Source, draw_batch
from eyegan_jax.errors import UserError

SIMULATOR, PAIRS, EDITS, MIXTURE = "simulator", "pairs", "edits", "mixture"


def stream_config(kind: str, **settings: Any) -> ml_collections.ConfigDict:
    """The fields of one stream. ``kind``: "simulator", "pairs" (of simulated pictures, before and after a change),
    "edits" (pairs with the sentences that ask for them), "mixture" (of ``parts``) or a data set's (docs/data.md)."""
    config = ml_collections.ConfigDict(
        {
            "kind": kind,
            # Of the simulator.
            "domain": "simulated",  # or captured, randomized: a name in simulator.DOMAINS
            "view": "unityeyes_35x55",  # framing and look: a name in simulator.VIEWS; the size is image_shape's
            "people": placeholder(int),  # number of different people, unbounded if not set
            "first_person": 0,  # the first of them, so that other people can be held out
            "references": placeholder(int),  # further images of the same person in each sample; 0: none
            "seed": 0,  # of the people
            "images_per_person": 64,  # rendered of each of ``people`` where neighbours are asked for
            "session": False,  # there: all pictures of a person from one recording: light and camera stay
            "change": "gaze",  # of pairs: a name in simulator.pairs.CHANGES
            "before": "none",  # of pairs: the change that the first picture itself goes through
            "attributes": (),  # of edits: what sentences ask for, names in simulator.edits.EDITABLE
            "most": 2,  # of edits: most attributes that one of them changes
            "alike": False,  # of edits: a picture is described in as many clauses as an edit is asked for in
            "mirror": False,  # of edits: half of the pairs flipped left to right, the sentences with them
            "pool": 0,  # render so many images once and draw from them; 0 = render anew in every step
            # Of data sets in files.
            "dir": placeholder(str),
            "table": placeholder(str),  # CSV with labels, of a folder
            "subject": placeholder(str),  # column, folder or prefix, of a folder
            "crop": placeholder(str),  # gazeml, window or none, of UnityEyes
            "split": placeholder(str),
            "subjects": (),  # only these people of it; all if empty
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
    # Streams of equal settings are one source: what is rendered or loaded for one serves all of them.
    settings = {
        name: (config.data[name].to_json_best_effort(), tuple(config.data.fields.get(name, ())))
        for name in sorted(names)
    }
    firsts = {setting: name for name, setting in reversed(settings.items())}
    # What is read comes before what is rendered: a mistyped folder should not cost minutes of rendering.
    rendered = {s: name for s, name in firsts.items() if config.data[name].kind in (SIMULATOR, PAIRS, EDITS)}
    read = {s: name for s, name in firsts.items() if s not in rendered}
    built = {s: build_stream(config, config.data[name], name) for s, name in read.items()}
    # Side by side: compiling a renderer keeps one core busy for half a minute.
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda name: build_stream(config, config.data[name], name), rendered.values())
        built |= dict(zip(rendered, found, strict=True))
    return {name: built[setting] for name, setting in settings.items()}


def build_stream(config: ml_collections.ConfigDict, stream: ml_collections.ConfigDict, name: str) -> Source:
    """The source of one stream; ``name`` is for error messages."""
    if stream.neighbours is not None:
        return _neighbours(config, stream, name)
    if stream.kind in (SIMULATOR, PAIRS, EDITS):
        return simulated_source(config, stream, name)
    if stream.kind in CAPTIONED:
        return captioned_source(config, stream, name)
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
            fields=_fields(config, stream, name),
            backend=config.data.backend,
            seed=config.seed,
            fit=stream.fit,
        )
    except UserError as error:
        raise UserError(f"config.data.{name}: {error}") from None


def _fields(config: ml_collections.ConfigDict, stream: ml_collections.ConfigDict, name: str) -> tuple[str, ...]:
    """What samples of this stream hold: what the config says, less the references where it wants none (0)."""
    fields = config.data.fields[name.partition(".")[0]]
    return tuple(field for field in fields if field != "references" or stream.references != 0)


def _open(stream: ml_collections.ConfigDict, height: int, width: int) -> EyeSet:
    options = {key: stream[key] for key in ("table", "subject", "crop", "split") if stream[key] is not None}
    if stream.subjects:
        options["subjects"] = stream.subjects
    if stream.kind == "unityeyes":
        options["size"] = (height, width)  # its reader crops
    return open_set({"kind": stream.kind, "dir": stream.dir, **options})


def simulated_source(config: ml_collections.ConfigDict, stream: ml_collections.ConfigDict, name: str) -> DeviceSource:
    """The rendered source of a stream of kind "simulator", "pairs" or "edits"; see :func:`build_stream`."""
    from eyegan_jax import simulator
    from eyegan_jax.simulator import edits, pairs

    height, width, channels = config.image_shape
    known_names: dict[str, Collection[str]] = {"domain": simulator.DOMAINS, "view": simulator.VIEWS}
    if stream.kind == PAIRS:
        known_names |= {"change": pairs.CHANGES, "before": pairs.CHANGES}
    for field, known in known_names.items():
        if stream[field] not in known:
            raise UserError(f"config.data.{name}.{field}: expected one of {', '.join(known)}, found {stream[field]!r}")
    make: Callable[..., DeviceSource] = simulator.simulator_source
    if stream.kind == PAIRS:
        make = partial(pairs.pair_source, change=stream.change, before=stream.before)
    elif stream.kind == EDITS:
        make = partial(edits.edit_source, attributes=stream.attributes, most=stream.most)
    source = make(
        stream.domain,
        dataclasses.replace(simulator.VIEWS[stream.view], height=height, width=width, channels=channels),
        seed=stream.seed,
        subjects=stream.people,
        first_subject=stream.first_person,
        references=stream.references or 0,
    )
    if stream.pool:
        source = _pooled(config, source, stream, name)
    if stream.kind != EDITS:
        return source
    # Runs from before these were settings are judged, too.
    said = {name: stream.get(name, False) for name in ("alike", "mirror")}
    return edits.with_sentences(source, stream.attributes, **said)


def _pooled(config, source: DeviceSource, stream: ml_collections.ConfigDict, name: str) -> DeviceSource:
    """``stream.pool`` samples of ``source``, rendered once and held on the device."""
    key = jax.random.fold_in(jax.random.key(config.seed), zlib.crc32(name.encode()))
    samples = collect(source, stream.pool, key, _fields(config, stream, name), f"rendering {name}")
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

    # The key is an argument, so that another one finds the program in the compilation cache.
    @jax.jit
    def draw(resident, key, start):
        batch = draw_batch(source, resident, key, start + jnp.arange(chunk), 1)
        return {field: batch[field][:, 0] for field in fields}

    @lru_cache
    def lower():
        return draw.lower(source.resident, key, np.int32(0))

    def make():
        run, parts = lower().compile(), []
        with tqdm(total=count, desc=title, unit="img", dynamic_ncols=True, disable=not title) as bar:
            for start in range(0, count, chunk):
                parts.append(jax.device_get(run(source.resident, key, np.int32(start))))
                bar.update(min(chunk, count - start))
        return {field: np.concatenate([part[field] for part in parts])[:count] for field in fields}

    if source.recipe:  # tracing a renderer would take seconds
        what = f"{source.recipe} {sorted(fields)} {chunk} {cache.code(__name__, 'eyegan_jax.simulator')}"
    else:
        what = lower().as_text()
    return cache.kept(what, (source.resident, key, count), make)


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
