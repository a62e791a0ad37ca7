"""The gaze estimator that the SimGAN paper trains to judge its refined images (Shrivastava et al. 2017, 3.1)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from eyegan_jax.layers.convolution import Conv
from eyegan_jax.layers.pooling import max_pool


class GazeFeatures(nn.Module):
    """The convolutional part, ``[B, 5, 10, 192]`` for 35x55; also a frozen psi for the refiner's feature loss."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = images.astype(self.dtype)
        for i, width in enumerate((32, 32, 64)):
            x = nn.relu(Conv(width, 3, padding="VALID", dtype=self.dtype, name=f"conv{i}")(x))
        x = max_pool(x, 3, 2)
        for i, width in enumerate((80, 192), start=3):
            x = nn.relu(Conv(width, 3, padding="VALID", dtype=self.dtype, name=f"conv{i}")(x))
        return max_pool(x, 2, 2)


class GazeEstimator(nn.Module):
    """``[B, 35, 55, C]`` in [-1, 1] to gaze vectors ``[B, 3]`` (not normalised; Euclidean loss in the paper).

    conv3x3 32, 32, 64, max-pool 3x3 s2, conv3x3 80, 192, max-pool 2x2 s2, all VALID: 5x10x192 = 9600 features.
    "FC9600" in the paper is either that flatten (default: 9,816,659 parameters) or a layer of its own
    (``fc9600=True``: 101,986,259 parameters).
    """

    fc9600: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = GazeFeatures(self.dtype, name="features")(images)
        x = x.reshape(x.shape[0], -1)
        if self.fc9600:
            x = nn.relu(nn.Dense(9600, dtype=self.dtype, name="fc9600")(x))
        x = nn.relu(nn.Dense(1000, dtype=self.dtype, name="fc1000")(x))
        return nn.Dense(3, dtype=self.dtype, name="fc3")(x).astype(jnp.float32)
