"""Train one of the systems. With no flags: SimGAN on the built-in eye simulator, in minutes on two CPU cores.

python train.py [--config=configs/simgan.py[:variant]] [--workdir=DIR] [--config.a.b=value ...]
"""

import sys

try:
    from eyegan_jax.cli import train_main
except ModuleNotFoundError as missing:
    print(f"error: expected an installed eyegan_jax, found no {missing.name}; run: pip install -e .", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(train_main(sys.argv))
