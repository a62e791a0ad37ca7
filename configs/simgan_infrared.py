"""SimGAN on infrared close-ups: built-in renders refined toward real eyes of MEYE's camera, 64x64.

command:   python train.py --config=configs/simgan_infrared.py --config.data.real.dir=FOLDER
defaults:  the MEYE images of ../shared/realdata, or of $EYEGAN_REALDATA; a folder of the same form, see docs/data.md
hardware:  half an hour on two CPU cores; any accelerator
variants:  smoke, large: as in configs/simgan.py; large at 128x128

The refiner that comes with the package for ``eyegan refine --look infrared``.
"""

import runpy
from pathlib import Path

import ml_collections

from eyegan_jax.data.catalog import realdata_dir
from eyegan_jax.data.streams import stream_config
from eyegan_jax.training.defaults import apply_variant


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    simgan = runpy.run_path(str(Path(__file__).with_name("simgan.py")))
    config = simgan["get_config"]().copy_and_resolve_references().unlock()
    config.image_shape = (64, 64, 1)
    config.steps = 800
    config.data.simulated = stream_config("simulator", domain="simulated", view="meye_128", pool=4096)
    config.data.real = stream_config("meye", dir=str(realdata_dir("meye") or ""))
    config.simgan.equalised = False  # pictures are as the camera gave them

    def large(config: ml_collections.ConfigDict) -> None:
        simgan["large"](config)
        config.image_shape = (128, 128, 1)

    return apply_variant(config, variant, {"smoke": simgan["smoke"], "large": large})
