"""SimGAN on the built-in eye simulator: the main job of ``python train.py``.

command:   python train.py                                  (or --config=configs/simgan.py[:variant])
hardware:  two CPU cores, or any accelerator
variants:  smoke     the real code with tiny networks, under 40 seconds
           large     the paper's refiner with this config's training, batch 64, bfloat16, for accelerators
           paper     the publication's networks, schedule and batch of 512, for accelerators
           k50       paper with 50 refiner updates per discriminator update
           hand      the NYU-hand networks on 224x224 images of a folder
           nohistory, global   the paper's two ablations of the default
"""

import ml_collections

from eyegan_jax.data.streams import stream_config
from eyegan_jax.systems.optimisers import optimiser_config
from eyegan_jax.training.defaults import apply_variant, base_config


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = base_config("simgan")
    config.batch_size = 16
    config.steps = 1130  # 1200 in all
    config.run.monitor = ""
    config.data = ml_collections.ConfigDict(
        {
            "backend": "auto",  # memory: uint8 on the device; stream: tf.data; auto: memory where it fits
            "fields": {"simulated": ("image",), "real": ("image",)},
        }
    )
    config.data.simulated = stream_config("simulator", domain="simulated", pool=4096)
    config.data.real = stream_config("simulator", domain="captured", pool=4096)
    config.evaluation = ml_collections.ConfigDict(
        {
            "samples": 6144,  # simulated images, and real ones to train the upper bound on
            "test_samples": 2048,  # real images to test on
            "seeds": 1,  # estimators per training set
            "estimators": ("resnet",),  # cnn (the paper's), cnn_fc9600, resnet, knn, forest, svr
            "estimator_steps": 1000,
            "estimator_batch": 64,
        }
    )
    config.simgan = simgan_config()
    config.simgan.equalised = True  # as the captured eyes are
    # Ten times that of `paper`: refined eyes stay where their labels say, and look no less real (docs/simgan.md).
    config.simgan.loss.regularisation = 0.1
    # Small enough for two cores: a narrow refiner that starts as the identity learns in minutes, not days. Narrower
    # still would save no time there: convolutions of 16 maps run at a quarter of the speed.
    config.simgan.refiner.width = 32
    config.simgan.refiner.blocks = 3
    config.simgan.refiner.output = "residual"
    config.simgan.pretrain_refiner_steps = 20
    config.simgan.pretrain_discriminator_steps = 50
    # As fast as each other: a slower discriminator knows too little to teach (docs/simgan.md).
    config.simgan.refiner_optimiser = optimiser_config("adam", 1e-3, b1=0.5)
    config.simgan.discriminator_optimiser = optimiser_config("adam", 1e-3, b1=0.5)
    # Refiner and discriminator chase each other: over hundreds of steps the refined eyes drift a pixel away and back.
    config.simgan.averaging = 0.997
    return apply_variant(
        config,
        variant,
        {
            "smoke": smoke,
            "large": large,
            "paper": paper,
            "k50": k50,
            "hand": hand,
            "nohistory": nohistory,
            "global": global_loss,
        },
    )


def simgan_config() -> ml_collections.ConfigDict:
    """Every setting of the system; the defaults are the paper's."""
    config = ml_collections.ConfigDict()
    config.refiner = ml_collections.ConfigDict(
        {
            "width": 64,  # feature maps
            "blocks": 4,  # ResNet blocks
            "stem_kernel": 3,  # first filter (7 for NYU hands)
            "activation": "relu",  # relu, leaky_relu, elu, silu
            "norm": "none",  # none, instance, group
            "padding": "explicit",  # explicit (PyTorch) or SAME (Keras)
            "output": "tanh",  # tanh, linear, or residual: the image plus a correction that starts at zero
        }
    )
    config.discriminator = ml_collections.ConfigDict(
        {
            "variant": "gaze",  # gaze, or hand: the NYU-hand network
            "activation": "relu",
            "norm": "none",
            "padding": "explicit",
            "decision": "local",  # local: one decision per patch; global: one per image (ablation)
        }
    )
    config.loss = ml_collections.ConfigDict(
        {
            "regularisation": 0.01,  # lambda of equation 4, for sums over pixels and patches
            "psi": "identity",  # identity, gradient, channel_mean, features
            "reduction": "sum",  # sum over pixels and patches (paper) or mean
        }
    )
    config.history = ml_collections.ConfigDict(
        {
            "size": 25600,  # refined images remembered; 0 = none (ablation)
            "strata": 8,  # independent parts; a multiple of the device count, 2 * strata divides the batch
        }
    )
    config.equalised = False  # equalise the histogram of each simulated eye first, where the real ones are (MPIIGaze's)
    config.refiner_updates = 2  # K_r (K_g in the paper)
    config.discriminator_updates = 1  # K_d
    config.pretrain_refiner_steps = 1000
    config.pretrain_discriminator_steps = 200
    config.averaging = 0.999  # decay of the refiner's moving average, which is used after training
    config.refiner_optimiser = optimiser_config("sgd", 1e-3)
    config.discriminator_optimiser = optimiser_config("sgd", 1e-3)
    return config


def smoke(config: ml_collections.ConfigDict) -> None:
    config.batch_size = 16
    config.steps = 12
    config.simgan.refiner.width = 8
    config.simgan.refiner.blocks = 1
    config.simgan.pretrain_refiner_steps = 4
    config.simgan.pretrain_discriminator_steps = 4
    config.simgan.history.size = 64
    config.run.checkpoint_every = 10
    config.run.samples_every = 10
    config.data.simulated.pool = config.data.real.pool = 128
    config.evaluation.samples = 128
    config.evaluation.test_samples = 64
    config.evaluation.estimators = ("knn",)
    config.run.log_every = 1


def large(config: ml_collections.ConfigDict) -> None:
    config.batch_size = 64
    config.steps = 5000
    config.dtype = "bfloat16"
    config.data.simulated.pool = config.data.real.pool = 16384
    config.simgan.refiner.width = 64
    config.simgan.refiner.blocks = 4
    config.simgan.refiner_optimiser.learning_rate = config.simgan.discriminator_optimiser.learning_rate = 2e-4
    config.simgan.averaging = 0.999
    config.evaluation.update({"samples": 16384, "test_samples": 4096, "seeds": 3, "estimators": ("cnn",)})
    config.evaluation.update({"estimator_steps": 2000, "estimator_batch": 128})


def paper(config: ml_collections.ConfigDict) -> None:
    config.batch_size = 512
    config.steps = 10_000
    config.simgan = simgan_config()
    config.evaluation.update({"samples": 16384, "test_samples": 4096, "seeds": 3, "estimators": ("cnn",)})
    config.evaluation.update({"estimator_steps": 4000, "estimator_batch": 128})


def k50(config: ml_collections.ConfigDict) -> None:
    paper(config)
    config.simgan.refiner_updates = 50


def hand(config: ml_collections.ConfigDict) -> None:
    paper(config)
    config.batch_size = 64
    config.image_shape = (224, 224, 1)
    config.data.simulated = stream_config("folder")
    config.data.real = stream_config("folder")
    config.simgan.refiner.blocks = 10
    config.simgan.refiner.stem_kernel = 7
    config.simgan.discriminator.variant = "hand"
    config.simgan.discriminator.padding = "VALID"
    config.simgan.pretrain_refiner_steps = 500
    for optimiser in (config.simgan.refiner_optimiser, config.simgan.discriminator_optimiser):
        optimiser.learning_rate = 2e-4


def nohistory(config: ml_collections.ConfigDict) -> None:
    config.simgan.history.size = 0


def global_loss(config: ml_collections.ConfigDict) -> None:
    config.simgan.discriminator.decision = "global"
