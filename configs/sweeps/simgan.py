"""The ablations of the SimGAN paper and of its re-implementations, three seeds each.

command:   eyegan sweep configs/sweeps/simgan.py --workdir runs/sweep-simgan [--index $SLURM_ARRAY_TASK_ID] [--report]
hardware:  an accelerator; 15 arms x 3 seeds, one run of configs/simgan.py:large each
"""

import runpy
from pathlib import Path


def get_sweep():
    get_config = runpy.run_path(str(Path(__file__).parents[1] / "simgan.py"))["get_config"]
    arms = {
        "default": {},
        "no history": {"simgan.history.size": 0},
        "global loss": {"simgan.discriminator.decision": "global"},
        "no pre-training": {"simgan.pretrain_refiner_steps": 0, "simgan.pretrain_discriminator_steps": 0},
    }
    arms |= {f"lambda {v:g}": {"simgan.loss.regularisation": v} for v in (0.0, 0.001, 0.1, 1.0)}
    arms |= {f"psi {psi}": {"simgan.loss.psi": psi} for psi in ("gradient", "features")}
    arms |= {f"K_r {k}": {"simgan.refiner_updates": k} for k in (1, 10, 50)}
    arms |= {f"history of {size}": {"simgan.history.size": size} for size in (512, 4096)}
    return {
        "config": get_config("large"),
        "seeds": [0, 1, 2],
        "arms": {name.replace(" ", "_"): changes for name, changes in arms.items()},
        "columns": {
            "gaze error, refined": "gaze.estimators.cnn.refined.error.mean",
            "raw": "gaze.estimators.cnn.raw.error.mean",
            "real": "gaze.estimators.cnn.real.error.mean",
            "gap closed": "gaze.gap_closed.cnn.refined.mean",
            "pupil shift, px": "label_preservation.shift.mean",
            "all pupils down, px": "label_preservation.together.down",
            "real pupils lower, px": "label_preservation.domains.down",
            "scatter, px": "label_preservation.scatter.mean",
            "KID": "distances.refined.kid.mean",
        },
    }
