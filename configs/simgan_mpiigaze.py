"""SimGAN on real input: UnityEyes renders and built-in renders refined toward MPIIGaze eyes, 35x55.

command:   python train.py --config=configs/simgan_mpiigaze.py --config.data.simulated.parts.tiles.dir=RENDERS \
               --config.data.real.dir=REAL
defaults:  the folders of ../shared/realdata, or of $EYEGAN_REALDATA
variants:  smoke, large, paper: as in configs/simgan.py
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
    config.data.simulated = stream_config("mixture")
    config.data.simulated.parts.tiles = stream_config("folder", dir=str(realdata_dir("unityeyes_tiles") or ""))
    config.data.simulated.parts.simulator = stream_config("simulator", domain="simulated", pool=4096)
    config.simgan.equalised = False  # whether the real eyes of a folder are, is not known
    config.simgan.loss.regularisation = 0.01  # so the refiner has to change the tones, too
    config.simgan.discriminator_optimiser.learning_rate = 2e-4  # a faster one was tried on equalised eyes only
    config.data.real = stream_config("folder", dir=str(realdata_dir("mpiigaze") or ""))
    return apply_variant(config, variant, {name: simgan[name] for name in ("smoke", "large", "paper")})
