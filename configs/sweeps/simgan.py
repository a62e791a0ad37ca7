"""The ablations of the SimGAN paper and of its re-implementations, three seeds each, in half of the default's time.

command:   eyegan sweep configs/sweeps/simgan.py --workdir runs/sweep-simgan [--index $SLURM_ARRAY_TASK_ID] [--report]
hardware:  two CPU cores or an accelerator; 23 arms x 3 seeds, about five minutes each on one core
"""

import runpy
from pathlib import Path


def get_sweep():
    config = runpy.run_path(str(Path(__file__).parents[1] / "simgan.py"))["get_config"]().unlock()
    config.steps = 530
    config.simgan.loss.regularisation = 0.01  # as in configs/simgan.py:paper
    config.simgan.discriminator_optimiser.learning_rate = 2e-4  # a fifth of the refiner's
    config.simgan.averaging = 0.995  # a longer average would still be made of the first steps
    config.evaluation.update({"samples": 4096, "estimator_steps": 600})
    config.run.checkpoint_every = config.run.samples_every = 0
    return {
        "config": config.lock(),
        "seeds": [0, 1, 2],
        "arms": arms(config),
        "columns": {
            "gaze error, refined": "gaze.estimators.resnet.refined.error.mean",
            "raw": "gaze.estimators.resnet.raw.error.mean",
            "real": "gaze.estimators.resnet.real.error.mean",
            "gap closed": "gaze.gap_closed.resnet.refined.mean",
            "pupil shift, px": "label_preservation.shift.mean",
            "all pupils down, px": "label_preservation.together.down",
            "real pupils lower, px": "label_preservation.domains.down",
            "scatter, px": "label_preservation.scatter.mean",
            "KID": "distances.refined.kid.mean",
            "refined eyes that D calls refined, %": "discriminator_accuracy.refined",
            "real eyes that D calls real, %": "discriminator_accuracy.real",
        },
    }


def arms(config):
    """What is changed in ``config``, by name. Other K_r make as many updates of the refiner with fewer steps."""
    updates = config.steps * config.simgan.refiner_updates
    no_history, last = {"simgan.history.size": 0}, {"simgan.averaging": 0.0}
    held = {"simgan.loss.regularisation": 0.1}
    fast = {"simgan.discriminator_optimiser.learning_rate": config.simgan.refiner_optimiser.learning_rate}
    return {
        "baseline": {},
        "no_history": no_history,
        "global_loss": {"simgan.discriminator.decision": "global"},
        "no_pre-training": {"simgan.pretrain_refiner_steps": 0, "simgan.pretrain_discriminator_steps": 0},
        **{f"lambda_{v:g}": {"simgan.loss.regularisation": v} for v in (0.0, 0.001, 0.1, 1.0)},
        **{f"psi_{psi}": {"simgan.loss.psi": psi} for psi in ("gradient", "features")},
        **{f"K_r_{k}": {"simgan.refiner_updates": k, "steps": updates // k} for k in (1, 10, 50)},
        **{f"history_of_{n}": {"simgan.history.size": n} for n in (128, 1024)},
        # The refiner as it stands after the last step, where no average hides how it swings.
        "last_refiner": last,
        "last_refiner_no_history": last | no_history,
        # A discriminator that learns as fast as the refiner, and may forget as fast.
        "fast_discriminator": fast,
        "fast_discriminator_no_history": fast | no_history,
        **{f"lambda_{v:g}": {"simgan.loss.regularisation": v} for v in (0.03, 0.3)},
        "fast_discriminator_lambda_0.1": fast | held,
        "fast_discriminator_lambda_0.1_no_history": fast | held | no_history,
    }
