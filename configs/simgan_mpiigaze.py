"""SimGAN on real input: UnityEyes renders and built-in renders refined toward MPIIGaze eyes, 35x55.

command:   python train.py --config=configs/simgan_mpiigaze.py --config.data.simulated.parts.tiles.dir=RENDERS \
               --config.data.real.dir=REAL
defaults:  the folders of ../shared/realdata, or of $EYEGAN_REALDATA
variants:  smoke, paper (batch 512 and the paper's networks and schedule, for accelerators)
"""

import importlib.util
from pathlib import Path

import ml_collections

from eyegan_jax.data.catalog import realdata_dir
from eyegan_jax.data.streams import stream_config
from eyegan_jax.training.defaults import apply_variant


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    config = _sibling("simgan").get_config().copy_and_resolve_references().unlock()
    config.data.simulated = stream_config("mixture")
    config.data.simulated.parts.tiles = stream_config("folder", dir=str(realdata_dir("unityeyes_tiles") or ""))
    config.data.simulated.parts.simulator = stream_config("simulator", domain="simulated")
    config.data.real = stream_config("folder", dir=str(realdata_dir("mpiigaze") or ""))
    simgan = _sibling("simgan")
    return apply_variant(config, variant, {"smoke": simgan.smoke, "paper": simgan.paper})


def _sibling(name: str):
    """Another config file of this folder: configs are loaded by path, so they are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
