"""Pupil figures on masks whose truth is known by construction, and the eyes that segmenters are judged on."""

import ml_collections
import numpy as np
import pytest

from eyegan_jax.data.streams import stream_config
from eyegan_jax.evaluation.segmenter import pupil_figures, read_pupils, simulated_tests


def square(top, left, side=4, size=20):
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 3
    return mask


def test_pupil_figures():
    true = np.stack([square(2, 2), square(5, 5), square(0, 0, 0), square(0, 0, 0)])
    found = np.stack([square(2, 2), square(5, 8), square(9, 9), square(0, 0, 0)])
    figures = pupil_figures(found, true, np.array(["a", "b", "a", "b"]))
    assert figures["dice"]["mean"] == pytest.approx((1 + 2 * 4 / 32) / 2)
    assert figures["dice_by_person"]["n"] == 2
    assert figures["centre_error_px"]["mean"] == pytest.approx(1.5)
    assert figures["area_ratio"]["mean"] == 1 and figures["missed_percent"] == 0
    assert figures["blink_false_positives_percent"] == 50
    assert (figures["images_with_pupil"], figures["images_without_pupil"]) == (2, 2)


def test_a_missed_pupil_costs_dice_and_is_counted():
    figures = pupil_figures(np.zeros((1, 20, 20), np.uint8), square(2, 2)[None], np.array(["a"]))
    assert figures["dice"]["mean"] == 0 and figures["missed_percent"] == 100
    assert figures["centre_error_px_median"] is None


def test_a_pupil_found_too_large_shows_in_its_area():
    figures = pupil_figures(square(1, 1, 6)[None], square(2, 2, 4)[None], np.array(["a"]))
    assert figures["area_ratio"]["mean"] == pytest.approx(36 / 16)
    assert figures["centre_error_px"]["mean"] == 0


def test_every_simulator_of_a_mixture_is_judged_in_its_own_view():
    eyes = stream_config("mixture")
    eyes.parts.close_up = stream_config("simulator", domain="randomized", view="meye_128")
    eyes.parts.left_out = stream_config("simulator", weight=0.0)
    eyes.parts.files = stream_config("folder", dir="anywhere")
    config = ml_collections.ConfigDict({"image_shape": (32, 32, 1), "data": {"eyes": eyes}})
    tests = simulated_tests(config, people=2, images=3)
    assert set(tests) == {"simulated_close_up"}
    found = tests["simulated_close_up"]
    assert found["image"].shape == (6, 32, 32, 1) and found["mask"].shape == (6, 32, 32)
    assert found["mask"].max() == 3 and len(set(found["subject"])) == 2


def test_real_pupils_are_read_with_their_people(realdata):
    eyes = read_pupils(realdata("meye"), limit=40)
    assert eyes["image"].shape[1:] == (128, 128, 1) and len(eyes["image"]) == len(eyes["mask"]) == len(eyes["subject"])
    assert set(np.unique(eyes["mask"])) == {0, 3} and len(set(eyes["subject"])) > 3
