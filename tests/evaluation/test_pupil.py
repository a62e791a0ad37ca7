"""The pupil detector against drawn eyes of known centre, and against hand-made masks of real eyes."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyegan_jax.evaluation import metrics, pupil
from eyegan_jax.evaluation.refinement import label_preservation

REALDATA = Path(os.environ.get("EYEGAN_REALDATA", Path(__file__).parents[3] / "shared" / "realdata"))


def draw_eyes(centres, radius=7.0, height=35, width=55, noise=0.0, seed=0):
    """Dark discs on a bright sclera within darker skin, anti-aliased by supersampling, uint8."""
    s = 5
    y, x = (np.mgrid[: height * s, : width * s] + 0.5) / s - 0.5
    rng = np.random.default_rng(seed)
    eyes = []
    for cx, cy in centres:
        image = np.full(x.shape, 150.0)
        image[((x - width / 2) / 22) ** 2 + ((y - height / 2) / 11) ** 2 < 1] = 210
        image[np.hypot(x - cx, y - cy) < radius] = 70
        image[np.hypot(x - cx, y - cy) < radius / 2] = 30
        small = image.reshape(height, s, width, s).mean((1, 3)) + rng.normal(0, noise, (height, width))
        eyes.append(np.clip(small, 0, 255).astype(np.uint8))
    return np.stack(eyes)[..., None]


def test_finds_drawn_pupils_to_a_fraction_of_a_pixel():
    centres = np.random.default_rng(0).uniform((16, 13), (39, 22), (40, 2))
    found, contrast = pupil.pupil_centres(draw_eyes(centres, noise=5))
    errors = np.linalg.norm(found - centres, axis=1)
    assert np.median(errors) < 0.25 and errors.max() < 0.7
    assert contrast.min() > 50


def test_finds_colour_and_large_eyes():
    centres = np.array([[70.0, 60.0], [90.0, 40.0]])
    eyes = draw_eyes(centres, radius=18.0, height=100, width=160)
    found, _ = pupil.pupil_centres(np.repeat(eyes, 3, axis=-1))
    np.testing.assert_allclose(found, centres, atol=0.5)


def test_shift_measures_motion_and_ignores_contrast_brightness_and_noise():
    centres = np.random.default_rng(1).uniform((18, 14), (37, 21), (30, 2))
    raw = draw_eyes(centres)
    rng = np.random.default_rng(2)
    other_look = np.clip(raw * 0.6 + 20 + rng.normal(0, 6, raw.shape), 0, 255).astype(np.uint8)
    assert pupil.pupil_shift(raw, other_look).mean() < 0.3
    gamma = np.round(255 * (raw / 255) ** 0.5).astype(np.uint8)
    assert pupil.pupil_shift(raw, gamma).max() < 0.02, "a monotonic change of tones moves nothing"
    moved = pupil.pupil_shift(raw, draw_eyes(centres + np.array([1.5, 0.0]), noise=4))
    assert np.median(moved) == pytest.approx(1.5, abs=0.15)


def test_what_all_pupils_share_is_told_from_their_scatter():
    rng = np.random.default_rng(3)
    centres = rng.uniform((18, 15), (37, 20), (60, 2))
    scatter = rng.normal(0, 0.4, centres.shape)
    scatter -= scatter.mean(0)
    refined = draw_eyes(centres + np.array([0.5, -1.0]) + scatter)
    real = draw_eyes(rng.permutation(centres) + np.array([0.0, -1.5]))
    found = label_preservation(draw_eyes(centres), refined, real=real)
    assert found["together"] == pytest.approx({"right": 0.5, "down": -1.0}, abs=0.1)
    assert found["domains"] == pytest.approx({"right": 0.0, "down": -1.5}, abs=0.1)
    assert found["scatter"]["mean"] == pytest.approx(np.linalg.norm(scatter, axis=1).mean(), abs=0.1)


def test_a_flat_image_has_no_contrast():
    centre, contrast = pupil.pupil_centres(np.full((1, 35, 55, 1), 90, np.uint8))
    assert np.isfinite(centre).all() and abs(contrast[0]) < 1


@pytest.mark.skipif(not (REALDATA / "meye").is_dir(), reason=f"no real data at {REALDATA}/meye")
def test_agrees_with_hand_made_masks_of_real_infrared_eyes():
    with open(REALDATA / "meye" / "index.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["has_pupil_mask"] == "1"][::20]
    folder = REALDATA / "meye"
    images = np.stack([np.asarray(Image.open(folder / "images" / r["filename"]).convert("L")) for r in rows])
    masks = np.stack(
        [
            np.asarray(Image.open(folder / "pupil_masks" / f"{Path(r['filename']).stem}.png").convert("RGB"))[..., 0]
            > 127
            for r in rows
        ]
    )
    visible = masks.sum((1, 2)) > 60
    found, _ = pupil.pupil_centres(images[visible][..., None], pupil.INFRARED)
    errors = np.linalg.norm(found - metrics.mask_centres(masks[visible]), axis=1)
    assert np.median(errors) < 1.0 and np.mean(errors < 3) > 0.9
