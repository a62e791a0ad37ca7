"""``python train.py`` and ``python evaluate.py`` as they stand, on eyes as rendered, and without history; three seeds.

command:   eyegan sweep configs/sweeps/simgan_default.py --workdir runs/default --record simgan_cpu
hardware:  two CPU cores, under half an hour per seed (training and evaluation); any accelerator
"""

import runpy
from pathlib import Path


def get_sweep():
    configs = Path(__file__).parents[1]
    sweep = runpy.run_path(str(configs / "sweeps" / "simgan.py"))["get_sweep"]()
    config = runpy.run_path(str(configs / "simgan.py"))["get_config"]()
    arms = {"default": {}, "as_rendered": {"simgan.equalised": False}, "no_history": {"simgan.history.size": 0}}
    return sweep | {"config": config, "arms": arms}
