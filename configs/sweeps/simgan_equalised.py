"""``python train.py`` with simulated eyes that are histogram equalised before they are refined.

command:   eyegan sweep configs/sweeps/simgan_equalised.py --workdir runs/equalised --record simgan_equalised_cpu
hardware:  two CPU cores, a quarter of an hour per seed (training and evaluation); any accelerator
"""

import runpy
from pathlib import Path


def get_sweep():
    sweep = runpy.run_path(str(Path(__file__).with_name("simgan_default.py")))["get_sweep"]()
    return sweep | {"arms": {"equalised": {"simgan.equalised": True}}}
