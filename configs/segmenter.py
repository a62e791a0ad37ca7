"""The eye segmenter (RITnet, 248,900 parameters) on simulated infrared eyes, or on any folder of images and masks.

command:   python train.py --config=configs/segmenter.py[:variant]
hardware:  an accelerator (minutes); two CPU cores for ``smoke``
variants:  smoke     the real code with a narrow network and few steps, under 40 seconds
           paper     RITnet on OpenEDS: --config.data.eyes.dir=FOLDER, 640x400, 250 epochs
           meye      close-up infrared eyes at 128x128, very diverse: for real images of unknown cameras
           pupil     meye with two classes, the pupil and the rest
           cameras   close-ups and headset views at 128x128, on two CPU cores: the model that comes with the package
           headset   headset views of one kind of camera, on two CPU cores: RITnet on the simulator's OpenEDS

Own images: --config.data.eyes.kind=folder --config.data.eyes.dir=FOLDER (images/ and masks/ with OpenEDS ids).
"""

import ml_collections

from eyegan_jax.data.streams import stream_config
from eyegan_jax.systems.optimisers import fall_to_zero, optimiser_config
from eyegan_jax.training.defaults import apply_variant, base_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = base_config("segmenter")
    config.image_shape = (160, 100, 1)
    config.batch_size = 32
    config.steps = 3000
    config.data = ml_collections.ConfigDict({"backend": "auto", "fields": {"eyes": ("image", "mask")}})
    config.data.eyes = stream_config("simulator", domain="randomized", view="openeds_160x100")
    config.segmenter = segmenter_config()
    config.segmenter.augmentation = "wide"
    config.segmenter.initialisation = "fan_in"
    fall_to_zero(config.segmenter.optimiser, config.get_ref("steps"), constant=(1, 3))
    return apply_variant(
        config,
        variant,
        {"smoke": smoke, "paper": paper, "meye": meye, "pupil": pupil, "cameras": cameras, "headset": headset},
    )


def segmenter_config() -> ml_collections.ConfigDict:
    """Every setting of the system; the defaults are RITnet's."""
    return ml_collections.ConfigDict(
        {
            "classes": "eye",  # eye: skin, sclera, iris, pupil; pupil: the pupil and the rest
            "features": 32,  # channels of every layer
            "levels": 5,  # resolutions, each half of the one before
            "dropout": 0.2,
            "initialisation": "fan_out",  # the publication's; fan_in starts with small logits and learns sooner
            "equalised": True,  # gamma 0.8 and CLAHE before the network
            "augmentation": "ritnet",  # none, ritnet, or wide: for cameras that training has not seen
            "border_weight": 20.0,  # extra weight of the entropy near borders between classes
            "boundary_share": 0.5,  # part of the steps over which the boundary term gives way to Dice; 0 = Dice alone
            "averaging": 0.99,  # decay of the moving average of the network, which is used after training
            "optimiser": optimiser_config("adam", 1e-3),
        }
    )


def smoke(config: ml_collections.ConfigDict) -> None:
    config.data.eyes.domain = "simulated"
    config.data.eyes.pool = 128
    config.image_shape = (48, 32, 1)
    config.batch_size = 4
    config.steps = 6
    config.segmenter.features = 4
    config.segmenter.levels = 3
    config.segmenter.augmentation = "none"
    config.run.log_every = 1
    config.run.checkpoint_every = 6
    config.run.samples_every = 6
    config.run.samples = 4


def paper(config: ml_collections.ConfigDict) -> None:
    config.image_shape = (640, 400, 1)
    config.batch_size = 8
    config.steps = 250 * 8916 // 8
    config.data.eyes = stream_config("openeds", split="train")
    config.segmenter = segmenter_config()


def meye(config: ml_collections.ConfigDict) -> None:
    config.image_shape = (128, 128, 1)
    config.data.eyes = stream_config("simulator", domain="randomized", view="meye_128")


def pupil(config: ml_collections.ConfigDict) -> None:
    meye(config)
    config.segmenter.classes = "pupil"


def cameras(config: ml_collections.ConfigDict) -> None:
    meye(config)
    config.batch_size = 8
    config.steps = 2000
    fall_to_zero(config.segmenter.optimiser, config.get_ref("steps"))
    config.segmenter.dropout = 0.0  # no picture is seen often enough to overfit
    config.data.eyes = stream_config("mixture")
    for name, domain, view in (
        ("close_up", "randomized", "meye_128"),
        ("headset", "captured", "openeds_160x100"),
        ("any_headset", "randomized", "openeds_160x100"),
    ):
        config.data.eyes.parts[name] = stream_config("simulator", domain=domain, view=view, pool=4096)


def headset(config: ml_collections.ConfigDict) -> None:
    config.batch_size = 8
    config.steps = 2000
    config.data.eyes = stream_config("simulator", domain="captured", view="openeds_160x100", pool=4096)
    # The test is of the same camera, and no picture is seen more than four times: nothing to overfit.
    config.segmenter.augmentation = "none"
    config.segmenter.dropout = 0.0
    fall_to_zero(config.segmenter.optimiser, config.get_ref("steps"), constant=(7, 20))
