"""Seg2Eye: eyes painted into masks in the style of a person, on simulated infrared people or any set of eyes.

command:   python train.py --config=configs/seg2eye.py[:variant]
hardware:  an accelerator (minutes); two CPU cores for ``smoke``
variants:  smoke     the real code with tiny networks, under 40 seconds
           cpu       narrower networks and batches of 4: an hour and a half on one or two CPU cores
           paper     the publication's networks (92.5 M parameters) and batch on OpenEDS at 320x256:
                     --config.data.eyes.dir=FOLDER
           official  paper with the released code's networks and losses
           spade, adain          ablation: one of the two modulations alone
           nogram, nomatching    ablation: without the Gram loss, without feature matching
           k1, k16               one or 16 references instead of 4
           batch                 SPADE with statistics of the global batch instead of the sample

Own images: --config.data.eyes.kind=folder --config.data.eyes.dir=FOLDER --config.data.eyes.subject=prefix
(images/ and masks/ with OpenEDS ids).
"""

import ml_collections

from eyegan_jax.data.streams import stream_config
from eyegan_jax.systems import seg2eye_settings
from eyegan_jax.systems.optimisers import fall_to_zero
from eyegan_jax.training.defaults import apply_variant, base_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = base_config("seg2eye")
    config.image_shape = (160, 96, 1)
    config.batch_size = 16
    config.steps = 6000
    config.run.samples_every = 500
    config.run.checkpoint_every = 1000
    config.data = ml_collections.ConfigDict({"backend": "auto", "fields": {"eyes": ("image", "mask", "subject")}})
    # A person is one recording, as in OpenEDS: light and camera are part of what the references tell.
    people = {"domain": "captured", "view": "openeds_160x100", "session": True}
    config.data.eyes = stream_config(
        "simulator", people=256, images_per_person=32, references=4, neighbours="uniform", **people
    )
    config.data.held_out = stream_config("simulator", first_person=100_000, people=8, images_per_person=48, **people)
    config.seg2eye = small()
    config.evaluation = ml_collections.ConfigDict(
        {
            "targets": 24,  # pictures of every held-out person that are painted; the others are known
            "references": 4,  # known pictures that the painter is shown, nearest mask first
            "segmenter_steps": 1500,  # of the independent judge of content
            "segmenter_width": 32,
            "grid_rows": 5,  # masks of the figure
            "grid_columns": 8,  # people of the figure
        }
    )
    return apply_variant(
        config,
        variant,
        {
            "smoke": smoke,
            "cpu": cpu,
            "paper": paper,
            "official": official,
            "spade": spade,
            "adain": adain,
            "nogram": nogram,
            "nomatching": nomatching,
            "k1": k1,
            "k16": k16,
            "batch": batch,
        },
    )


def small() -> ml_collections.ConfigDict:
    """The paper's losses on networks for images of about 160x96 and training in minutes."""
    config = seg2eye_settings.paper()
    config.generator.width = 24
    config.generator.scales = 4
    config.generator.mask_features = 64
    config.generator.shared_trunk = True
    config.encoder.width = 32
    config.encoder.size = 128
    config.encoder.code = 64
    config.discriminator.width = 32
    # The published rates go with a batch of one and 187,000 steps.
    config.painter_optimiser.learning_rate = 4e-4
    config.discriminator_optimiser.learning_rate = 4e-4
    return config


def smoke(config: ml_collections.ConfigDict) -> None:
    config.image_shape = (48, 40, 1)
    config.batch_size = 8
    config.steps = 6
    config.data.eyes.update({"people": 3, "images_per_person": 6, "references": 2})
    config.data.held_out.update({"people": 2, "images_per_person": 6})
    config.evaluation.update({"targets": 3, "references": 2, "segmenter_steps": 4, "segmenter_width": 4})
    config.evaluation.update({"grid_rows": 2, "grid_columns": 2})
    config.seg2eye.generator.width = 4
    config.seg2eye.generator.scales = 2
    config.seg2eye.generator.mask_features = 8
    config.seg2eye.encoder.width = 4
    config.seg2eye.encoder.size = 16
    config.seg2eye.discriminator.width = 4
    config.seg2eye.discriminator.layers = 2
    config.seg2eye.discriminator.scales = 1
    config.run.log_every = 1
    config.run.checkpoint_every = 6
    config.run.samples_every = 6
    config.run.samples = 4


def cpu(config: ml_collections.ConfigDict) -> None:
    config.batch_size = 4
    config.steps = 2400
    config.data.eyes.update({"people": 24, "images_per_person": 64, "references": 2})
    config.data.held_out.update({"first_person": 24, "images_per_person": 24})
    config.evaluation.update({"targets": 12, "segmenter_steps": 500, "segmenter_width": 16})
    config.seg2eye.generator.width = 16
    config.seg2eye.generator.mask_features = 16
    config.seg2eye.encoder.width = 16
    config.seg2eye.encoder.size = 64
    config.seg2eye.discriminator.width = 16
    config.seg2eye.averaging = 0.998
    config.run.checkpoint_every = 200


def paper(config: ml_collections.ConfigDict) -> None:
    config.image_shape = (320, 256, 1)
    config.batch_size = 1
    config.steps = 21 * 8916
    config.data.eyes = stream_config("openeds", split="train", references=4)
    config.data.held_out = stream_config("openeds", split="validation")
    config.seg2eye = seg2eye_settings.paper()
    for optimiser in (config.seg2eye.painter_optimiser, config.seg2eye.discriminator_optimiser):
        fall_to_zero(optimiser, config.get_ref("steps"), constant=(2, 3))


def official(config: ml_collections.ConfigDict) -> None:
    paper(config)
    optimisers = config.seg2eye.painter_optimiser, config.seg2eye.discriminator_optimiser
    config.seg2eye = seg2eye_settings.official()
    config.seg2eye.painter_optimiser, config.seg2eye.discriminator_optimiser = optimisers


def spade(config: ml_collections.ConfigDict) -> None:
    config.seg2eye.generator.modulation = "spade"


def adain(config: ml_collections.ConfigDict) -> None:
    config.seg2eye.generator.modulation = "adain"


def nogram(config: ml_collections.ConfigDict) -> None:
    config.seg2eye.loss.gram = 0.0


def nomatching(config: ml_collections.ConfigDict) -> None:
    config.seg2eye.loss.feature_matching = 0.0


def k1(config: ml_collections.ConfigDict) -> None:
    config.data.eyes.references = config.evaluation.references = 1


def k16(config: ml_collections.ConfigDict) -> None:
    config.data.eyes.references = config.evaluation.references = 16


def batch(config: ml_collections.ConfigDict) -> None:
    config.seg2eye.generator.statistics = "batch"
