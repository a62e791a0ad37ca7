"""Judge a trained run: writes WORKDIR/report/index.html and metrics.json.

python evaluate.py --workdir=DIR [--config.a.b=value ...]
"""

import sys

from eyegan_jax.cli import evaluate_main

if __name__ == "__main__":
    sys.exit(evaluate_main(sys.argv))
