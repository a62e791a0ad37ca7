"""Pictures with captions that people wrote: CUB-200-2011 birds and Oxford-102 flowers, ten captions each.

The captions are those of Reed et al. (CVPR 2016), as text files: ``DIR/text/CLASS/NAME.txt``, one caption a line (for
the flowers NAME is ``image_00001`` and CLASS ``class_00001``). Pictures: ``DIR/images/CLASS/NAME.jpg`` of the birds,
``DIR/jpg/NAME.jpg`` of the flowers. ``DIR/trainclasses.txt`` and ``DIR/testclasses.txt`` (or ``trainvalclasses.txt``)
name the classes of either split, one a line.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from tqdm import tqdm

from eyegan_jax.data.decode import decode_image
from eyegan_jax.data.geometry import resize
from eyegan_jax.data.sources import DeviceSource
from eyegan_jax.errors import UserError
from eyegan_jax.tokeniser import Tokeniser, words_of

CAPTIONED = ("cub", "oxford102")
"""Kinds of streams that are read here."""

SPLITS = {"train": ("trainclasses.txt", "trainvalclasses.txt"), "test": ("testclasses.txt",)}
CROP = 64 / 74
"""Share of the stored picture that a sample shows: resized to 74, cropped to 64 (Dong et al. 2017)."""


@dataclass(frozen=True)
class Captioned:
    """One picture's file, its class and what people wrote about it."""

    path: Path
    kind: str
    captions: tuple[str, ...]


def read_captioned(folder: Path | str, kind: str, split: str | None = None) -> list[Captioned]:
    """The pictures of ``folder`` that have captions, in the order of their names; see this module for the layout.

    kind: "cub" or "oxford102". split: "train", "test" (of classes, as published), or None for all. Raises UserError for
    a missing folder or split file, and where no picture has a caption.
    """
    folder = Path(folder).expanduser()
    if kind not in CAPTIONED:
        raise UserError(f"kind: expected one of {', '.join(CAPTIONED)}, found {kind!r}")
    texts = folder / "text"
    if not texts.is_dir():
        raise UserError(f"{folder}: expected text/CLASS/NAME.txt with one caption a line, found no folder text")
    classes = _classes(folder, split)
    found = []
    for path in sorted(texts.glob("*/*.txt")):
        name = path.parent.name
        picture = folder / "images" / name / f"{path.stem}.jpg" if kind == "cub" else folder / f"jpg/{path.stem}.jpg"
        if (classes is None or name in classes) and picture.is_file():
            lines = tuple(line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip())
            if lines:
                found.append(Captioned(picture, name, lines))
    if not found:
        raise UserError(f"{folder}: expected pictures of {kind} with captions, found none for split {split!r}")
    return found


def _classes(folder: Path, split: str | None) -> set[str] | None:
    if split is None:
        return None
    if split not in SPLITS:
        raise UserError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
    files = [folder / name for name in SPLITS[split] if (folder / name).is_file()]
    if not files:
        raise UserError(f"{folder}: expected {' or '.join(SPLITS[split])} for split {split!r}, found none")
    return set(files[0].read_text().split())


def vocabulary(pictures: Sequence[Captioned], least: int = 3) -> tuple[str, ...]:
    """The words that occur at least ``least`` times, in alphabetical order."""
    counts = Counter(word for picture in pictures for caption in picture.captions for word in words_of(caption))
    return tuple(sorted(word for word, count in counts.items() if count >= least))


def read_vocabulary(path: Path | str, length: int) -> Tokeniser:
    """The tokeniser over the words of a text file, one a line; raises UserError where there is none."""
    path = Path(path).expanduser()
    words = tuple(dict.fromkeys(path.read_text().split())) if path.is_file() else ()
    if not words:
        raise UserError(f"vocabulary: expected a file of words, one a line (docs/text_edit.md), found none at {path}")
    return Tokeniser(words, length)


def captioned_source(config: ml_collections.ConfigDict, stream: ml_collections.ConfigDict, name: str) -> DeviceSource:
    """All pictures and captions of a stream on the device; ``name`` is for error messages.

    A sample has ``image`` uint8 ``[H, W, C]``, a random crop, flipped half of the time, and tokens int32 ``[L]``:
    ``own``, one of its captions, and ``text`` and ``wrong``, captions of pictures of other classes.
    """
    height, width, channels = config.image_shape
    try:
        if not stream.dir:
            raise UserError(f"expected dir, the folder of {stream.kind}, found nothing")
        pictures = read_captioned(stream.dir, stream.kind, stream.split)
        tokeniser = read_vocabulary(stream.vocabulary, stream.length)
    except UserError as error:
        raise UserError(f"config.data.{name}: {error}") from None
    stored = round(height / CROP), round(width / CROP)
    most = max(len(picture.captions) for picture in pictures)
    images, tokens = [], []
    for picture in tqdm(pictures, desc=f"reading {name}", unit="img", dynamic_ncols=True):
        example: Any = {"image": decode_image(picture.path, picture.path.name, channels), "name": picture.path.name}
        images.append(resize(example, *stored)["image"])
        texts = [tokeniser.encode_known(caption) for caption in picture.captions]
        tokens.append([texts[i % len(texts)] for i in range(most)])
    _, classes = np.unique([picture.kind for picture in pictures], return_inverse=True)
    if classes.max() == 0:
        raise UserError(f"config.data.{name}: expected pictures of several classes, found one")
    # Sorted by class, so that those of other classes are a stretch that can be drawn from.
    order = np.argsort(classes, kind="stable")
    counts = np.bincount(classes)
    first = np.cumsum(counts) - counts
    resident = {
        "image": np.stack(images)[order],
        "tokens": np.asarray(tokens, np.int32)[order],
        "first": first[classes[order]].astype(np.int32),
        "count": counts[classes[order]].astype(np.int32),
    }

    def draw(resident, key):
        return draw_captioned(resident, key, (height, width))

    return DeviceSource(draw, resident, len(pictures))


def draw_captioned(resident: Any, key: jax.Array, size: tuple[int, int]) -> dict[str, jax.Array]:
    """One sample of :func:`captioned_source`."""
    total, captions = resident["tokens"].shape[:2]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(2))
    index = jax.random.randint(keys[0], (), 0, total)
    u = jax.random.uniform(keys[1], (8,))
    first, count = jnp.asarray(resident["first"])[index], jnp.asarray(resident["count"])[index]

    def another(u):
        """A picture of another class: any place behind this class, going round."""
        return (first + count + (u * (total - count)).astype(int)) % total

    tokens = jnp.asarray(resident["tokens"])
    said = {"own": index, "text": another(u[0]), "wrong": another(u[1])}
    sample = {name: tokens[i, (u[2 + k] * captions).astype(int)] for k, (name, i) in enumerate(said.items())}
    image = jnp.asarray(resident["image"])[index]
    room = jnp.array([image.shape[0] - size[0], image.shape[1] - size[1]])
    top, left = (u[5:7] * (room + 1)).astype(int)
    image = jax.lax.dynamic_slice(image, (top, left, 0), (*size, image.shape[-1]))
    return sample | {"image": jnp.where(u[7] < 0.5, image, image[:, ::-1])}
