"""Seg2Eye at the size that a CPU trains in an hour and a half, against what needs no learning, on unseen people.

command:   eyegan sweep configs/sweeps/seg2eye_cpu.py --workdir runs/seg2eye --record seg2eye_cpu
hardware:  one or two CPU cores, two hours with evaluation
figure:    runs/seg2eye/cpu-seed0/report/styles.png, masks by row and people by column
"""

import runpy
from pathlib import Path


def get_sweep():
    configs = Path(__file__).parents[1]
    sweep = runpy.run_path(str(configs / "sweeps" / "seg2eye_default.py"))["get_sweep"]()
    config = runpy.run_path(str(configs / "seg2eye.py"))["get_config"]("cpu")
    return sweep | {"config": config, "arms": {"cpu": {}}}
