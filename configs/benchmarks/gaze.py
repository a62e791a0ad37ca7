"""Does refinement train better gaze estimators? Tables 2 and 3 of the SimGAN paper, with the arms a sceptic asks for.

command:   python benchmarks/gaze.py --workdir=DIR [--config=configs/benchmarks/gaze.py[:variant]]
hardware:  two CPU cores; an accelerator for ``large`` and ``mpiigaze``
variants:  large      the paper's refiner and estimators, four times the data
           cheap      without any refiner: what costs no training, to hold beside docs/results/simgan_cpu.json
           mpiigaze   UnityEyes against MPIIGaze: set config.data.simulated.dir and config.data.real.dir
           smoke      only shows that everything runs
result:    docs/results/gaze.json, with a variant gaze_VARIANT.json
"""

import ml_collections

from eyegan_jax.data.streams import stream_config
from eyegan_jax.training.defaults import apply_variant


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.seeds = (0, 1, 2)
    # Each is a training config and what is changed in it.
    config.refiners = {
        "simgan": ("configs/simgan.py", ()),
        "no_history": ("configs/simgan.py", (("simgan.history.size", 0),)),
        "cut": ("configs/cut.py", ()),
    }
    config.recommended = "simgan"  # whose figures the record calls "refined"
    config.domains = "configs/simgan.py"  # whose streams are the two domains
    config.data = ml_collections.ConfigDict()  # streams in place of the training configs', by name
    config.samples = 6144  # simulated eyes, and real ones for the upper bound
    config.more = 0  # the arms "4x data" train on so many times as many simulated eyes; 0 = without them
    config.test_samples = 2048
    config.randomized = True  # an arm of rendered eyes with everything varied; needs the built-in simulator
    config.estimators = ("resnet", "knn", "forest", "svr")
    config.estimator_steps = 1000
    config.estimator_batch = 64
    return apply_variant(config, variant, {"large": large, "cheap": cheap, "mpiigaze": mpiigaze, "smoke": smoke})


def large(config: ml_collections.ConfigDict) -> None:
    config.refiners = {
        "simgan": ("configs/simgan.py:large", ()),
        "no_history": ("configs/simgan.py:large", (("simgan.history.size", 0),)),
        "cut": ("configs/cut.py:large", ()),
    }
    config.samples, config.more, config.test_samples = 16384, 4, 4096
    config.estimators = ("cnn", "cnn_fc9600", "resnet", "knn", "forest", "svr")
    config.estimator_steps, config.estimator_batch = 2000, 128


def cheap(config: ml_collections.ConfigDict) -> None:
    config.refiners = {}


def mpiigaze(config: ml_collections.ConfigDict) -> None:
    large(config)
    config.data.simulated = stream_config("unityeyes")
    config.data.real = stream_config("mpiigaze")
    config.randomized = False


def smoke(config: ml_collections.ConfigDict) -> None:
    config.seeds = (0,)
    config.refiners = {"simgan": ("configs/simgan.py:smoke", ()), "cut": ("configs/cut.py:smoke", ())}
    config.samples, config.more, config.test_samples = 128, 2, 64
    config.estimators = ("knn",)
    config.estimator_steps = 2
