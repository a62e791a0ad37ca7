"""``python train.py`` and ``python evaluate.py`` as they stand, and what single settings are worth; three seeds.

command:   eyegan sweep configs/sweeps/simgan_default.py --workdir runs/default --record simgan_cpu
hardware:  two CPU cores, under half an hour per seed (training and evaluation); any accelerator
"""

import runpy
from pathlib import Path


def get_sweep():
    configs = Path(__file__).parents[1]
    sweep = runpy.run_path(str(configs / "sweeps" / "simgan.py"))["get_sweep"]()
    config = runpy.run_path(str(configs / "simgan.py"))["get_config"]()
    no_history = {"simgan.history.size": 0}
    slow = {"simgan.discriminator_optimiser.learning_rate": 2e-4}
    publication = slow | {"simgan.loss.regularisation": 0.01}
    arms = {
        "default": {},
        "no_history": no_history,
        "slow_discriminator": slow,
        "lambda_0.01": publication,
        "lambda_0.01_no_history": publication | no_history,
        "lambda_0.01_as_rendered": publication | {"simgan.equalised": False},
        # Everything about the simulated eyes varied before they are refined; "raw" is of these eyes, too.
        "randomized": slow | {"data.simulated.domain": "randomized"},
    }
    return sweep | {"config": config, "arms": arms}
