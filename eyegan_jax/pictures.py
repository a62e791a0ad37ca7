"""Contact sheets of eye images as PNG, with labels; Pillow only."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 110
"""Default size on screen: small eyes are enlarged to at least this many pixels of width."""
BACKGROUND, INK, GAP = (255, 255, 255), (40, 40, 40), 2

MASK_COLOURS = np.array([[40, 40, 48], [235, 235, 225], [70, 140, 200], [230, 80, 60], [150, 150, 60]], np.uint8)
"""RGB of the OpenEDS ids (skin and background, sclera, iris, pupil) and of the frame of glasses."""


def mask_to_rgb(mask) -> np.ndarray:
    """Integer masks ``[..., H, W]`` of OpenEDS ids to images ``[..., H, W, 3]``, float32 in [-1, 1]."""
    return MASK_COLOURS[np.asarray(mask)].astype(np.float32) / 127.5 - 1.0


def _to_rgb8(images) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype != np.uint8:
        images = np.round((np.clip(images.astype(np.float32), -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images


def grid_image(
    images,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    scale: int | None = None,
) -> Image.Image:
    """The sheet that :func:`grid_png` writes, as a Pillow image."""
    cells = _to_rgb8(images)
    if cells.ndim != 5 or cells.shape[-1] != 3:
        raise ValueError(f"a grid is [rows, columns, H, W, 1 or 3], found {np.shape(images)}")
    rows, columns, height, width, _ = cells.shape
    for name, labels, count in (("row", row_labels, rows), ("column", column_labels, columns)):
        if labels is not None and len(labels) != count:
            raise ValueError(f"the grid has {count} {name}s, found {len(labels)} labels")
    scale = scale or max(1, -(-CELL // width))
    # Pixels stay square blocks: smoothing would hide what the network did.
    font = ImageFont.load_default(size=14)
    left = max((int(font.getlength(label)) + 12 for label in row_labels), default=0) if row_labels else 0
    top = 22 if column_labels else 0
    step_y, step_x = height * scale + GAP, width * scale + GAP
    sheet = Image.new("RGB", (left + columns * step_x - GAP, top + rows * step_y - GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for r in range(rows):
        for c in range(columns):
            cell = Image.fromarray(cells[r, c]).resize((width * scale, height * scale), Image.Resampling.NEAREST)
            sheet.paste(cell, (left + c * step_x, top + r * step_y))
    for r, label in enumerate(row_labels or ()):
        draw.text((left - 6, top + r * step_y + height * scale / 2), label, INK, font, anchor="rm")
    for c, label in enumerate(column_labels or ()):
        draw.text((left + c * step_x + width * scale / 2, top / 2), label, INK, font, anchor="mm")
    return sheet


def grid_png(
    images,
    path: str | Path,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    scale: int | None = None,
) -> None:
    """Write images ``[rows, columns, H, W, C]`` (float in [-1, 1] or uint8, C = 1 or 3) as one PNG.

    ``scale``: whole-number enlargement; by default cells become about 110 px wide. Makes missing folders.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    grid_image(images, row_labels, column_labels, scale).save(path)
