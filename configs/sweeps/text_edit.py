"""Arms of text-guided editing, run by run, for a cluster; each is judged by a reader of its own, where
``benchmarks/text_edit.py`` has one for all.

eyegan sweep configs/sweeps/text_edit.py --workdir runs/text_edit_sweep [--index I] [--report]
"""

import runpy
from pathlib import Path

COLUMNS = ("success", "drift", "precision", "l1_truth", "kid", "as_is_l1", "floor_l1")


def get_sweep():
    module = runpy.run_path(str(Path(__file__).parents[1] / "text_edit.py"))
    config = module["get_config"]()
    return {
        "config": config,
        "seeds": [0, 1, 2],
        "arms": {
            "full": {},
            "unpaired": {"text_edit.loss.paired": 0.0, "text_edit.loss.changed": 0.0},
            "nowords": {"text_edit.critic.conditional": "sentence"},
            "no_skips": {"text_edit.generator.skips": False},
            "no_moves": {"text_edit.generator.moves": False},
            "no_residual": {"text_edit.generator.residual": False},
            "frozen_text": {"text_edit.frozen_text": True},
        },
        "columns": {name: f"text_edit.text_edit.{name}" for name in COLUMNS},
    }
