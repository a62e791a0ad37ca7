"""A folder of images in, the same tree processed out: what ``eyegan refine`` and ``eyegan segment`` share.

Decoding and encoding run in threads beside the device. A job can be stopped and started again: finished files stay,
nothing is overwritten silently, and several processes share one job by taking every n-th file.
"""

import dataclasses
import json
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image
from tqdm import tqdm

from eyegan_jax.compiler import make_room
from eyegan_jax.data.decode import SUFFIXES, decode_image
from eyegan_jax.data.examples import BadExample
from eyegan_jax.errors import UserError
from eyegan_jax.files import is_hidden, write_atomically, write_text

log = logging.getLogger(__name__)

MANIFEST = "eyegan.json"
TRUTH_FOLDERS = ("masks", "labels")
"""Folders of a simulated set whose files are truth, not pictures: always copied as they are."""

PIXELS = 2**21
"""Most pixels of one batch: 64 channels of them, in float32, are half a gigabyte."""

CPU_PIXELS = 2**16
"""The same on CPU, where larger batches are no faster and the only picture of its size fills one, too."""

WAITING = 2**24
"""Most pixels of decoded pictures that wait for others to go with: 50 MB in colour."""

Apply = Callable[[Any], Any]
Outputs = Callable[[str, np.ndarray, Any], Mapping[str, np.ndarray]]


@dataclasses.dataclass
class Report:
    """What a job did; ``str()`` is the summary a user reads."""

    dest: Path
    written: int = 0
    already: int = 0
    copied: int = 0
    broken: list[BadExample] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = f" ({self.written / self.seconds:.3g} images/s)" if self.seconds else ""
        parts = [f"{self.written} images written to {self.dest}{rate}"]
        if self.already:
            parts.append(f"{self.already} were already there")
        if self.copied:
            parts.append(f"{self.copied} other files carried over")
        if self.broken:
            named = "; ".join(str(bad) for bad in self.broken[:3])
            parts.append(f"{len(self.broken)} could not be read: {named}{' ...' if len(self.broken) > 3 else ''}")
        return ", ".join(parts)


def expect_pictures(source: Path) -> Path:
    """``source``, a picture or a folder of them; raises UserError where there is nothing."""
    if not Path(source).exists():
        raise UserError(f"{source}: expected a picture or a folder of pictures, found nothing")
    return Path(source)


def process_folder(
    source: Path,
    dest: Path,
    apply: Apply,
    *,
    stamp: Mapping[str, Any],
    outputs: Outputs | None = None,
    mixed: bool = False,
    by_stem: bool = False,
    channels: int | None = None,
    batch: int = 64,
    overwrite: bool = False,
) -> Report:
    """Apply a batched function to every image below ``source`` and write the results to the same names below ``dest``.

    apply: uint8 ``[batch, H, W, C]`` to an array with the same first axis. Images are grouped by size, and a group is
        always padded to the same number, so that each size is compiled once.
    mixed: ``apply`` looks at pictures in a size of its own, so it gets lists of uint8 ``[H, W, C]``, at most ``batch``
        long and alike in C alone, and gives one result for each.
    outputs: ``(name, image, result) -> {relative path: uint8 image}`` of one image; by default the result under its
        own name.
    by_stem: outputs are called as the image without its ending, so two that differ in that alone are refused.
    stamp: says what is being done (which checkpoint); a ``dest`` with another stamp is refused.
    channels: convert to so many on decoding; None keeps gray and colour as they are.
    batch: images of one call, at most; fewer of large ones, see :data:`PIXELS`, :data:`CPU_PIXELS`, :data:`WAITING`.

    Files that are no images (labels, JSON, CSV) are copied, hidden ones are not. Unreadable images and those too large
    for the memory are counted and named. Raises UserError for a missing source, one without images, and a ``dest``
    that holds something else.
    """
    source, dest = Path(source), Path(dest)
    images, others = _scan(source, dest)
    if by_stem:
        _expect_own_stems(source, images)
    _claim(dest, dict(stamp) | {"source": str(source.resolve())}, overwrite)
    share = slice(jax.process_index(), None, jax.process_count())
    report = Report(dest)
    for name in others[share]:
        if overwrite or not (dest / name).exists():
            write_atomically(dest / name, partial(shutil.copyfile, source / name))
            report.copied += 1
    write = outputs or (lambda name, image, result: {name: result})
    wanted = []
    for name in images[share]:
        # What a name is written to does not depend on its pixels, so the first output tells whether it is done.
        done = (dest / name).exists() if outputs is None else _done_marker(dest, name).exists()
        if done and not overwrite:
            report.already += 1
        else:
            wanted.append(name)
    bar = tqdm(total=len(wanted), unit="img", dynamic_ncols=True, disable=not wanted)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool, bar:
        saves: list[Future] = []
        size: tuple[int, ...] = ()
        for names, pixels in _groups(pool, source, wanted, channels, batch, mixed, report, bar):
            if mixed or pixels[0].shape != size:
                make_room()
            size = pixels[0].shape
            results = _within_memory(apply, pixels, 0 if mixed else _rows(size, batch))
            for name, image, result in zip(names, pixels, results, strict=True):
                if isinstance(result, TooLarge):
                    report.broken.append(BadExample(name, result.reason))
                    continue
                saves.append(pool.submit(_save, dest, name, write(name, image, result), outputs is not None))
                report.written += 1
            while len(saves) > 4 * batch:
                saves.pop(0).result()
            bar.update(len(names))
        for save in saves:
            save.result()
        report.seconds = bar.format_dict["elapsed"]
    if wanted and not (report.written or report.already):
        raise UserError(
            f"{source}: expected images that can be read, found {len(wanted)} broken ones: {report.broken[0]}"
        )
    return report


def process_picture(
    source: Path,
    folder: Path,
    apply: Apply,
    *,
    name: str = "",
    outputs: Outputs | None = None,
    channels: int | None = None,
    overwrite: bool = False,
) -> Report:
    """As a ``mixed`` :func:`process_folder` for the one picture ``source``: results below ``folder``, under ``name``
    (its own)."""
    name = name or source.name
    try:
        pixels = decode_image(source, source.name, channels)
    except BadExample as bad:
        raise UserError(f"{source}: expected a picture, found {bad.reason}") from None
    (result,) = _within_memory(apply, [pixels], 0)
    if isinstance(result, TooLarge):
        raise UserError(f"{source}: expected a picture that fits into memory, found {result.reason}")
    images = {name: result} if outputs is None else outputs(name, pixels, result)
    for relative in images:
        if (folder / relative).exists() and not overwrite:
            raise UserError(f"{folder / relative}: expected a new file, found one; --overwrite replaces it")
    _save(folder, name, images, marked=False)
    return Report(folder, written=1)


@dataclasses.dataclass(frozen=True)
class TooLarge:
    """Stands for the result of a picture that the device has not enough memory for."""

    reason: str


def _within_memory(apply: Apply, pictures: list[np.ndarray], rows: int) -> list[Any]:
    """Results of ``apply``; where all pictures together are too much for the device's memory, of one after the other,
    and TooLarge for one that is too much by itself.

    rows: the pictures, of one size, are filled up to an array of so many; 0 for a list of any sizes.
    """
    try:
        results = apply(np.stack(pictures + pictures[-1:] * (rows - len(pictures))) if rows else pictures)
        return [results[i] for i in range(len(pictures))]
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
    if len(pictures) > 1 or rows > 1:
        return [result for picture in pictures for result in _within_memory(apply, [picture], min(rows, 1))]
    height, width = pictures[0].shape[:2]
    return [TooLarge(f"{width}x{height} pixels, too many for this device's memory")]


def _expect_own_stems(source: Path, images: list[str]) -> None:
    """Raises UserError where two images differ by their endings alone."""
    stems: dict[Path, str] = {}
    for name in images:
        other = stems.setdefault(Path(name).with_suffix(""), name)
        if other != name:
            raise UserError(
                f"{source}: expected images whose names differ by more than their endings, since results are PNG, "
                f"found {other} and {name}"
            )


def _scan(source: Path, dest: Path) -> tuple[list[str], list[str]]:
    """Sorted relative names of the images and of all other files below ``source``, hidden ones aside."""
    if not source.is_dir():
        raise UserError(f"{source}: expected a folder of images, found {'a file' if source.exists() else 'nothing'}")
    if dest.resolve() == source.resolve() or source.resolve() in dest.resolve().parents:
        raise UserError(f"{dest}: expected a folder outside of {source}, found one inside it")
    images: list[str] = []
    others: list[str] = []
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_file() and path.name != MANIFEST and not is_hidden(name):
            picture = path.suffix.lower() in SUFFIXES and not set(name.parts[:-1]) & set(TRUTH_FOLDERS)
            (images if picture else others).append(name.as_posix())
    if not images:
        raise UserError(f"{source}: expected images ({' '.join(sorted(SUFFIXES))}), found {len(others)} other files")
    return images, others


def warn_by_name(warnings: Mapping[str, str]) -> None:
    """Log what there is to say of single pictures: a few by name, how many more there are."""
    for name, text in list(warnings.items())[:5]:
        log.warning("%s: %s", name, text)
    if len(warnings) > 5:
        log.warning("... and %d more pictures with warnings", len(warnings) - 5)


def _claim(dest: Path, stamp: dict, overwrite: bool) -> None:
    """Write the manifest, or make sure that the one there says the same."""
    manifest = dest / MANIFEST
    if manifest.exists() and not overwrite:
        try:
            found = json.loads(manifest.read_text())
        except json.JSONDecodeError as error:
            raise UserError(f"{manifest}: expected JSON, found {error}; --overwrite starts anew") from None
        if found != stamp:
            changed = next(key for key in {*found, *stamp} if found.get(key) != stamp.get(key))
            raise UserError(
                f"{dest}: expected results of {changed} = {stamp.get(changed)}, found those of {found.get(changed)}; "
                "choose another DEST or --overwrite"
            )
    elif dest.is_dir() and any(dest.iterdir()) and not manifest.exists() and not overwrite:
        raise UserError(
            f"{dest}: expected a new or empty folder, found other files; choose another DEST or --overwrite"
        )
    if jax.process_index() == 0:
        write_text(manifest, json.dumps(stamp, indent=2) + "\n")


def _rows(shape: tuple[int, ...], batch: int) -> int:
    """How many images of this ``[H, W, C]`` go through the device together."""
    pixels = CPU_PIXELS if jax.default_backend() == "cpu" else PIXELS
    return min(batch, max(1, pixels // (shape[0] * shape[1])))


def _groups(
    pool: ThreadPoolExecutor,
    source: Path,
    names: list[str],
    channels: int | None,
    batch: int,
    mixed: bool,
    report: Report,
    bar: tqdm,
) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Up to :func:`_rows` images of one size, or ``batch`` of any, at a time; broken ones go to the report.

    Where more pixels come than may wait, the largest group does not wait any longer.
    """
    waiting: dict[tuple, list[tuple[str, np.ndarray]]] = defaultdict(list)
    held = 0
    decoding: list[tuple[str, Future]] = []
    queue = iter(names)

    def refill() -> None:
        while len(decoding) < 2 * batch and (name := next(queue, None)) is not None:
            decoding.append((name, pool.submit(decode_image, source / name, name, channels)))

    refill()
    while decoding:
        name, future = decoding.pop(0)
        refill()
        try:
            image = future.result()
        except BadExample as bad:
            report.broken.append(bad)
            bar.update()
            continue
        own = image.shape[2:] if mixed else image.shape
        waiting[own].append((name, image))
        held += image.shape[0] * image.shape[1]
        full = len(waiting[own]) == (batch if mixed else _rows(image.shape, batch))
        while full or held > WAITING:
            group = waiting.pop(own if full else max(waiting, key=lambda kind: len(waiting[kind])))
            held -= sum(i.shape[0] * i.shape[1] for _, i in group)
            yield [n for n, _ in group], [i for _, i in group]
            full = False
    for group in waiting.values():
        yield [n for n, _ in group], [i for _, i in group]


def _save(dest: Path, name: str, images: Mapping[str, np.ndarray], marked: bool) -> None:
    for relative, pixels in images.items():
        picture = Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels)
        suffix = Path(relative).suffix.lower()
        options: Any = {"quality": 95} if suffix in (".jpg", ".jpeg") else {}
        write_atomically(dest / relative, partial(picture.save, **options))
    if marked:
        write_text(_done_marker(dest, name), "")


def _done_marker(dest: Path, name: str) -> Path:
    """Where a job with several outputs per image notes that all of them are written."""
    return dest / ".done" / f"{name}.done"
