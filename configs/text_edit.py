"""Text-guided editing: "the same eye, now looking far left with a wide pupil", on simulated eyes in colour.

command:   python train.py --config=configs/text_edit.py[:variant]
hardware:  an accelerator; two CPU cores for ``smoke`` and ``cpu``
variants:  smoke       the real code with tiny networks
           cpu         32x48, narrow networks, the true edits as only teacher: 40 minutes of one CPU core
           large       wider networks for an accelerator
           paper       256x256 with stacked outputs at 64, 128 and 256 pixels, as SIMGAN
           dong        the baseline of Dong et al. 2017: sentence-level critic, frozen text, no reconstruction
           unpaired    without the simulator's true edits
           nowords     a sentence-level critic instead of word-level local heads
           supervised  without critics: the true edits are the only teacher; minutes
           packaged    the same for longer, as most of the model that comes with the package: ten minutes of an H100
           continued   supervised, going on from the package's model: an hour of two CPU cores; with
                       --config.start.painter=RUN from a training of your own
           one_by_one  supervised, one change at a time, as the editor follows a sentence
           whole_pictures  supervised, with an L1 that counts all pixels alike
           cub, oxford102   the original experiment, on --config.data.edits.dir=FOLDER with
                       --config.data.edits.vocabulary=FILE (docs/text_edit.md)
"""

import ml_collections

from eyegan_jax.data.streams import stream_config
from eyegan_jax.simulator.edits import EDITABLE
from eyegan_jax.systems.optimisers import fall_to_zero, optimiser_config
from eyegan_jax.training.defaults import apply_variant, base_config

HELD_OUT = 1_000_000
"""Number of the first person that no training sees."""

IN_VIEW = tuple(name for name in EDITABLE if name != "brow")
"""The default's close-up frames the lids; with the brow in the frame an iris would be half as wide."""


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = base_config("text_edit")
    config.image_shape = (64, 96, 3)
    config.batch_size = 32
    config.steps = 8000
    config.run.samples_every = 1000
    config.run.checkpoint_every = 2000
    fields = ("image", "target_image", "bins", "target_bins", "subject")
    config.data = ml_collections.ConfigDict(
        {"backend": "auto", "fields": {"edits": (*fields, "motion"), "held_out": fields}}
    )
    eyes = {"domain": "simulated", "view": "color_crop_64x96", "attributes": IN_VIEW}
    # The domain has left eyes only, mirrored ones are right.
    config.data.edits = stream_config("edits", people=500_000, pool=60_000, mirror=True, **eyes)
    config.data.held_out = stream_config("edits", first_person=HELD_OUT, people=500_000, pool=2048, **eyes)
    config.text_edit = networks()
    config.start = ml_collections.ConfigDict({"painter": ""})  # a run's or model's folder, "package": to go on from
    config.evaluation = ml_collections.ConfigDict(
        {
            "reader_people": 2_000_000,  # number of the first person whom the readers (the judges) learn from
            "reader_images": 160_000,
            "reader_steps": 12_000,
            "reader_widths": (64, 128, 256),
            "rows": 6,  # eyes of the figure
        }
    )
    for optimiser in (config.text_edit.painter_optimiser, config.text_edit.critic_optimiser):
        # What is judged is a rested network.
        fall_to_zero(optimiser, config.get_ref("steps"))
    ablations = (dong, unpaired, nowords, supervised, one_by_one, whole_pictures)
    variants = (smoke, cpu, large, paper, *ablations, packaged, continued, cub, oxford102)
    return apply_variant(config, variant, {change.__name__: change for change in variants})


def networks() -> ml_collections.ConfigDict:
    c = ml_collections.ConfigDict()
    c.text = ml_collections.ConfigDict({"embedding": 64, "features": 128})  # features: of a word, both GRUs' width
    c.generator = ml_collections.ConfigDict(
        {
            "width": 32,  # channels at full size
            "scales": 3,  # halvings on the way to the residual blocks
            "code": 128,  # of the sentence, from conditioning augmentation
            "blocks": 2,
            "outputs": 1,  # stacked outputs, from coarse to full size
            "skips": True,  # the encoder's features join the decoder
            "modulated": True,  # the sentence speaks in every block, not at the coarsest scale alone
            "moves": True,  # the picture's pixels move before anything is painted
            "residual": True,  # what is painted is the difference to the picture
        }
    )
    c.critic = ml_collections.ConfigDict(
        {
            "width": 48,
            "layers": 4,
            "conditional": "words",  # local heads made by every word, or "sentence"
            "patches": True,  # judge realism without the sentence, too
            "code": 128,  # of the sentence, where conditional = "sentence"
        }
    )
    c.image = ml_collections.ConfigDict({"width": 32, "layers": 4})  # image side of the embedding
    c.embedding_steps = 1000  # visual-semantic pre-training of the text encoder
    c.margin = 0.2
    c.frozen_text = False  # True: text encoders stay as they were pre-trained
    c.loss = ml_collections.ConfigDict(
        {
            "real": 1.0,
            "match": 1.0,
            "wrong": 1.0,
            # The critic of sentences has to see edits, too: in a small run at 32x48 with TAGAN's weights (5, 5, 0, and
            # 10 for conditional) the painter drew faint lines that pleased it instead of edits.
            "relevant": 0.5,
            "adversarial": 1.0,
            "conditional": 1.0,
            # At 0.05 it emptied the sentence's code before the painter had learnt to read it.
            "kl": 0.001,
            "reconstruction": 10.0,
            "paired": 15.0,  # needs a stream with target_image
            "changed": 15.0,  # so does this: an L1 over whole pictures hardly sees an iris
            "motion": 150.0,  # and this one motion: painting hides an iris sooner than a flow finds it
            "stated": 1.0,  # of simulated sentences: a vector that says what they state is listened to sooner
        }
    )
    c.painter_optimiser = optimiser_config("muon", 8e-4)
    c.critic_optimiser = optimiser_config("adam", 4e-4)
    for optimiser in (c.painter_optimiser, c.critic_optimiser):
        optimiser.b1, optimiser.b2 = 0.5, 0.999
    c.embedding_optimiser = optimiser_config("adam", 1e-3)
    c.averaging = 0.999
    return c


def smoke(config: ml_collections.ConfigDict) -> None:
    config.image_shape = (24, 36, 3)
    config.batch_size = 8
    config.steps = 4
    config.data.edits.pool = config.data.held_out.pool = 16
    c = config.text_edit
    c.embedding_steps = 2
    c.text.update({"embedding": 8, "features": 8})
    c.generator.update({"width": 4, "scales": 1, "code": 8, "blocks": 1})
    c.critic.update({"width": 4, "layers": 2, "code": 8})
    c.image.update({"width": 4, "layers": 2})
    config.evaluation.update({"reader_images": 32, "reader_steps": 4, "reader_widths": (16,), "rows": 2})
    config.run.log_every = 1
    config.run.checkpoint_every = config.run.samples_every = 6
    config.run.samples = 4


def cpu(config: ml_collections.ConfigDict) -> None:
    config.image_shape = (32, 48, 3)
    config.batch_size = 16
    config.steps = 10000
    config.data.edits.pool, config.data.held_out.pool = 32768, 2048
    c = config.text_edit
    c.embedding_steps = 300
    c.text.update({"embedding": 32, "features": 64})
    c.generator.update({"width": 16, "scales": 2, "code": 64, "blocks": 3})
    c.critic.update({"width": 16, "layers": 3})
    c.image.update({"width": 16, "layers": 3})
    uncriticised(config)  # critics cost time, and the true edits say more
    c.averaging = 0.995
    config.evaluation.update({"reader_images": 120_000, "reader_steps": 8000, "reader_widths": (16, 32, 64)})


def large(config: ml_collections.ConfigDict) -> None:
    config.steps = 20000
    config.text_edit.generator.update({"width": 64, "blocks": 6})
    config.text_edit.critic.width = 64


def paper(config: ml_collections.ConfigDict) -> None:
    large(config)
    config.image_shape = (256, 256, 3)
    config.data.edits.pool = 12_000
    config.text_edit.generator.update({"width": 32, "scales": 5, "outputs": 3})
    config.text_edit.critic.update({"width": 32, "layers": 5})
    config.text_edit.image.layers = 6


def dong(config: ml_collections.ConfigDict) -> None:
    c = config.text_edit
    c.generator.update(
        {
            "width": 2 * c.generator.width,
            "scales": 2,
            "skips": False,
            "modulated": False,
            "moves": False,
            "residual": False,
        }
    )
    c.critic.update({"conditional": "sentence", "patches": False})
    c.frozen_text = True
    c.painter_optimiser.name = "adam"
    c.loss.update({"real": 0.0, "match": 1.0, "wrong": 0.5, "relevant": 0.5, "adversarial": 0.0, "conditional": 1.0})
    c.loss.update({"kl": 1.0, "reconstruction": 0.0, "paired": 0.0, "changed": 0.0, "motion": 0.0, "stated": 0.0})


def unpaired(config: ml_collections.ConfigDict) -> None:
    config.text_edit.loss.update({"paired": 0.0, "changed": 0.0, "motion": 0.0})


def nowords(config: ml_collections.ConfigDict) -> None:
    config.text_edit.critic.conditional = "sentence"


def criticised(config: ml_collections.ConfigDict) -> None:
    """The default's critics where a variant has none: benchmarks/text_edit.py compares its arms at every size."""
    config.text_edit.loss.update({"adversarial": 1.0, "conditional": 1.0})


def uncriticised(config: ml_collections.ConfigDict) -> None:
    config.text_edit.loss.update({"adversarial": 0.0, "conditional": 0.0})


def supervised(config: ml_collections.ConfigDict) -> None:
    uncriticised(config)
    config.steps = 16000


def packaged(config: ml_collections.ConfigDict) -> None:
    supervised(config)
    config.steps = 27000
    config.batch_size = 64
    config.dtype = "bfloat16"
    config.data.edits.pool = 120_000


def continued(config: ml_collections.ConfigDict) -> None:
    uncriticised(config)
    config.start.painter = "package"
    config.seed = 1  # other pictures than the ones that it has learnt from
    config.steps = 2800
    config.batch_size = 16
    config.data.edits.pool = 32_000
    config.text_edit.embedding_steps = 0
    config.text_edit.painter_optimiser.learning_rate = 5e-4
    config.run.samples_every = config.run.checkpoint_every = 500


def one_by_one(config: ml_collections.ConfigDict) -> None:
    uncriticised(config)
    config.data.edits.most = 1
    config.data.edits.alike = True  # or a sentence's length tells a description from a request


def whole_pictures(config: ml_collections.ConfigDict) -> None:
    uncriticised(config)
    config.text_edit.loss.update({"paired": 30.0, "changed": 0.0, "motion": 0.0})


def captioned(config: ml_collections.ConfigDict, kind: str, test: str) -> None:
    config.image_shape = (64, 64, 3)
    config.batch_size = 64
    streams = {"edits": "train", "held_out": test}
    for name, split in streams.items():
        config.data[name] = stream_config(kind, split=split, vocabulary="", length=32)
    unpaired(config)
    config.text_edit.loss.stated = 0.0


def cub(config: ml_collections.ConfigDict) -> None:
    captioned(config, "cub", "test")


def oxford102(config: ml_collections.ConfigDict) -> None:
    captioned(config, "oxford102", "test")
