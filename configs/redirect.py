"""Gaze redirection: a person's eye repainted as it would look elsewhere, learned from simulated gaze labels alone.

command:   python train.py --config=configs/redirect.py[:variant]
hardware:  an accelerator (minutes); two CPU cores for ``smoke`` and ``cpu``
variants:  smoke     the real code with tiny networks, under 40 seconds
           cpu       32x48 pixels and small networks, an hour on one core
           narrow    the painter of ``cpu`` at 64x96; comes with the package, trained by parts (docs/redirect.md)
           own       goes on from the package's model with own pictures: --config.data.real.dir=FOLDER
           large     wider networks and longer training at 64x96
           infrared  close-up eyes of infrared trackers, for pictures such as MEYE's and mrgaze's
           nocontext ablation: the painter sees the mask and the style alone, no draft of the picture
           baseline, baseline_smoke, baseline_cpu  He et al. (ICCV 2019) at the size of the default, smoke, cpu

Own pictures without labels: --config.data.real.kind=folder --config.data.real.dir=FOLDER
--config.data.real.references=0, or, with several pictures of each person, --config.data.real.subject=prefix
--config.data.real.references=3. Choose pictures without glasses where the painter shall not learn to draw any.
"""

import ml_collections

from eyegan_jax.data.streams import stream_config
from eyegan_jax.systems import gaze_gan_settings, seg2eye_settings
from eyegan_jax.systems.optimisers import fall_to_zero, optimiser_config
from eyegan_jax.training.defaults import apply_variant, base_config

PAIR_FIELDS = ("image", "mask", "gaze", "target_image", "target_mask", "target_gaze", "motion", "references")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = base_config("redirect")
    config.image_shape = (64, 96, 1)
    config.batch_size = 16
    config.steps = 3000
    config.run.samples_every = 1000
    config.run.checkpoint_every = 1000
    config.run.log_every = 50
    fields = {"eyes": ("image", "mask", "frame"), "pairs": PAIR_FIELDS, "real": ("image", "references")}
    config.data = ml_collections.ConfigDict({"backend": "auto", "fields": fields})
    view = "unityeyes_72x120"
    config.data.eyes = stream_config("simulator", domain="randomized", view=view, pool=8192)
    # Labels come from these alone. Some wear glasses, which the pictures that they become never do.
    config.data.pairs = stream_config(
        "pairs",
        domain="simulated",
        view=view,
        before="often_glasses",
        change="gaze_without_glasses",
        references=3,
        pool=8192,
    )
    # Stands for unlabelled real pictures: other people, other light, another camera.
    config.data.real = stream_config(
        "pairs", domain="captured", view=view, seed=1, before="no_glasses", change="none", references=3, pool=4096
    )
    # Trained networks to go on from: a run's folder, or "package" for the model that comes along.
    config.start = ml_collections.ConfigDict(dict.fromkeys(("segmenter", "redirector", "painter"), ""))
    config.segmenter = segmenter_settings()
    config.redirect = redirect_settings()
    config.seg2eye = painter_settings()
    config.gaze_gan = gaze_gan_settings.paper()
    config.evaluation = ml_collections.ConfigDict(
        {
            "turns": (5.0, 10.0, 20.0, 30.0),  # degrees
            "pairs": 128,  # of unseen people for each turn
            "sweeps": 24,  # unseen people that look from one side to the other
            "judge_images": 16384,  # labelled pictures that the judges learn from
            "judge_steps": 6000,
        }
    )
    decay(config)
    return apply_variant(
        config,
        variant,
        {
            "smoke": smoke,
            "cpu": cpu,
            "narrow": narrow,
            "own": own,
            "large": large,
            "infrared": infrared,
            "nocontext": nocontext,
            "baseline": baseline,
            "baseline_smoke": lambda config: (smoke(config), baseline(config)),
            "baseline_cpu": lambda config: (cpu(config), baseline(config)),
        },
    )


def segmenter_settings() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        {
            "classes": "eye_and_frame",  # "eye": glasses stay where they are
            "features": 24,
            "levels": 4,
            "dropout": 0.1,
            "initialisation": "fan_in",
            "equalised": False,  # gradients pass through: it reads the picture as it is
            "augmentation": "wide",
            "border_weight": 10.0,
            "boundary_share": 0.0,
            "averaging": 0.99,
            "optimiser": optimiser_config("adam", 1e-3),
        }
    )


def redirect_settings() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        {
            "segmenter_steps": 8000,  # with 1500 the masks of real eyes broke up
            "redirector_steps": 5000,
            # moves: the eyeball's own pixels come along. Without, the painter starts from its mean tones.
            "redirector": {"width": 32, "levels": 4, "reader": (32, 64, 64), "moves": True},
            "motion_weight": 150.0,  # of their squared error, in shares of the width
            "redirector_optimiser": optimiser_config("adam", 1e-3),
            "reading_weight": 10.0,  # of the squared error (rad^2) of the gaze that is read in a mask
            "averaging": 0.995,
            "context": True,  # the painter starts from a draft: the skin around the eye, the moved eyeball
            "context_share": 0.8,  # part of the samples where it does; without, masks alone can be painted
            # Of real pictures turned away, beside the painter's own losses (seg2eye.loss).
            "loss": {"adversarial": 1.0, "mask": 5.0, "cycle": 10.0, "style": 1.0},
        }
    )


def painter_settings() -> ml_collections.ConfigDict:
    """The SPADE+Style generator and the style encoder at a size for 64x96 pixels and training in minutes."""
    config = seg2eye_settings.paper()
    config.generator.update({"width": 32, "scales": 4, "mask_features": 64, "shared_trunk": True})
    config.encoder.update({"width": 32, "size": 64, "code": 128, "aggregate": "mean"})
    config.discriminator.update({"width": 32, "layers": 3})
    config.loss.update({"l1": 10.0, "l2": 0.0, "gram": 0.0, "style_code": 0.0, "style_features": 0.0})
    config.painter_optimiser.learning_rate = 4e-4
    config.discriminator_optimiser.learning_rate = 4e-4
    return config


def decay(config: ml_collections.ConfigDict) -> None:
    """Learning rates fall to zero over the second half of every stage."""
    steps, stages = config.get_ref("steps"), config.redirect
    fall_to_zero(config.segmenter.optimiser, stages.get_ref("segmenter_steps"))
    fall_to_zero(config.redirect.redirector_optimiser, stages.get_ref("redirector_steps"))
    for optimiser in (config.seg2eye.painter_optimiser, config.seg2eye.discriminator_optimiser):
        fall_to_zero(optimiser, steps)
    fall_to_zero(config.gaze_gan.generator_optimiser, steps)
    fall_to_zero(config.gaze_gan.discriminator_optimiser, steps * config.gaze_gan.get_ref("critics"))


def smoke(config: ml_collections.ConfigDict) -> None:
    config.image_shape = (24, 36, 1)
    config.batch_size = 8
    config.steps = 3
    # One and the same source for all: it is compiled and rendered once.
    config.data.pairs.update({"pool": 32, "references": 1})
    config.data.eyes = config.data.real = config.data.pairs
    config.data.fields = dict.fromkeys(("eyes", "pairs", "real"), (*PAIR_FIELDS, "frame"))
    config.segmenter.update({"features": 4, "levels": 1, "augmentation": "none"})
    config.redirect.update({"segmenter_steps": 2, "redirector_steps": 2})
    config.redirect.redirector.update({"width": 8, "levels": 1, "reader": (8,)})
    config.seg2eye.generator.update({"width": 4, "scales": 1, "mask_features": 8})
    config.seg2eye.encoder.update({"width": 4, "size": 8, "code": 4})
    config.seg2eye.discriminator.update({"width": 4, "layers": 2, "scales": 1})
    config.gaze_gan.generator.update({"width": 8, "blocks": 1})
    config.gaze_gan.discriminator.update({"width": 4, "layers": 3})
    config.gaze_gan.update({"perceptual": (8, 8), "perceptual_steps": 2, "critics": 2})
    config.evaluation.update({"turns": (5.0, 20.0), "pairs": 6, "sweeps": 2, "judge_images": 64, "judge_steps": 4})
    config.run.log_every = 1
    config.run.checkpoint_every = config.run.samples_every = 0
    config.run.samples = 4


def cpu(config: ml_collections.ConfigDict) -> None:
    config.image_shape = (32, 48, 1)
    config.batch_size = 8
    config.steps = 3600
    config.data.eyes.pool, config.data.pairs.pool, config.data.real.pool = 8192, 8192, 2048
    config.data.eyes.domain = "captured"  # of "randomized" so small a network finds worse masks
    config.segmenter.update({"features": 16, "levels": 3, "dropout": 0.0})
    config.redirect.update({"segmenter_steps": 4000, "redirector_steps": 4500})
    config.redirect.redirector.update({"width": 16, "levels": 3})
    narrow(config)
    config.gaze_gan.generator.width = 16
    config.gaze_gan.discriminator.update({"width": 16, "layers": 4})
    config.gaze_gan.update({"perceptual_steps": 300, "critics": 2})
    config.evaluation.update({"pairs": 48, "sweeps": 8, "judge_images": 2048, "judge_steps": 800})
    config.run.samples_every = config.run.checkpoint_every = 300


def narrow(config: ml_collections.ConfigDict) -> None:
    config.seg2eye.generator.update({"width": 16, "scales": 3, "mask_features": 32})
    config.seg2eye.encoder.update({"width": 16, "size": 32, "code": 64})
    config.seg2eye.discriminator.update({"width": 16, "layers": 3, "scales": 1})


def own(config: ml_collections.ConfigDict) -> None:
    narrow(config)
    config.batch_size = 8
    config.steps = 600
    config.start.update(dict.fromkeys(config.start, "package"))
    config.redirect.update({"segmenter_steps": 0, "redirector_steps": 0})
    config.data.real.update({"kind": "folder", "references": 0})  # one picture of each person is enough
    config.data.eyes.pool, config.data.pairs.pool = 16, 4096  # no stage learns from eyes


def large(config: ml_collections.ConfigDict) -> None:
    config.batch_size = 32
    config.steps = 12000
    config.data.eyes.pool, config.data.pairs.pool, config.data.real.pool = 32768, 16384, 8192
    config.redirect.redirector_steps = 12000
    config.redirect.redirector.width = 48
    config.segmenter.features = 32
    config.seg2eye.generator.update({"width": 48, "mask_features": 96})
    config.seg2eye.encoder.width = 48
    config.seg2eye.discriminator.width = 64
    config.run.checkpoint_every = config.run.samples_every = 4000


def infrared(config: ml_collections.ConfigDict) -> None:
    config.image_shape = (96, 96, 1)
    for stream in (config.data.eyes, config.data.pairs, config.data.real):
        stream.view = "meye_128"
    # Trackers' pictures differ too much for one narrow world.
    config.data.pairs.domain = "randomized"


def nocontext(config: ml_collections.ConfigDict) -> None:
    config.redirect.context = False


def baseline(config: ml_collections.ConfigDict) -> None:
    config.system = "gaze_gan"
