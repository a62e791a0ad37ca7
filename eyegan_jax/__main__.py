"""``python -m eyegan_jax``: the command ``eyegan``, where it is not on the path."""

import os
import sys

from eyegan_jax.commands import main

if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
