"""Text encoder, editor and critic against plain NumPy, and that every word-level head learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax.errors import UserError
from eyegan_jax.networks.editor import Editor, shrink
from eyegan_jax.networks.text_critic import TextCritic, log_one_minus_exp, word_attention, word_score
from eyegan_jax.networks.text_encoder import TextEncoder, mean_of_words

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def encoder():
    module = TextEncoder(vocabulary=9, embedding=4, features=5)
    return module, jax.jit(module.init)(KEY, jnp.ones((1, 6), int)), jax.jit(module.apply)


def test_words_do_not_see_padding(encoder):
    _, params, apply = encoder
    words, present = apply(params, jnp.array([[3, 1, 4, 0, 0, 0], [3, 1, 4, 2, 2, 2]]))
    short, _ = apply(params, jnp.array([[3, 1, 4]]))
    np.testing.assert_allclose(words[0, :3], short[0], atol=1e-6)
    assert not np.asarray(words[0, 3:]).any() and list(present[0]) == [1, 1, 1, 0, 0, 0]
    # A word behind a word changes it: the backward direction is there.
    assert np.abs(words[1, :3] - short[0]).max() > 1e-3
    np.testing.assert_allclose(mean_of_words(words, present)[0], short[0].mean(0), atol=1e-6)
    assert not np.asarray(mean_of_words(*apply(params, jnp.zeros((1, 6), int)))).any()


def test_word_score_is_the_published_product():
    batch, length, sizes = 2, 4, (3, 2)
    features = [RNG.normal(size=(batch, n)) for n in sizes]
    heads = RNG.normal(size=(batch, length, sum(sizes) + len(sizes)))
    levels = RNG.normal(size=(batch, length, len(sizes)))
    weights = np.array([[0.5, 0.3, 0.2, 0.0], [1.0, 0.0, 0.0, 0.0]])
    expected = np.ones(batch)
    for b in range(batch):
        for w in range(length):
            beta = np.exp(levels[b, w]) / np.exp(levels[b, w]).sum()
            total, start = 0.0, 0
            for i, n in enumerate(sizes):
                z = heads[b, w, start : start + n] @ features[i][b] + heads[b, w, start + n]
                total += beta[i] / (1 + np.exp(-z))
                start += n + 1
            expected[b] *= total ** weights[b, w]
    score = word_score([jnp.asarray(f) for f in features], *map(jnp.asarray, (heads, levels, weights)))
    np.testing.assert_allclose(np.exp(score), expected, rtol=1e-5)
    assert ((np.exp(score) > 0) & (np.exp(score) <= 1)).all()


def test_log_space_survives_certainty():
    x = jnp.array([-1e-6, -1e-3, -0.6, -0.7, -5.0, -200.0])
    np.testing.assert_allclose(
        log_one_minus_exp(x), np.log(-np.expm1(np.asarray(x, np.float64))), rtol=1e-4, atol=1e-30
    )
    assert np.isfinite(jax.vmap(jax.grad(log_one_minus_exp))(x)).all()
    certain = word_score([jnp.zeros((1, 1))], jnp.full((1, 2, 2), 1e4), jnp.zeros((1, 2, 1)), jnp.array([[0.5, 0.5]]))
    np.testing.assert_allclose(certain, 0.0, atol=1e-6)


def test_attention_is_over_words_only():
    words, present = jnp.asarray(RNG.normal(size=(2, 3, 4))), jnp.array([[True, True, False], [False] * 3])
    weights = np.asarray(word_attention(jnp.where(present[..., None], words, 0.0), present))
    np.testing.assert_allclose(weights.sum(-1), [1.0, 0.0], atol=1e-6)
    assert weights[0, 2] == 0.0


@pytest.mark.parametrize("conditional", ["words", "sentence"])
def test_gradients_of_the_verdict_reach_words_picture_and_every_head(conditional):
    critic = TextCritic(width=2, layers=2, conditional=conditional, code=3)
    image, words = jnp.asarray(RNG.normal(size=(2, 12, 16, 3))), jnp.asarray(RNG.normal(size=(2, 3, 4)))
    present = jnp.array([[True, True, False], [True, True, True]])
    words = jnp.where(present[..., None], words, 0.0)
    variables = jax.jit(critic.init)(KEY, image, words, present)

    @jax.jit
    def gradients(params, image, words):
        def loss(params, image, words):
            verdict = critic.apply(variables | {"params": params}, image, words, present)
            return -verdict.fits.mean() - 0.5 * verdict.fits_not.mean(), verdict

        return jax.grad(loss, (0, 1, 2), has_aux=True)(params, image, words)

    (by_params, by_image, by_words), verdict = gradients(variables["params"], image, words)
    np.testing.assert_allclose(np.exp(verdict.fits) + np.exp(verdict.fits_not), 1.0, atol=1e-5)
    assert (np.abs(by_image).reshape(2, -1).max(1) > 0).all()
    assert (np.abs(by_words[present]).max(-1) > 0).all()
    for name, gradient in by_params.items():
        assert name == "real" or all(np.abs(leaf).max() > 0 for leaf in gradient.values()), name


def test_editor_outputs_and_shapes():
    editor = Editor(width=2, scales=2, code=3, blocks=1, outputs=2)
    image, words, present = jnp.asarray(RNG.uniform(-1, 1, (2, 12, 16, 3))), jnp.ones((2, 3, 4)), jnp.ones((2, 3), bool)
    params = jax.jit(editor.init)(KEY, image, words, present)
    apply = jax.jit(editor.apply)
    images, (mean, log_deviation), flow = apply(params, image, words, present)
    assert [x.shape for x in images] == [(2, 6, 8, 3), (2, 12, 16, 3)]
    assert mean.shape == log_deviation.shape == (2, 3)
    # It begins by changing nothing, at every size.
    np.testing.assert_array_equal(flow, np.zeros((2, 12, 16, 2)))
    for made, halvings in zip(images, (1, 0), strict=True):
        np.testing.assert_allclose(made, shrink(image, halvings), atol=1e-5)
    np.testing.assert_allclose(shrink(image, 1)[0, 0, 0], image[0, :2, :2].mean((0, 1)), atol=1e-6)


def test_editor_moves_pixels_before_it_paints():
    """Every pixel is read two rows below and one and a half columns to the left: the flow counts in four pixels."""
    editor = Editor(width=2, scales=2, code=3, blocks=0)
    image, words, present = jnp.asarray(RNG.uniform(-1, 1, (1, 12, 16, 3))), jnp.ones((1, 3, 4)), jnp.ones((1, 3), bool)
    params = jax.jit(editor.init)(KEY, image, words, present)
    params["params"]["flow"]["bias"] = jnp.array([0.5, -0.375])
    (moved,), _, flow = jax.jit(editor.apply)(params, image, words, present)
    left = (image[:, :, :-3] + image[:, :, 1:-2]) / 2  # of the columns 1.5 to the left, from the third one on
    np.testing.assert_allclose(moved[:, :-2, 2:-1], left[:, 2:], atol=1e-5)
    np.testing.assert_allclose(flow, np.broadcast_to([2.0, -1.5], (1, 12, 16, 2)), atol=1e-6)


def test_every_parameter_of_the_editor_matters_and_so_does_every_word():
    editor = Editor(width=4, scales=2, code=3, blocks=1)
    image, words, present = jnp.asarray(RNG.uniform(-1, 1, (2, 12, 16, 3))), jnp.ones((2, 3, 4)), jnp.ones((2, 3), bool)
    fresh = jax.jit(editor.init)(KEY, image, words, present)
    params = jax.tree.map(lambda x: x + 0.1 * jnp.asarray(RNG.normal(size=x.shape), x.dtype), fresh)

    def energy(params, words):
        # With noise, so that the deviation of the sentence's Gaussian counts too.
        images, *_ = editor.apply(params, image, words, present, jnp.ones((2, 3)))
        return jnp.sum(images[-1] ** 2)

    by_params, by_words = jax.jit(jax.grad(energy, (0, 1)))(params, words)
    dead = [jax.tree_util.keystr(path) for path, g in jax.tree_util.tree_leaves_with_path(by_params) if not g.any()]
    assert not dead
    assert (np.abs(by_words).max(-1) > 0).all()


def test_an_editor_that_paints_whole_pictures_stays_in_range():
    editor = Editor(width=2, scales=1, code=3, blocks=0, residual=False)
    arguments = 50 * jnp.ones((1, 4, 6, 3)), jnp.ones((1, 3, 4)), jnp.ones((1, 3), bool)
    (images, *_), _ = jax.jit(editor.init_with_output)(KEY, *arguments)
    assert all(np.abs(x).max() <= 1 for x in images)


def test_unknown_head_is_named():
    with pytest.raises(UserError, match=r"critic\.conditional: expected 'words' or 'sentence', found 'letters'"):
        shapes = jnp.zeros((1, 8, 8, 3)), jnp.ones((1, 1, 1)), jnp.ones((1, 1))
        jax.eval_shape(TextCritic(2, 2, conditional="letters").init, KEY, *shapes)
