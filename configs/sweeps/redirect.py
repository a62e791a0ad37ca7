"""Ablations of gaze redirection, three seeds each.

command:   eyegan sweep configs/sweeps/redirect.py --workdir runs/sweep-redirect --record redirect_ablation
hardware:  an accelerator; 8 arms x 3 seeds, a few minutes each
"""

import runpy
from pathlib import Path

ROWS = {"labelled": "labelled.subject guided", "without labels": "real.subject guided"}
FIGURES = {
    "gaze error": "gaze_error.mean",
    "distance": "distance.mean",
    "mIoU": "miou",
    "own person nearer": "identity.recognised",
    "there and back": "round_trip.mean",
    "sweep rank": "sweep.rank.mean",
}


def get_sweep():
    config = runpy.run_path(str(Path(__file__).parents[1] / "redirect.py"))["get_config"]().unlock()
    config.run.checkpoint_every = config.run.samples_every = 0
    return {
        "config": config.lock(),
        "seeds": [0, 1, 2],
        "arms": {
            "default": {},
            "no_context": {"redirect.context": False},
            "no_flow": {"redirect.redirector.moves": False},
            "no_frames": {"segmenter.classes": "eye"},
            "no_cycle": {"redirect.loss.cycle": 0.0},
            "no_mask_loss": {"redirect.loss.mask": 0.0},
            "no_mirror": {"seg2eye.mirror": False},
            "one_picture": {"data.pairs.references": 1, "data.real.references": 1, "seg2eye.vary_references": False},
        },
        "columns": {
            f"{where}: {what}": f"{row}.{path}" for where, row in ROWS.items() for what, path in FIGURES.items()
        },
    }
