"""The segmenter that comes with the package: how well does it read simulated strangers, and real eyes it never saw?

command:   eyegan sweep configs/sweeps/segmenter.py --workdir runs/segmenter_cameras --record segmenter
hardware:  one CPU core, forty minutes an arm; any accelerator
real eyes: the MEYE images of the real test images, see docs/data.md
"""

import runpy
from pathlib import Path


def get_sweep():
    configs = Path(__file__).parents[1]
    shared = runpy.run_path(str(configs / "sweeps" / "segmenter_meye.py"))["get_sweep"]()
    parts = {"close-ups": "close_up", "headset": "headset", "any headset": "any_headset"}
    unseen = {f"mIoU, {title}": f"simulated_{part}.miou" for title, part in parts.items()}
    real = {title: path for title, path in shared["columns"].items() if path.startswith("meye.")}
    return {
        "config": runpy.run_path(str(configs / "segmenter.py"))["get_config"]("cameras"),
        "seeds": [0],
        "arms": {"cameras": {}, "dropout": {"segmenter.dropout": 0.2}},
        "columns": unseen | real,
    }
