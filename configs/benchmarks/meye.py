"""Does refinement help on real infrared eyes? Pupil segmenters trained on renders, judged on people nobody saw.

command:   python benchmarks/meye.py --workdir=DIR [--config=configs/benchmarks/meye.py[:variant]]
hardware:  two CPU cores; an accelerator for ``large``
variants:  large   128x128, four folds, three seeds
           smoke   only shows that everything runs
result:    docs/results/meye.json, with a variant meye_VARIANT.json

``config.data.dir``: a folder of MEYE's form (index.csv, images/, pupil_masks/). Not set: the real test images where
they are, see docs/data.md.
"""

import ml_collections
from ml_collections.config_dict import placeholder

from eyegan_jax.training.defaults import apply_variant

RAW = (
    ("simgan.equalised", False),
    ("simgan.loss.regularisation", 0.01),
    ("simgan.discriminator_optimiser.learning_rate", 2e-4),
)
"""MEYE's pictures are as the camera gave them; the refiner has to change their tones."""


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.seeds = (0,)
    config.data = ml_collections.ConfigDict({"dir": placeholder(str)})
    config.folds = 2  # every person is in the test of one of them
    config.image_shape = (64, 64, 1)
    config.renders = 2048
    config.domain = "simulated"  # of the renders that are refined
    # Each is a training config and what is changed in it.
    config.refiners = {
        "simgan": ("configs/simgan.py", (*RAW, ("steps", 380), ("batch_size", 16))),
        "cut": ("configs/cut.py", (("steps", 800), ("batch_size", 16))),
    }
    config.recommended = "cut"  # whose figures the record calls "refined"
    sizes = (("segmenter.features", 16), ("segmenter.levels", 4), ("segmenter.averaging", 0.98))
    config.segmenter = ("configs/segmenter.py:pupil", (("batch_size", 16), ("steps", 400), *sizes))
    return apply_variant(config, variant, {"large": large, "smoke": smoke})


def large(config: ml_collections.ConfigDict) -> None:
    config.seeds, config.folds = (0, 1, 2), 4
    config.image_shape = (128, 128, 1)
    config.renders = 8192
    sizes = (("batch_size", 16), ("dtype", "bfloat16"))
    config.refiners = {
        "simgan": ("configs/simgan.py", (*RAW, ("steps", 3000), ("simgan.averaging", 0.999), *sizes)),
        "cut": ("configs/cut.py", (("steps", 6000), ("cut.averaging", 0.999), *sizes)),
    }
    config.segmenter = ("configs/segmenter.py:pupil", (("batch_size", 32), ("steps", 2000)))


def smoke(config: ml_collections.ConfigDict) -> None:
    config.seeds, config.folds = (0,), 2
    config.image_shape = (32, 32, 1)
    config.renders = 64
    config.refiners = {"simgan": ("configs/simgan.py:smoke", RAW), "cut": ("configs/cut.py:smoke", ())}
    sizes = (("segmenter.features", 4), ("segmenter.levels", 2), ("batch_size", 4), ("steps", 4))
    config.segmenter = ("configs/segmenter.py:pupil", sizes)
