"""The residual refiner: a retrieved picture of the person, repaired until it fits the wanted mask.

command:   python train.py --config=configs/residual.py[:variant]
hardware:  an accelerator (minutes); two CPU cores for ``smoke``
variants:  smoke     the real code with a tiny network, under 40 seconds
           paper     the OpenEDS 2019 winner on OpenEDS: --config.data.eyes.dir=FOLDER, 640x400, DeepLab, SGD
           winner    the winner's method at this config's size: one reference, smooth residual, the metric alone
           sharp     with a small adversarial and feature-matching term
           fusion    retrieval and painting: a Seg2Eye painter learns first, its pictures join the references

Own images: --config.data.eyes.kind=folder --config.data.eyes.dir=FOLDER --config.data.eyes.subject=prefix
(images/ and masks/ with OpenEDS ids; ``eyegan segment`` makes masks).
"""

import ml_collections

from eyegan_jax.data.streams import stream_config
from eyegan_jax.systems import seg2eye_settings
from eyegan_jax.systems.optimisers import fall_to_zero, optimiser_config
from eyegan_jax.training.defaults import apply_variant, base_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = base_config("residual")
    config.image_shape = (160, 100, 1)
    config.batch_size = 16
    config.steps = 4000
    config.run.samples_every = 500
    config.run.checkpoint_every = 1000
    config.data = ml_collections.ConfigDict({"backend": "auto", "fields": {"eyes": ("image", "mask", "subject")}})
    config.data.eyes = stream_config(
        "simulator",
        domain="captured",
        view="openeds_160x100",
        people=24,
        images_per_person=96,
        session=True,
        references=4,
        neighbours="nearest",
        neighbour_pool=48,
    )
    config.residual = residual_config()
    fall_to_zero(config.residual.optimiser, config.get_ref("steps"))
    variants = {"smoke": smoke, "paper": paper, "winner": winner, "sharp": sharp, "fusion": fusion}
    return apply_variant(config, variant, variants)


def residual_config() -> ml_collections.ConfigDict:
    """Every setting of the system; the defaults are the compact refiner of several references."""
    config = ml_collections.ConfigDict()
    config.network = "references"  # references: several, moved and weighed; deeplab: the published network
    config.references = ml_collections.ConfigDict(
        {
            "width": 48,  # channels at a quarter of the resolution
            "detail": 16,  # channels of the mending network at full resolution, 0 = none
            "reach": 4.0,  # movement per unit of the flow head
        }
    )
    config.deeplab = ml_collections.ConfigDict(
        {
            "stages": (3, 4, 23, 3),  # blocks per stage: ResNet-101
            "width": 64,
            "pyramid": 256,
            "dropout": 0.5,
        }
    )
    config.discriminator = ml_collections.ConfigDict({"width": 32, "layers": 4, "scales": 2})
    config.loss = ml_collections.ConfigDict(
        {
            "openeds": 1.0,  # the challenge's metric, on its scale of 1471 images
            "adversarial": 0.0,
            "feature_matching": 0.0,
        }
    )
    config.averaging = 0.995  # decay of the network's moving average, which is used after training
    config.optimiser = optimiser_config("adam", 1e-3)
    config.optimiser.clip_norm = 100.0  # rarely active: against single strange batches
    config.discriminator_optimiser = optimiser_config("adam", 4e-4)
    config.discriminator_optimiser.b1, config.discriminator_optimiser.b2 = 0.0, 0.9
    return config


def smoke(config: ml_collections.ConfigDict) -> None:
    config.image_shape = (48, 32, 1)
    config.batch_size = 8
    config.steps = 6
    config.data.eyes.people = 4
    config.data.eyes.images_per_person = 6
    config.data.eyes.references = 2
    config.data.eyes.neighbour_pool = None
    config.residual.references.width = 4
    config.residual.references.detail = 4
    config.run.log_every = 1
    config.run.checkpoint_every = 6
    config.run.samples_every = 6
    config.run.samples = 4


def paper(config: ml_collections.ConfigDict) -> None:
    """SGD 0.08, momentum 0.99 Nesterov, weight decay 1e-3, gradient norm at most 5, rate halved every 5 epochs."""
    winner(config)
    epoch = 8916 // 8
    config.image_shape = (640, 400, 1)
    config.batch_size = 8
    config.steps = 50 * epoch
    config.data.eyes = stream_config("openeds", split="train", references=1, neighbours="uniform")
    config.residual.deeplab = residual_config().deeplab
    optimiser = optimiser_config("sgd", 0.08)
    optimiser.momentum, optimiser.nesterov, optimiser.weight_decay = 0.99, True, 1e-3
    optimiser.clip_norm, optimiser.halve_every = 5.0, 5 * epoch
    config.residual.optimiser = optimiser
    config.residual.loss.openeds = 1 / 1471  # the plain mean of the images' errors


def winner(config: ml_collections.ConfigDict) -> None:
    """A lighter ResNet and Adam: the published optimiser needs the published number of steps."""
    config.data.eyes.references = 1
    config.data.eyes.neighbours = "uniform"
    config.residual.network = "deeplab"
    config.residual.deeplab.stages = (2, 2, 2, 2)
    config.residual.deeplab.width = 32
    config.residual.deeplab.pyramid = 128
    config.residual.deeplab.dropout = 0.1


def sharp(config: ml_collections.ConfigDict) -> None:
    """The metric still leads: its gradient is a few times that of the other two together.

    On its scale of 1471 images the metric's gradient is some hundred times Seg2Eye's whole loss.
    """
    config.residual.loss.openeds = 0.02
    config.residual.loss.adversarial = 0.5
    config.residual.loss.feature_matching = 5.0
    config.residual.optimiser.clip_norm = 10.0


def fusion(config: ml_collections.ConfigDict) -> None:
    sharp(config)
    config.system = "fusion"
    config.fusion = ml_collections.ConfigDict({"painting_steps": 4000})  # of Seg2Eye, before ``steps`` of the refiner
    config.seg2eye = seg2eye_settings.paper()
    # Networks for images of about 160x100 and training in minutes, as in configs/seg2eye.py.
    config.seg2eye.averaging = 0.995
    config.seg2eye.generator.update({"width": 24, "scales": 4, "mask_features": 64, "shared_trunk": True})
    config.seg2eye.encoder.update({"width": 32, "size": 128, "code": 64})
    config.seg2eye.discriminator.width = 32
    config.seg2eye.painter_optimiser.learning_rate = 4e-4
    config.seg2eye.discriminator_optimiser.learning_rate = 4e-4
