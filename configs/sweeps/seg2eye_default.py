"""Seg2Eye as it stands against what needs no learning, on people that it has never seen.

command:   eyegan sweep configs/sweeps/seg2eye_default.py --workdir runs/default --record seg2eye
hardware:  an accelerator, minutes
figure:    runs/default/default-seed0/report/styles.png, masks by row and people by column
"""

import runpy
from pathlib import Path


def get_sweep():
    configs = Path(__file__).parents[1]
    sweep = runpy.run_path(str(configs / "sweeps" / "seg2eye.py"))
    columns = {}
    for name in ("class means", "person's mean image", "nearest copy", "seg2eye", "real"):
        columns[f"{name}: OpenEDS score"] = f"table.{name}.score"
        columns |= {f"{name}: {title}": f"table.{name}.{path}" for title, path in sweep["RESULTS"].items()}
    return {
        "config": runpy.run_path(str(configs / "seg2eye.py"))["get_config"](),
        "seeds": [0, 1, 2],
        "arms": {"default": {}, "24_people": {"data.eyes.people": 24, "data.eyes.images_per_person": 341}},
        "columns": columns | {"mIoU of ceiling": "table.seg2eye.content_of_ceiling"} | sweep["SWAP"],
    }
