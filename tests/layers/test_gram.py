"""The Gram matrix against a loop over pairs of feature maps."""

import numpy as np

from eyegan_jax.layers.gram import gram_matrix


def test_gram_matrix_is_all_inner_products_of_each_sample():
    features = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    gram = gram_matrix(features)
    assert gram.shape == (2, 5, 5)
    for n in range(2):
        for i in range(5):
            for j in range(5):
                inner = sum(features[n, h, w, i] * features[n, h, w, j] for h in range(3) for w in range(4))
                np.testing.assert_allclose(gram[n, i, j], inner, rtol=1e-4, atol=1e-5)


def test_gram_matrix_forgets_where_things_are():
    features = np.random.default_rng(1).normal(size=(1, 4, 4, 3)).astype(np.float32)
    shuffled = features.reshape(1, 16, 3)[:, np.random.default_rng(2).permutation(16)].reshape(features.shape)
    np.testing.assert_allclose(gram_matrix(features), gram_matrix(shuffled), rtol=1e-4, atol=1e-5)
