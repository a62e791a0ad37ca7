"""CUT (Park et al. 2020) in place of SimGAN: the same refiner and discriminator, kept to the label by contrast.

command:   python train.py --config=configs/cut.py[:variant]
hardware:  two CPU cores, or any accelerator
variants:  smoke     the real code with tiny networks, under 40 seconds
           large     the refiner of configs/simgan.py:large, batch 64, bfloat16, for accelerators
           paper     the publication's optimiser, weights and 256 patches, one image per step, for accelerators
           infrared  renders of infrared close-ups toward MEYE's real eyes, 64x64, half an hour on one CPU core: the
                     refiner of ``eyegan refine --look infrared``. --config.data.real.dir=FOLDER (docs/data.md); the
                     real test images where not set
"""

import runpy
from pathlib import Path

import ml_collections

from eyegan_jax.data.catalog import realdata_dir
from eyegan_jax.data.streams import stream_config
from eyegan_jax.systems.optimisers import optimiser_config
from eyegan_jax.training.defaults import apply_variant

simgan = runpy.run_path(str(Path(__file__).with_name("simgan.py")))["get_config"]


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """SimGAN's config with another system: the same data, batch, refiner and judges."""
    config = simgan({"smoke": "smoke", "large": "large"}.get(variant, "")).unlock()
    config.system = "cut"
    config.steps *= config.simgan.refiner_updates  # as many updates of the refiner
    config.cut = cut_config()
    config.cut.refiner.update(config.simgan.refiner)
    del config.simgan
    return apply_variant(config, variant, {"smoke": smoke, "large": large, "paper": paper, "infrared": infrared})


def cut_config() -> ml_collections.ConfigDict:
    """Every setting of the system; weights, temperature, patches and optimisers are the publication's."""
    return ml_collections.ConfigDict(
        {
            "refiner": {  # see configs/simgan.py
                "width": 64,
                "blocks": 4,
                "stem_kernel": 3,
                "activation": "relu",
                "norm": "none",
                "padding": "explicit",
                "output": "residual",
            },
            "discriminator": {"activation": "relu", "norm": "none", "padding": "explicit", "decision": "local"},
            "loss": {
                "contrast": 1.0,  # weight of PatchNCE between a simulated eye and its refined version
                "identity": 1.0,  # the same for real eyes, which should stay; 0 = FastCUT
            },
            "temperature": 0.07,
            "patches": 256,  # places per image and layer that are told apart
            "projection": 256,  # length of the vectors that are compared
            "averaging": 0.997,  # decay of the refiner's moving average, which is used after training
            "generator_optimiser": optimiser_config("adam", 2e-4, b1=0.5),
            "discriminator_optimiser": optimiser_config("adam", 2e-4, b1=0.5),
        }
    )


def smoke(config: ml_collections.ConfigDict) -> None:
    config.steps = 12
    config.cut.patches = config.cut.projection = 16


def large(config: ml_collections.ConfigDict) -> None:
    config.cut.averaging = 0.999


def paper(config: ml_collections.ConfigDict) -> None:
    config.batch_size = 1
    config.steps = 400_000
    config.cut = cut_config()
    config.cut.averaging = 0.0  # the publication uses the last weights


def infrared(config: ml_collections.ConfigDict) -> None:
    config.image_shape = (64, 64, 1)
    config.steps = 800
    config.data.simulated = stream_config("simulator", domain="simulated", view="meye_128", pool=4096)
    config.data.real = stream_config("meye", dir=str(realdata_dir("meye") or ""))
