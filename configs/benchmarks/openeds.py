"""The OpenEDS synthesis task on simulated infrared people: which system paints a person's eye best, by which measure?

command:   python benchmarks/openeds.py --workdir=DIR [--config=configs/benchmarks/openeds.py[:VARIANT]]
hardware:  an accelerator; two CPU cores for the variants
variants:  small   a quarter of the pixels, narrower networks, short trainings of many people; an hour a seed
           smoke   only shows that everything runs
result:    docs/results/residual.json, with a variant residual_VARIANT.json

Five trainings per seed, each resumable: two segmenters (one for the pool's masks, one as judge), the winner's residual
refiner, the refiner of several references, and fusion, whose first phase is Seg2Eye.
"""

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.seeds = (0, 1, 2)
    config.image_shape = (160, 100, 1)
    config.view = "openeds_160x100"
    config.domain = "captured"
    config.people = 96  # in training
    config.images_per_person = 64
    config.unseen_people = 8
    config.targets = 12  # per unseen person
    config.pool = 48  # images per unseen person to choose from
    config.references = 4
    config.batch_size = 16
    config.dtype = "float32"
    config.steps = ml_collections.ConfigDict(
        {"segmenter": 1200, "winner": 2500, "references": 2500, "painting": 3000, "fusion": 2000}
    )
    config.width = 1.0  # of all networks, relative to their configs
    if variant == "small":
        config.image_shape = (80, 50, 1)
        config.images_per_person, config.pool, config.batch_size = 32, 24, 8
        config.steps.update({"segmenter": 600, "winner": 500, "references": 500, "painting": 1200, "fusion": 400})
        config.width = 0.5
    if variant == "smoke":
        config.seeds = (0,)
        config.image_shape = (32, 24, 1)
        config.people, config.images_per_person, config.unseen_people = 2, 8, 2
        config.targets, config.pool, config.references, config.batch_size = 2, 6, 2, 4
        config.steps.update({"segmenter": 2, "winner": 2, "references": 2, "painting": 2, "fusion": 2})
        config.width = 0.125
    return config.lock()
