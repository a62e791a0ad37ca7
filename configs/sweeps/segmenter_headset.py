"""RITnet on simulated headset views of one kind of camera: how well does it read people whom it never saw?

command:   eyegan sweep configs/sweeps/segmenter_headset.py --workdir runs/segmenter_headset --record segmenter_headset
hardware:  two CPU cores, twenty minutes; any accelerator
"""

import runpy
from pathlib import Path


def get_sweep():
    config = runpy.run_path(str(Path(__file__).parents[1] / "segmenter.py"))["get_config"]("headset")
    classes = {f"IoU, {name}": f"simulated.per_class.{i}" for i, name in enumerate(("skin", "sclera", "iris", "pupil"))}
    return {
        "config": config,
        "seeds": [0],
        "arms": {"headset": {}},
        "columns": {"mIoU, unseen simulated people": "simulated.miou"} | classes,
    }
