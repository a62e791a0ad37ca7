"""A segmenter trained on simulated infrared close-ups alone: how well does it read real eyes of an unknown camera?

command:   eyegan sweep configs/sweeps/segmenter_meye.py --workdir runs/segmenter --record segmenter_meye
hardware:  one or two CPU cores, half an hour
real eyes: the MEYE images of the real test images, see docs/data.md
"""

import runpy
from pathlib import Path

from eyegan_jax.systems.optimisers import fall_to_zero


def get_sweep():
    configs = Path(__file__).parents[1]
    config = runpy.run_path(str(configs / "segmenter.py"))["get_config"]("meye").unlock()
    config.batch_size = 8
    config.steps = 800
    config.data.eyes.pool = 4096
    fall_to_zero(config.segmenter.optimiser, config.get_ref("steps"))
    return {
        "config": config.lock(),
        "seeds": [0],
        "arms": {"renders_alone": {}},
        "columns": {
            "mIoU, unseen simulated people": "simulated.miou",
            "Dice of real pupils": "meye.dice.mean",
            "Dice over people": "meye.dice_by_person.mean",
            "pupil centre error, px (median)": "meye.centre_error_px_median",
            "centre error, px (mean)": "meye.centre_error_px.mean",
            "found area over true": "meye.area_ratio.mean",
            "pupils missed, %": "meye.missed_percent",
            "pupils seen in blinks, %": "meye.blink_false_positives_percent",
        },
    }
