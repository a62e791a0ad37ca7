"""The projection heads of CUT: what two corresponding patches are compared in (Park et al., ECCV 2020, 3.2)."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp


class PatchProjection(nn.Module):
    """Features ``[B, H, W, C]`` of each layer at chosen places to unit vectors ``[B, S, width]``.

    A head of two layers per feature map; ``places`` holds one int array ``[S]`` of flat pixel positions per map. The
    vectors are normalised: their products are cosines.
    """

    width: int = 256

    @nn.compact
    def __call__(self, features: Sequence[jax.Array], places: Sequence[jax.Array]) -> list[jax.Array]:
        found = []
        for i, (values, chosen) in enumerate(zip(features, places, strict=True)):
            x = values.reshape(len(values), -1, values.shape[-1])[:, chosen].astype(jnp.float32)
            x = nn.relu(nn.Dense(self.width, name=f"head{i}_0")(x))
            x = nn.Dense(self.width, name=f"head{i}_1")(x)
            found.append(x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-12))
        return found
