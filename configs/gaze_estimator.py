"""A gaze estimator on the built-in simulator's eyes, or on any set of eyes with gaze labels.

command:   python train.py --config=configs/gaze_estimator.py[:variant]
hardware:  two CPU cores, or any accelerator
variants:  smoke     the real code with few steps, under 40 seconds
           paper     the SimGAN paper's CNN and batch of 512, for accelerators

Own eyes: --config.data.eyes.kind=unityeyes --config.data.eyes.dir=FOLDER, and the same for data.test, the eyes that
``evaluate.py`` reads; docs/data.md lists the kinds.
"""

import ml_collections

from eyegan_jax.data.streams import stream_config
from eyegan_jax.systems.optimisers import fall_to_zero, optimiser_config
from eyegan_jax.training.defaults import apply_variant, base_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = base_config("gaze_estimator")
    config.batch_size = 64
    config.steps = 2000
    config.data = ml_collections.ConfigDict({"backend": "auto"})
    config.data.fields = {"eyes": ("image", "gaze"), "test": ("image", "gaze")}
    config.data.eyes = stream_config("simulator", domain="captured", pool=16384)
    config.data.test = stream_config("simulator", domain="captured", first_person=1_000_000)
    config.gaze_estimator = ml_collections.ConfigDict(
        {
            "network": "resnet",  # cnn (the SimGAN paper's), cnn_fc9600 (its literal reading), resnet
            "averaging": 0.99,  # decay of the moving average of the network, which is used after training
            "optimiser": optimiser_config("adam", 1e-3),
        }
    )
    fall_to_zero(config.gaze_estimator.optimiser, config.get_ref("steps"))
    config.evaluation = ml_collections.ConfigDict({"test_samples": 2048})
    return apply_variant(config, variant, {"smoke": smoke, "paper": paper})


def smoke(config: ml_collections.ConfigDict) -> None:
    config.batch_size = 8
    config.steps = 6
    config.data.eyes.pool = 128
    config.gaze_estimator.averaging = 0.0
    config.evaluation.test_samples = 64
    config.run.log_every = 1
    config.run.checkpoint_every = config.run.samples_every = 6


def paper(config: ml_collections.ConfigDict) -> None:
    config.batch_size = 512
    config.steps = 10_000
    config.data.eyes.pool = 0
    config.gaze_estimator.network = "cnn"
    config.gaze_estimator.averaging = 0.0
    config.gaze_estimator.optimiser = optimiser_config("sgd", 1e-3)
