"""Folder sets of the built-in simulator: written here, read by :class:`SimulatedSet` (and its TFDS builder).

    DEST/images/N.png   DEST/masks/N.png   DEST/labels/N.json   DEST/index.csv   DEST/set.json

Picture N is a pure function of (seed, N) and the options in ``set.json``, so that an interrupted run is
continued and any part of a set can be made anywhere.
"""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from tqdm import tqdm

from eyegan_jax.data.unityeyes import SimulatedSet
from eyegan_jax.errors import UserError
from eyegan_jax.files import write_text
from eyegan_jax.images import to_uint8
from eyegan_jax.simulator import (
    Domain,
    View,
    find_domain,
    find_view,
    fixed_subject,
    render_batch,
    sample_capture,
)
from eyegan_jax.simulator.labels import unityeyes_labels

__all__ = ["SimulatedSet", "write_simulated"]

INDEX_COLUMNS = (
    "name",
    "subject",
    "pitch_deg",
    "yaw_deg",
    "gaze_x",
    "gaze_y",
    "gaze_z",
    "pupil_x",
    "pupil_y",
    "pupil_a",
    "pupil_b",
    "pupil_angle",
)
PICTURE_KEY = 1  # tells the pictures' random numbers from the people's


def write_simulated(
    dest: str | Path,
    count: int,
    view: View | str = "unityeyes_35x55",
    domain: Domain | str = "simulated",
    subjects: int | None = None,
    seed: int = 0,
    batch: int = 32,
    progress: bool = True,
) -> int:
    """Writes pictures 0 to ``count - 1`` of a set and returns how many of them were new.

    subjects: number of people; picture N shows person N mod subjects. None: a new person in each picture.
    batch: pictures rendered at a time.
    Continues a set that was cut off or is to grow. Raises UserError where ``dest`` holds a set made with other
    options, or other files.
    """
    view, domain, dest = find_view(view), find_domain(domain), Path(dest)
    if count < 1 or (subjects is not None and subjects < 1):
        raise UserError(f"simulate: expected at least 1 picture and subject, found {count} and {subjects}")
    _claim(dest, _options(view, domain, subjects, seed))
    missing = [n for n in range(count) if not (dest / "labels" / f"{n}.json").is_file()]
    make = jax.jit(_make, static_argnames=("view", "domain", "seed"))
    with tqdm(total=count, initial=count - len(missing), unit="image", disable=not progress, desc=str(dest)) as bar:
        for start in range(0, len(missing), batch):
            numbers = np.array(missing[start : start + batch])
            # The last batch is filled up, so that one compiled program serves all.
            filled = np.concatenate([numbers, np.full(batch - len(numbers), numbers[-1])])
            people = filled if subjects is None else filled % subjects
            made = jax.device_get(make(jnp.asarray(filled), jnp.asarray(people), view=view, domain=domain, seed=seed))
            for k, number in enumerate(numbers):
                _write(dest, int(number), int(people[k]), jax.tree.map(lambda a, k=k: a[k], made), view, seed)
                bar.update()
    _write_index(dest)
    return len(missing)


def _make(numbers, people, *, view: View, domain: Domain, seed: int):
    root = jax.random.fold_in(jax.random.key(seed), PICTURE_KEY)

    def draw(number, person):
        subject = fixed_subject(seed, person, domain, view.look)
        return subject, sample_capture(jax.random.fold_in(root, number), subject, domain, view)

    subjects, captures = jax.vmap(draw)(numbers, people)
    rendering = render_batch(
        subjects,
        captures,
        view,
        domain,
        chunk=max(1, min(numbers.shape[0], 2_000_000 // (view.height * view.width))),
    )
    return (
        subjects,
        captures,
        rendering.replace(image=to_uint8(rendering.image), mask=rendering.mask.astype(jnp.uint8)),
    )


def _options(view: View, domain: Domain, subjects: int | None, seed: int) -> dict[str, Any]:
    return {
        "view": dataclasses.asdict(view),
        "domain": dataclasses.asdict(domain),
        "subjects": subjects,
        "seed": seed,
    }


def _claim(dest: Path, options: dict[str, Any]) -> None:
    """Makes the folders, or checks that what is there is this very set."""
    record = dest / "set.json"
    if record.is_file():
        found = json.loads(record.read_text())
        if found != options:
            differ = ", ".join(
                f"{key} {found.get(key)!r} instead of {options[key]!r}"
                for key in options
                if found.get(key) != options[key]
            )
            raise UserError(f"{dest}: holds another simulated set ({differ}); choose an empty folder")
    elif dest.is_dir() and any(dest.iterdir()):
        raise UserError(f"{dest}: expected an empty folder or a simulated set, found other files")
    for part in ("images", "masks", "labels"):
        (dest / part).mkdir(parents=True, exist_ok=True)
    if not record.is_file():
        write_text(record, json.dumps(options, indent=1) + "\n")


def _write(dest: Path, number: int, person: int, made, view: View, seed: int) -> None:
    subject, capture, rendering = made
    image = rendering.image
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(dest / "images" / f"{number}.png")
    Image.fromarray(rendering.mask).save(dest / "masks" / f"{number}.png")
    labels = unityeyes_labels(subject, capture, rendering, view, person, caption_seed=seed * 1_000_003 + number)
    # The label comes last and whole: its presence says that the picture is complete.
    write_text(dest / "labels" / f"{number}.json", json.dumps(labels) + "\n")


def _write_index(dest: Path) -> None:
    rows = []
    for path in sorted((dest / "labels").glob("*.json"), key=lambda p: int(p.stem)):
        labels = json.loads(path.read_text())
        x, y, z = labels["gaze"]
        pitch, yaw = np.degrees([np.arcsin(np.clip(-y, -1.0, 1.0)), np.arctan2(-x, -z)])
        rows.append(
            [
                f"images/{path.stem}.png",
                labels["subject"],
                f"{pitch:.4f}",
                f"{yaw:.4f}",
                x,
                y,
                z,
                *labels["pupil"],
            ]
        )
    with (dest / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([INDEX_COLUMNS, *rows])
