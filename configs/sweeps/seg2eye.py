"""The ablations of Seg2Eye at a small size, three seeds each.

command:   eyegan sweep configs/sweeps/seg2eye.py --workdir runs/sweep-seg2eye --record seg2eye_ablation
hardware:  two CPU cores or an accelerator; 8 arms x 3 seeds, about four minutes each on one core
"""

import runpy
from pathlib import Path

RESULTS = {
    "RMSE": "rmse.mean",
    "SSIM": "ssim.mean",
    "KID": "kid.mean",
    "sharpness": "sharpness.mean",
    "mIoU": "content_miou_whole_set",
    "identity top-1": "identity_top1",
    "encoder top-1": "encoder_top1",
}
SWAP = {
    "swap: mIoU": "swap.miou",
    "swap: person of the style": "swap.style_person_top1",
    "swap: person of the mask": "swap.mask_person_top1",
}


def get_sweep():
    config = runpy.run_path(str(Path(__file__).parents[1] / "seg2eye.py"))["get_config"]("cpu").unlock()
    config.image_shape = (80, 48, 1)
    config.steps = 600
    config.data.eyes.update({"people": 128, "images_per_person": 16, "references": 4})
    config.data.held_out.update({"first_person": 100_000, "images_per_person": 32})
    config.seg2eye.generator.scales = 3
    config.seg2eye.averaging = 0.98  # a longer average would still be made of the first steps
    config.evaluation.update({"targets": 16, "segmenter_steps": 300})
    config.run.checkpoint_every = config.run.samples_every = 0

    def shown(count):
        return {"data.eyes.references": count, "evaluation.references": count}

    return {
        "config": config.lock(),
        "seeds": [0, 1, 2],
        "arms": {
            "both": {},
            "spade": {"seg2eye.generator.modulation": "spade"},
            "adain": {"seg2eye.generator.modulation": "adain"},
            "no_gram": {"seg2eye.loss.gram": 0.0},
            "no_matching": {"seg2eye.loss.feature_matching": 0.0},
            "k_1": shown(1),
            "k_16": shown(16),
            "batch_statistics": {"seg2eye.generator.statistics": "batch"},
        },
        "columns": {title: f"table.seg2eye.{path}" for title, path in RESULTS.items()}
        | {"mIoU of ceiling": "table.seg2eye.content_of_ceiling"}
        | SWAP,
    }
