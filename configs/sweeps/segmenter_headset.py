"""RITnet on simulated headset views of one kind of camera: how well does it read people whom it never saw?

command:   eyegan sweep configs/sweeps/segmenter_headset.py --workdir runs/segmenter_headset --record segmenter_headset
hardware:  two CPU cores, twenty to thirty minutes an arm; any accelerator

Beside the variant itself: with RITnet's augmentation, with its dropout as well, and that at twice the size.
"""

import runpy
from pathlib import Path


def get_sweep():
    config = runpy.run_path(str(Path(__file__).parents[1] / "segmenter.py"))["get_config"]("headset")
    classes = {f"IoU, {name}": f"simulated.per_class.{i}" for i, name in enumerate(("skin", "sclera", "iris", "pupil"))}

    def lasting(steps, constant):
        return {
            "steps": steps,
            "segmenter.optimiser.decay_start": constant,
            "segmenter.optimiser.decay_end": steps,
        }

    augmented = {"segmenter.augmentation": "ritnet"}
    published = augmented | {"segmenter.dropout": 0.2}
    large = {"image_shape": (320, 200, 1), "batch_size": 4, "data.eyes.view": "openeds_320x200"}
    return {
        "config": config,
        "seeds": [0],
        "arms": {
            "headset": {},
            "augmented": augmented | lasting(2400, 1000),
            "dropout": published | lasting(2400, 1000),
            "320x200": published | large | lasting(1600, 800),
        },
        "columns": {"mIoU, unseen simulated people": "simulated.miou"} | classes,
    }
