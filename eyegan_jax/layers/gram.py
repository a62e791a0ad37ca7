"""The Gram matrix of a feature map: which features fire together, wherever they do (Gatys et al. 2016)."""

import jax.numpy as jnp


def gram_matrix(features):
    """``G_ij = <F_i, F_j>`` over all positions: ``[N, H, W, C] -> [N, C, C]``, float32, per sample."""
    features = features.astype(jnp.float32)
    return jnp.einsum("nhwi,nhwj->nij", features, features)
