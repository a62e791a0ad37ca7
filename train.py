"""Train one of the systems. With no flags: SimGAN on the built-in eye simulator, in minutes on two CPU cores.

python train.py [--config=configs/simgan.py[:variant]] [--workdir=DIR] [--config.a.b=value ...]
"""

import sys

from eyegan_jax.cli import train_main

if __name__ == "__main__":
    sys.exit(train_main(sys.argv))
