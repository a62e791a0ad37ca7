"""Judge a trained run: writes WORKDIR/report/index.html and metrics.json.

python evaluate.py --workdir=DIR [--config.a.b=value ...]
"""

import sys

try:
    from eyegan_jax.cli import evaluate_main
except ModuleNotFoundError as missing:
    print(f"error: expected an installed eyegan_jax, found no {missing.name}; run: pip install -e .", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(evaluate_main(sys.argv))
