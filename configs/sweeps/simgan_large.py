"""The ablations of configs/sweeps/simgan.py at the paper's size and length, for an accelerator.

command:   eyegan sweep configs/sweeps/simgan_large.py --workdir runs/sweep-large [--index I] [--report]
hardware:  an accelerator; 23 arms x 3 seeds, one run of configs/simgan.py:large each
"""

import runpy
from pathlib import Path


def get_sweep():
    configs = Path(__file__).parents[1]
    small = runpy.run_path(str(configs / "sweeps" / "simgan.py"))
    config = runpy.run_path(str(configs / "simgan.py"))["get_config"]("large").unlock()
    config.simgan.loss.regularisation = 0.01  # as in configs/simgan.py:paper
    config.simgan.discriminator_optimiser.learning_rate = config.simgan.refiner_optimiser.learning_rate / 5
    sweep = small["get_sweep"]()
    columns = {title: path.replace(".resnet.", ".cnn.") for title, path in sweep["columns"].items()}
    return sweep | {"config": config.lock(), "arms": small["arms"](config), "columns": columns}
