"""A distance between a picture and its truth that forgives what eyes forgive, without any learned network.

As LPIPS (Zhang et al. 2018) it compares feature maps position by position instead of pixels, but those of the
library's fixed filters (:mod:`eyegan_jax.evaluation.features`): energies of edges by orientation and scale, local
brightness and local contrast. It is the same in every run and compares with no published LPIPS.
"""

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.evaluation.batches import in_batches
from eyegan_jax.evaluation.features import maps
from eyegan_jax.images import to_float, to_gray

NAME = "gabor maps"


@jax.jit
def _distances(pair):
    images, targets = (to_gray(to_float(x)) if x.shape[-1] == 3 else to_float(x) for x in pair)
    levels = [jnp.mean(jnp.square(a - b), axis=(1, 2, 3)) for a, b in zip(maps(images), maps(targets), strict=True)]
    return jnp.sqrt(jnp.mean(jnp.stack(levels), axis=0))


def perceptual_distances(images: np.ndarray, targets: np.ndarray, batch: int = 64) -> np.ndarray:
    """Distance ``[N]`` of each of uint8 ``images [N, H, W, C]`` to its target: 0 for equal ones, symmetric.

    Root of the mean over the maps of their mean squared difference. H and W are at least 24.
    """
    rows = np.arange(len(images))
    return in_batches(lambda chosen: _distances((images[chosen], targets[chosen])), rows, batch).astype(np.float64)
