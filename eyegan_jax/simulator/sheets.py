"""The pictures of docs/simulator.md: ``python -m eyegan_jax.simulator.sheets [FOLDER]`` (default docs/images).

One row per parameter (low, middle, high), a sheet of people, contact sheets of both looks and both domains, and
the table of ranges that the page holds between its marks.
"""

import dataclasses
import functools
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from eyegan_jax.images import to_uint8
from eyegan_jax.simulator.distributions import Each, Normal, Sometimes
from eyegan_jax.simulator.domains import DOMAINS, sample_captures, sample_subjects
from eyegan_jax.simulator.parameters import Capture, Subject
from eyegan_jax.simulator.populations import SUBJECTS as SUBJECT_TABLES
from eyegan_jax.simulator.populations import capture_table
from eyegan_jax.simulator.render import render
from eyegan_jax.simulator.views import VIEWS, View

WIDE = View(100, 140, channels=3, framing="ball")
INFRARED = View(100, 140, look="infrared", channels=3, framing="ball")
RAD = math.pi / 180.0

# Parameter -> (index into a vector or None, low, high, view); the middle is half way.
SUBJECT_SWEEPS: dict[str, tuple[int | None, float, float]] = {
    "ball_radius": (None, 11.3, 12.7),
    "cornea_radius": (None, 7.3, 8.3),
    "iris_radius": (None, 5.0, 6.0),
    "limbus_margin": (None, 0.58, 0.88),
    "iris_depth": (None, 3.4, 4.1),
    "pupil_offset": (0, -0.6, 0.6),
    "pupil_ellipticity": (None, -0.08, 0.08),
    "iris_fibers": (None, 0.0, 0.5),
    "iris_crypts": (None, 0.0, 1.0),
    "iris_furrows": (None, 0.0, 0.8),
    "collarette": (None, 0.15, 0.5),
    "collarette_contrast": (None, 0.0, 0.8),
    "heterochromia": (None, 0.0, 1.0),
    "limbal_ring": (None, 0.0, 1.0),
    "sclera_albedo": (None, 0.36, 0.8),
    "sclera_yellow": (None, 0.0, 1.0),
    "sclera_red": (None, 0.0, 0.9),
    "veins": (None, 0.0, 0.9),
    "fissure_width": (None, 24.5, 30.5),
    "canthal_tilt": (None, -3 * RAD, 10 * RAD),
    "upper_height": (None, 3.8, 7.0),
    "lower_height": (None, 3.2, 5.5),
    "upper_peak": (None, -0.3, 0.4),
    "lower_peak": (None, -0.4, 0.2),
    "upper_roundness": (None, 1.8, 3.2),
    "lower_roundness": (None, 1.6, 2.8),
    "margin_thickness": (None, 0.4, 1.8),
    "caruncle": (None, 2.0, 4.5),
    "fold_gap": (None, 1.0, 8.0),
    "fold_depth": (None, 0.0, 1.4),
    "hood": (None, 0.0, 0.9),
    "bag": (None, 0.0, 0.9),
    "socket": (None, 0.0, 1.2),
    "lash_length": (None, 4.0, 12.0),
    "lash_density": (None, 0.3, 1.5),
    "lash_curl": (None, 5 * RAD, 60 * RAD),
    "lash_darkness": (None, 0.2, 1.0),
    "lower_lashes": (None, 0.1, 0.8),
    "brow_height": (None, 13.5, 20.0),
    "brow_thickness": (None, 2.0, 6.0),
    "brow_density": (None, 0.1, 1.0),
    "melanin": (None, 0.0, 1.0),
    "hemoglobin": (None, 0.0, 1.0),
    "dark_circles": (None, 0.0, 0.7),
    "pores": (None, 0.0, 2.5),
    "wrinkles": (None, 0.0, 1.5),
    "oiliness": (None, 0.0, 2.0),
    "eyeliner": (None, 0.0, 1.0),
}
CAPTURE_SWEEPS: dict[str, tuple[int | None, float, float]] = {
    "gaze": (1, -25 * RAD, 25 * RAD),
    "torsion": (None, -0.3, 0.3),
    "head": (1, -18 * RAD, 18 * RAD),
    "side": (None, -1.0, 1.0),
    "distance": (None, 60.0, 650.0),
    "shift": (0, -0.1, 0.1),
    "scale": (None, 0.8, 1.25),
    "aperture": (None, 0.0, 1.1),
    "squint": (None, -0.5, 2.0),
    "pupil_radius": (None, 1.0, 4.0),
    "light_intensity": (0, 0.0, 1.6),
    "light_angles": (1, -80 * RAD, 80 * RAD),
    "light_warmth": (0, -0.8, 0.9),
    "light_size": (None, 0.03, 0.2),
    "ambient": (None, 0.1, 0.8),
    "ambient_gradient": (None, 0.0, 0.9),
    "lid_shadow": (None, 0.0, 1.0),
    "reflection": (None, 0.0, 2.5),
    "window_intensity": (None, 0.0, 14.0),
    "glasses": (None, 0.0, 1.0),
    "exposure": (None, -1.2, 1.2),
    "contrast": (None, 0.6, 1.6),
    "gamma": (None, 1.4, 2.8),
    "white_balance": (None, -0.6, 0.6),
    "blur": (None, 0.002, 0.018),
    "noise": (None, 0.0, 0.08),
    "grain": (None, 0.0, 0.1),
    "vignette": (None, 0.0, 0.8),
    "compression": (None, 0.0, 2.5),
    "equalization": (None, 0.0, 1.0),
}
INFRARED_SWEEPS: dict[str, tuple[int | None, float, float]] = {
    "iris_infrared": (None, 0.10, 0.55),
    "led_intensity": (0, 0.0, 5.0),
    "bright_pupil": (None, 0.0, 0.6),
}


@functools.partial(jax.jit, static_argnames=("view", "domain"))
def _pictures(subjects, captures, view, domain):
    return to_uint8(jax.vmap(lambda s, c: render(s, c, view, domain).image)(subjects, captures))


def _plain_eye(view: View):
    """An ordinary open eye that looks at the camera, as a batch of one."""
    domain = DOMAINS["simulated"]
    subjects = sample_subjects(jax.random.key(8), 1, domain)
    captures = sample_captures(jax.random.key(3), subjects, domain, view)
    zero = jnp.zeros((1,), jnp.float32)
    subjects = subjects.replace(
        melanin=zero + 0.15,
        iris_kind=jnp.full((1,), 5),
        iris_color=jnp.array([[0.14, 0.21, 0.30]]),
        eyeliner=zero,
        brow_height=zero + 16.0,
        bag=zero + 0.1,
        heterochromia=zero,
    )
    captures = captures.replace(
        gaze=jnp.zeros((1, 2)),
        head=jnp.zeros((1, 3)),
        shift=jnp.zeros((1, 2)),
        scale=zero + 0.9,
        aperture=zero + 1.0,
        exposure=zero,
        adaptation=zero + 0.5,
        light_warmth=jnp.zeros((1, 2)),
        white_balance=zero,
        pupil_radius=zero + 1.8,
        light_angles=jnp.array([[[0.7, 0.5], [0.1, -0.8]]]),
        glint_angles=jnp.array([[[0.7, 0.5], [0.1, -0.8]]]),
        light_intensity=jnp.array([[0.7, 0.1]]),
        squint=zero,
        torsion=zero,
        blur=zero + 0.002,
        glare=zero + 0.2,
        window=jnp.array([[0.3, 0.3, 0.15, 0.2]]),
        glasses_thickness=zero + 1.5,
    )
    return subjects, captures


def sweep(view: View, sweeps: dict[str, tuple[int | None, float, float]]) -> dict[str, np.ndarray]:
    """Parameter -> its three pictures ``[3, H, W, 3]``."""
    subjects, captures = _plain_eye(view)
    domain = dataclasses.replace(DOMAINS["randomized"])  # has every stage of the sensor
    batch = []
    for name, (index, low, high) in sweeps.items():
        for value in (low, 0.5 * (low + high), high):
            parts = {}
            for part in (subjects, captures):
                if hasattr(part, name):
                    old = getattr(part, name)
                    value = (1.0 if value >= 0 else -1.0) if name == "side" else value
                    new = jnp.full_like(old, value) if index is None else old.at[:, index].set(value)
                    parts[type(part)] = part.replace(**{name: new})
            batch.append((parts.get(Subject, subjects), parts.get(Capture, captures)))
    everyone, taken = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *batch)
    # A camera that adapts goes by the skin in its own picture.
    stacked = (everyone, taken.replace(metered_melanin=everyone.melanin))
    rendered: list[np.ndarray] = []
    for start in range(0, len(batch), 9):
        # Every call has the same shape, so that one program serves all.
        chosen = np.minimum(np.arange(start, start + 9), len(batch) - 1)
        part = jax.tree.map(lambda leaf, chosen=chosen: leaf[chosen], stacked)
        rendered.append(np.asarray(_pictures(*part, view, domain)))
    images = np.concatenate(rendered)[: len(batch)]
    return {name: images[3 * k : 3 * k + 3] for k, name in enumerate(sweeps)}


def labelled_rows(rows: dict[str, np.ndarray], columns: int = 3) -> Image.Image:
    """Triples of pictures under their names, ``columns`` triples side by side."""
    height, width = next(iter(rows.values())).shape[1:3]
    across, down = 3 * width + 12, height + 18
    sheet = Image.new("RGB", (columns * across, math.ceil(len(rows) / columns) * down), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (name, images) in enumerate(rows.items()):
        x, y = (k % columns) * across, (k // columns) * down
        draw.text((x + 4, y + 3), name, fill="black")
        sheet.paste(Image.fromarray(np.concatenate(list(images), axis=1)), (x, y + 17))
    return sheet


def contact_sheet(domain: str, view: View, rows: int, columns: int, seed: int = 0, per_person: int = 1) -> Image.Image:
    """Random eyes; ``per_person`` > 1 keeps a person along each row."""
    count, world = rows * columns, DOMAINS[domain]
    people = sample_subjects(jax.random.fold_in(jax.random.key(seed), 0), count // per_person, world, view.look)
    people = jax.tree.map(lambda leaf: jnp.repeat(leaf, per_person, axis=0), people)
    captures = sample_captures(jax.random.fold_in(jax.random.key(seed), 1), people, world, view)
    images = []
    for start in range(0, count, columns):
        part = jax.tree.map(lambda leaf, start=start: leaf[start : start + columns], (people, captures))
        images.append(np.concatenate(list(np.asarray(_pictures(*part, view, world))), axis=1))
    sheet = np.concatenate(images)
    return Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)


def _range(entry) -> str:
    if isinstance(entry, Each):
        return "; ".join(_range(part) for part in entry.parts[:2]) + ("; ..." if len(entry.parts) > 2 else "")
    if isinstance(entry, Sometimes):
        return f"0, or with p = {entry.chance:g} {entry.low:.3g} to {entry.high:.3g}"
    if entry.low == entry.high:
        return f"{entry.low:.3g}"
    if isinstance(entry, Normal):
        return f"{entry.mean:.3g} ± {entry.deviation:.2g}, {entry.low:.3g} to {entry.high:.3g}"
    return f"{entry.low:.3g} to {entry.high:.3g}"


def range_table() -> str:
    """Markdown: every parameter's distribution in the two domains (crop framing, visible light)."""
    lines = ["| parameter | simulated | captured |", "|---|---|---|"]
    tables = [SUBJECT_TABLES[name] | capture_table(name, "visible", "crop") for name in ("simulated", "captured")]
    for name in tables[0]:
        simulated, captured = (_range(table[name]) for table in tables)
        lines.append(f"| `{name}` | {simulated} | {'same' if simulated == captured else captured} |")
    return "\n".join(lines)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)

    def save(name: str, image: Image.Image) -> None:
        image.save(folder / f"simulator_{name}.png", optimize=True)
        print(folder / f"simulator_{name}.png", flush=True)

    save("subject_parameters", labelled_rows(sweep(WIDE, SUBJECT_SWEEPS)))
    save("capture_parameters", labelled_rows(sweep(WIDE, CAPTURE_SWEEPS)))
    save("infrared_parameters", labelled_rows(sweep(INFRARED, INFRARED_SWEEPS)))
    save("people", contact_sheet("simulated", View(120, 160, channels=3, framing="wide"), 6, 8, per_person=8))
    for domain in ("simulated", "captured"):
        sheet = contact_sheet(domain, VIEWS["unityeyes_35x55"], 8, 8)
        save(f"{domain}_visible", sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST))
        save(f"{domain}_infrared", contact_sheet(domain, VIEWS["meye_128"], 8, 8))
    save("headset", contact_sheet("simulated", VIEWS["openeds_320x200"], 2, 6))
    page = folder.parent / "simulator.md"
    if page.is_file():
        before, _, rest = page.read_text().partition("<!-- ranges -->\n")
        _, _, after = rest.partition("<!-- end of ranges -->")
        page.write_text(f"{before}<!-- ranges -->\n{range_table()}\n<!-- end of ranges -->{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/images"))
