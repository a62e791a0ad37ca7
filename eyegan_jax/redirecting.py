"""``eyegan redirect``: eyes of a folder, a picture or a larger photo, made to look elsewhere.

Angles are those of the camera frame of :mod:`eyegan_jax.gaze`, for left and right eyes alike: pitch is positive
upwards, yaw towards the left edge of the picture, and nothing has to be flipped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from eyegan_jax import systems
from eyegan_jax.bulk import Report, expect_pictures, process_folder, process_picture, warn_by_name
from eyegan_jax.data.geometry import middle_box, resample
from eyegan_jax.data.pipeline import in_channels
from eyegan_jax.errors import UserError
from eyegan_jax.evaluation.batches import in_batches
from eyegan_jax.eye_finding import certainty_of, frame_eyes, opening_of
from eyegan_jax.images import Pictures, to_float, to_gray, to_uint8
from eyegan_jax.layers.detail import Change
from eyegan_jax.models import Model, load_model
from eyegan_jax.own_resolution import changed_picture
from eyegan_jax.photos import Box, check_box, eye_finder, put_back, shown_by
from eyegan_jax.pictures import grid_png
from eyegan_jax.systems.redirect import REACH

STATE = ("average",)
"""What a redirector's state holds for use after training."""

LEAST_OPENING = 0.01
"""Share of a picture that sclera, iris and pupil fill at least where an eye is open."""

LEAST_CERTAINTY = 0.6
"""Mean probability of what is taken for sclera, iris and pupil, below which a picture is unlike what was learnt."""


@dataclass(frozen=True)
class Wish:
    """Where eyes shall look, in degrees; None keeps what an eye does now.

    relative: angles are added to the eye's own. Raises UserError where neither angle is given.
    """

    pitch: float | None
    yaw: float | None
    relative: bool = False

    def __post_init__(self):
        if self.pitch is None and self.yaw is None:
            raise UserError("redirect: expected --pitch, --yaw or both in degrees, found neither")

    def of(self, seen: np.ndarray) -> np.ndarray:
        """The wanted (pitch, yaw) ``[N, 2]`` in degrees of eyes that look along ``seen [N, 2]``."""
        wanted = np.array(seen, np.float64)
        for i, angle in enumerate((self.pitch, self.yaw)):
            if angle is not None:
                wanted[:, i] = seen[:, i] * self.relative + angle
        return wanted

    def times(self, share: float) -> "Wish":
        """A point of a sweep: ``share`` of the wish, from -1 to 1."""
        pitch, yaw = (None if angle is None else share * angle for angle in (self.pitch, self.yaw))
        return Wish(pitch, yaw, self.relative)


@dataclass(frozen=True)
class Redirector:
    """A trained model ready for uint8 images ``[N, H, W, C]`` of its own size; any N.

    look: images to (pitch, yaw) ``[N, 2]`` in degrees, the share ``[N]`` that shows an open eye and how certain that is
    ``[N]``. change: images, angles ``[N, 2]`` in degrees and, if wanted, further pictures of the same people ``[N, k,
    H, W, C]`` to what is done to them; a gray model takes images in colour, too. masks: class probabilities ``[N, H, W,
    4]`` of images; None for a model without a segmenter.
    """

    shape: tuple[int, int, int]
    look: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
    change: Callable[..., Change]
    masks: Callable[[np.ndarray], np.ndarray] | None = None

    def turn(self, images: np.ndarray, angles: np.ndarray, references: np.ndarray | None = None) -> np.ndarray:
        """Images that look along ``angles``; arguments as of ``change``."""
        return np.asarray(to_uint8(self.change(images, angles, references).edited))


def redirector(model: Model, batch: int = 16) -> Redirector:
    """The functions of a trained run of ``redirect`` or ``gaze_gan``; raises UserError for another one."""
    if model.config.system not in ("redirect", "gaze_gan"):
        raise UserError(f"{model.path}: expected a redirect or gaze_gan run, found {model.config.system}")
    system: Any = systems.build_system(model.config)
    variables = jax.tree.map(jnp.asarray, model.params["average"])

    @jax.jit
    def look(images):
        images = to_float(images)
        if model.config.system == "gaze_gan":
            # Without a segmenter every picture counts as an open eye.
            return jnp.degrees(system.read_gaze(variables, images)), jnp.ones(len(images)), jnp.ones(len(images))
        masks = system.masks(variables, images)
        return jnp.degrees(system.read(variables, masks)), opening_of(masks), certainty_of(masks)

    @jax.jit
    def change(images, angles, references):
        others = None if references is None else to_float(references)
        pictures, colours = to_float(images), None
        if pictures.shape[-1] > model.config.image_shape[2]:
            pictures, colours = to_gray(pictures), pictures
        return system.change(variables, pictures, jnp.radians(angles), others, colours)

    def change_all(images, angles, references=None):
        angles = np.asarray(angles, np.float32)

        def some(rows):
            return change(images[rows], angles[rows], None if references is None else references[rows])

        return in_batches(some, np.arange(len(images)), batch)

    masks = None
    if model.config.system == "redirect":
        masks = partial(in_batches, jax.jit(lambda images: system.masks(variables, to_float(images))), size=batch)
    return Redirector(model.config.image_shape, partial(in_batches, look, size=batch), change_all, masks)


def framed(tool: Redirector, pictures: Pictures) -> list[Box]:
    """The part of each picture that the model shall see: its middle, or more than the whole of a close-up."""
    if tool.masks is None:
        return [middle_box(picture.shape[0], picture.shape[1], tool.shape) for picture in pictures]
    return frame_eyes(tool.masks, pictures, tool.shape)


@dataclass(frozen=True)
class Redirected:
    """A picture and what was done to it: the gaze that was seen, the one that was drawn (degrees), and a warning."""

    image: np.ndarray
    seen: np.ndarray
    drawn: np.ndarray
    warning: str = ""


def redirect_pictures(tool: Redirector, pictures: Pictures, boxes: Sequence[Box], wish: Wish) -> list[Redirected]:
    """Every picture, uint8 ``[H, W, C]`` of any size, all gray or all in colour, with the eye in its box turned; the
    rest stays as it is.

    A gaze beyond :data:`REACH` is drawn at its border, a picture without an open eye is left alone, and one in which
    the model is unsure of the eye (:data:`LEAST_CERTAINTY`) is turned; each comes with a warning. Where the model is
    gray, a coloured picture keeps its colours, which move with what they belong to.
    """
    height, width, channels = tool.shape
    crops = np.stack([resample(p, box, height, width) for p, box in zip(pictures, boxes, strict=True)])
    plain = np.stack([in_channels(crop, channels) for crop in crops])
    seen, opening, certain = tool.look(plain)
    wanted = wish.of(seen)
    drawn = np.clip(wanted, -np.array(REACH), REACH)
    changes = tool.change(crops if crops.shape[-1] > channels else plain, drawn)
    results = []
    for i, (picture, box) in enumerate(zip(pictures, boxes, strict=True)):
        if opening[i] < LEAST_OPENING:
            text = "found no open eye, left it as it is"
            results.append(Redirected(picture, seen[i], seen[i], text))
            continue
        text = ""
        if certain[i] < LEAST_CERTAINTY:
            text = f"unlike the eyes that the model knows (certain to {100 * certain[i]:.0f} %), look at the result"
        elif np.abs(wanted[i] - drawn[i]).max() > 0.5:
            text = f"asked for {_angles(wanted[i])}, drew {_angles(drawn[i])}: eyes turn no farther"
        change = jax.tree.map(lambda leaf, i=i: leaf[i], changes)
        results.append(Redirected(paste(picture, box, change), seen[i], drawn[i], text))
    return results


def _angles(degrees) -> str:
    return f"pitch {degrees[0]:.0f} yaw {degrees[1]:.0f}"


def paste(picture: np.ndarray, box: Box, change: Change) -> np.ndarray:
    """``picture``, uint8 ``[H, W, 1 or 3]``, with ``change`` (without a batch's axis) done to what ``box`` shows of it.

    What moves is moved, and what is painted is painted, in the picture's own pixels, see
    :func:`~eyegan_jax.layers.detail.changed`; towards the box's edges it fades out (:func:`put_back`).
    """
    here = shown_by(box, picture)
    channels = max(here.shape[-1], change.edited.shape[-1])
    made = in_channels(changed_picture(in_channels(here, channels), change), picture.shape[-1])
    return put_back(picture, box, made)


@dataclass
class _Job:
    """What one call of :func:`redirect_folder` does with pictures of one size, and its warnings."""

    tool: Redirector
    wish: Wish
    box: Box | None
    find: Callable[[np.ndarray], Box | None] | None
    warnings: dict[str, str] = field(default_factory=dict)

    def boxes(self, pictures: Pictures) -> list[Box]:
        if self.box is not None:
            return [self.box] * len(pictures)
        if self.find is None:
            return framed(self.tool, pictures)
        return [self.find(picture) or framed(self.tool, [picture])[0] for picture in pictures]

    def outputs(self, name: str, result: Redirected) -> dict[str, np.ndarray]:
        if result.warning:
            self.warnings[name] = result.warning
        return {name: result.image}


def redirect_folder(
    source: Path,
    dest: Path,
    checkpoint: Path,
    wish: Wish,
    *,
    paste: bool = False,
    box: Box | None = None,
    sweep: int = 0,
    batch: int = 16,
    overwrite: bool = False,
) -> Report:
    """Turn the eye of every picture below ``source`` (or of the one picture that it is); results below ``dest``.

    paste: pictures are larger photos; the eye is looked for in them, or known to be in ``box`` (pixels).
    sweep: so many steps from minus the wish to the wish: ``NAME_sweep.png``, a sheet, and ``NAME_sweep.gif`` instead.
    See :func:`eyegan_jax.bulk.process_folder` for the rest. Warnings are logged, a few by name. Raises UserError for a
    box outside of a picture, and for what process_folder refuses.
    """
    source, dest = expect_pictures(source), Path(dest)
    model = load_model(checkpoint, STATE)
    tool = redirector(model, 1 if source.is_file() else batch)
    if sweep == 1 or sweep < 0:
        raise UserError(f"--sweep: expected at least 2 steps, found {sweep}")
    job = _Job(tool, wish, box, eye_finder(tool.shape) if paste and box is None else None)
    if source.is_file():
        # DEST is a file, or a folder where the picture keeps its name.
        folder, own_name = (dest.parent, dest.name) if dest.suffix else (dest, source.name)
    else:
        folder, own_name = dest, ""

    def apply(pictures: Pictures) -> Sequence[Any]:
        for picture in pictures:
            check_box(box, picture.shape[:2])
        boxes = job.boxes(pictures)
        if sweep:
            return list(zip(*(redirect_pictures(tool, pictures, boxes, w) for w in _path(wish, sweep)), strict=True))
        return redirect_pictures(tool, pictures, boxes, wish)

    def outputs(name: str, picture: np.ndarray, result: Any) -> dict[str, np.ndarray]:
        if not sweep:
            return job.outputs(name, result)
        sheet = folder / f"{Path(name).with_suffix('')}_sweep.png"
        # A folder's job knows what it has done; a half-written sweep of its own is written anew.
        if own_name and sheet.exists() and not overwrite:
            raise UserError(f"{sheet}: expected a new file, found one; --overwrite replaces it")
        _write_sweep(job, name, sheet, picture, result)
        return {}

    stamp = {
        "command": "redirect",
        "checkpoint": str(Path(checkpoint).resolve()),
        "step": model.step,
        "pitch": wish.pitch,
        "yaw": wish.yaw,
        "relative": wish.relative,
        "paste": paste,
        "box": list(box) if box else None,
        "sweep": sweep,
    }
    if own_name:
        report = process_picture(source, folder, apply, name=own_name, outputs=outputs, overwrite=overwrite)
    else:
        options: dict[str, Any] = {"by_stem": bool(sweep), "batch": batch, "overwrite": overwrite}
        report = process_folder(source, folder, apply, outputs=outputs, mixed=True, stamp=stamp, **options)
    warn_by_name(job.warnings)
    return report


def _path(wish: Wish, steps: int) -> list[Wish]:
    return [wish.times(share) for share in np.linspace(-1.0, 1.0, steps)]


def _write_sweep(job: _Job, name: str, sheet: Path, picture: np.ndarray, frames: Sequence[Redirected]) -> None:
    """``NAME_sweep.png``: the picture and the steps side by side; ``NAME_sweep.gif``: the steps there and back."""
    for frame in frames:
        if frame.warning:
            job.warnings.setdefault(name, frame.warning)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    shown = np.stack([picture, *(frame.image for frame in frames)])
    labels = ["as it is", *(f"{frame.drawn[0]:.0f}, {frame.drawn[1]:.0f}" for frame in frames)]
    grid_png(shown[None], sheet, column_labels=labels)
    images = [Image.fromarray(frame.image[..., 0] if frame.image.shape[-1] == 1 else frame.image) for frame in frames]
    images += images[-2:0:-1]
    images[0].save(sheet.with_suffix(".gif"), save_all=True, append_images=images[1:], duration=80, loop=0)
