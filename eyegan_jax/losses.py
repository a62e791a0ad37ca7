"""Every loss of the library: pure functions of arrays, each with its equation and source.

Sums over pixels and patches, means over the batch, so that the weights are those of the papers.
"""

from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from eyegan_jax.layers.gram import gram_matrix

# SimGAN (Shrivastava et al. 2017). D(.) is the probability that a patch is refined: target 1 = refined, 0 = real.

REAL, REFINED = 0, 1


def patch_cross_entropy(logits: jax.Array, target: int, reduction: str = "sum") -> jax.Array:
    """Local adversarial loss, equations 2 and 3: ``-sum_patches log softmax(logits)[target]``, batch mean.

    logits: ``[B, h, w, 2]``. reduction: "sum" over the patches (the paper) or "mean".
    At zero logits the sum is ``h w ln 2``.
    """
    targets = jnp.full(logits.shape[:-1], target)
    per_patch = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), targets)
    return jnp.mean(_reduce(per_patch, reduction))


def self_regularisation(refined: jax.Array, simulated: jax.Array, psi: Callable, reduction: str = "sum") -> jax.Array:
    """``|| psi(R(x)) - psi(x) ||_1`` of section 2.1, batch mean; images ``[B, H, W, C]`` in [-1, 1].

    The gradient with respect to ``simulated`` is stopped: it is data.
    """
    difference = jax.tree.map(
        lambda a, b: _reduce(jnp.abs(a - jax.lax.stop_gradient(b)), reduction), psi(refined), psi(simulated)
    )
    return jnp.mean(sum(jax.tree.leaves(difference)))


def patch_nce(queries: jax.Array, keys: jax.Array, temperature: float) -> jax.Array:
    """PatchNCE of CUT (Park et al. 2020, equation 3), mean over places and batch.

    queries, keys: unit vectors ``[B, S, D]`` of the output and of the input at the same S places. Each query is to find
    its own key among all of its image's: ``-log exp(q_s . k_s / t) / sum_r exp(q_s . k_r / t)``. No gradient goes into
    the keys. Equal vectors everywhere give ln S.
    """
    cosines = jnp.einsum("bsd,brd->bsr", queries, jax.lax.stop_gradient(keys)) / temperature
    own = jnp.broadcast_to(jnp.arange(cosines.shape[1]), cosines.shape[:2])
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(cosines, own))


def gaze_distance(found: jax.Array, wanted: jax.Array) -> jax.Array:
    """The gaze estimator's Euclidean loss of section 3.1 as Caffe defined it: half the squared distance, batch mean."""
    return 0.5 * jnp.mean(jnp.sum((found - wanted) ** 2, axis=-1))


def psi_identity(images: jax.Array) -> jax.Array:
    """The paper's psi for all its quantitative results."""
    return images


def psi_gradient(images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Forward differences along x and y ("image derivatives", section 2.1): brightness is free to change."""
    return images[:, :, 1:] - images[:, :, :-1], images[:, 1:] - images[:, :-1]


def psi_channel_mean(images: jax.Array) -> jax.Array:
    """Mean over the colour channels ("mean of color channels", section 2.1): hue is free to change."""
    return jnp.mean(images, axis=-1, keepdims=True)


def _total(terms: Iterable[jax.Array]) -> jax.Array:
    """Their sum, an array even where there are none."""
    return sum(terms, start=jnp.zeros(()))


def _reduce(per_element: jax.Array, reduction: str) -> jax.Array:
    """``[B, ...]`` to ``[B]``."""
    flat = per_element.reshape(per_element.shape[0], -1)
    return jnp.sum(flat, axis=1) if reduction == "sum" else jnp.mean(flat, axis=1)


# Segmentation (RITnet, Chaudhary et al. 2019, section 3.3). Means over pixels, as published.


def weighted_cross_entropy(logits: jax.Array, mask: jax.Array, weights: jax.Array) -> jax.Array:
    """``mean_x w(x) (-log softmax(z(x))[m(x)])``: each pixel's own weight on its own entropy.

    logits ``[B, H, W, K]``, mask int ``[B, H, W]``, weights ``[B, H, W]``, see
    :func:`eyegan_jax.data.preprocessing.border_weights`. Averaging the entropy before weighting it, as the released
    code does, would turn the weights into one number.
    """
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), mask.astype(jnp.int32))
    return jnp.mean(weights * entropy)


def generalised_dice(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """``1 - 2 sum_k w_k sum_x p_k g_k / sum_k w_k sum_x (p_k + g_k)``, ``w_k = 1 / (sum_x g_k)^2``; batch mean.

    Per image. A class that an image lacks has no weight there: its ``w_k`` would be infinite. Shapes as in
    :func:`weighted_cross_entropy`. Source: Sudre et al., DLMIA 2017.
    """
    probability = jax.nn.softmax(logits.astype(jnp.float32))
    truth = jax.nn.one_hot(mask, logits.shape[-1])
    area = truth.sum((1, 2))
    weight = jnp.where(area > 0, 1.0 / jnp.maximum(area, 1.0) ** 2, 0.0)
    shared = (weight * (probability * truth).sum((1, 2))).sum(-1)
    either = (weight * (probability + truth).sum((1, 2))).sum(-1)
    return jnp.mean(1.0 - 2.0 * shared / either)


def boundary(logits: jax.Array, distances: jax.Array) -> jax.Array:
    """``mean_x sum_k phi_k(x) p_k(x)`` with the signed distance ``phi_k`` to the border of class k.

    Probability far outside of its class costs, far inside it pays: the only term that knows how far off an error
    is. distances ``[B, H, W, K]``: :func:`eyegan_jax.data.preprocessing.signed_distances`. Source: Kervadec et al.,
    MIDL 2019.
    """
    probability = jax.nn.softmax(logits.astype(jnp.float32))
    return jnp.mean((probability * distances).sum(-1))


# Seg2Eye (Buehler et al. 2019). Means over everything, as published, so that the published weights fit.


def hinge_discriminator(real: Sequence[jax.Array], fake: Sequence[jax.Array]) -> jax.Array:
    """``mean_i [ mean max(0, 1 - D_i(real)) + mean max(0, 1 + D_i(fake)) ]`` over the scales i (Lim and Ye 2017)."""
    pairs = zip(real, fake, strict=True)
    return _total(jnp.mean(jax.nn.relu(1 - r)) + jnp.mean(jax.nn.relu(1 + f)) for r, f in pairs) / len(real)


def hinge_generator(fake: Sequence[jax.Array]) -> jax.Array:
    """``-mean_i mean D_i(fake)`` over the scales i."""
    return -_total(jnp.mean(f) for f in fake) / len(fake)


def feature_matching(fake: Sequence[Sequence[jax.Array]], real: Sequence[Sequence[jax.Array]]) -> jax.Array:
    """``L_DF = mean_i sum_l mean | F_D^l(fake) - sg F_D^l(real) |``: features of D, scale by scale, without logits.

    The real features are the target: no gradient flows to them.
    """
    distances = [
        jnp.mean(jnp.abs(f.astype(jnp.float32) - jax.lax.stop_gradient(r).astype(jnp.float32)))
        for of_fake, of_real in zip(fake, real, strict=True)
        for f, r in zip(of_fake, of_real, strict=True)
    ]
    return _total(distances) / len(fake)


def gram_style(features: Sequence[jax.Array], targets: Sequence[jax.Array], order: int = 1) -> jax.Array:
    """``L_Gram = sum_l mean_ij | G^l(F_E(fake)) - sg G^l(F_E(I)) |^order``, batch mean, ``G = F F^T / (C H W)``.

    features: ``[N, H, W, C]`` per layer. order: 1 (the paper's equation) or 2 (the released code). The released
    code also correlates the features of different samples of a batch; here samples stay apart.
    """
    total = jnp.zeros(())
    for feature, target in zip(features, targets, strict=True):
        size = np.prod(feature.shape[1:])
        difference = gram_matrix(feature) - jax.lax.stop_gradient(gram_matrix(target))
        total += jnp.mean(jnp.abs(difference / size) ** order)
    return total


def style_code(code: jax.Array, target: jax.Array) -> jax.Array:
    """``mean (w(fake) - sg w(references))^2``; codes ``[N, D]``."""
    return jnp.mean(jnp.square(code - jax.lax.stop_gradient(target)))


def style_features(features: Sequence[jax.Array], targets: Sequence[jax.Array]) -> jax.Array:
    """``sum_l mean (F_E^l(fake) - sg F_E^l(references))^2``, position by position."""
    pairs = zip(features, targets, strict=True)
    return _total(jnp.mean(jnp.square(f - jax.lax.stop_gradient(t))) for f, t in pairs)


OPENEDS_TEST_IMAGES = 1471


def openeds(image: jax.Array, target: jax.Array) -> jax.Array:
    """The OpenEDS 2019 score, differentiable: ``1471 mean_n sqrt(sum_px (127.5 (y - t))^2) / (H W)``.

    Images ``[N, H, W, C]`` in [-1, 1], not rounded. One gray level everywhere costs ``1471 / sqrt(H W)``. The root
    is smoothed below a millionth of a gray level, so that the gradient of identical images is 0, not NaN.
    """
    pixels = np.prod(image.shape[1:])
    squares = jnp.sum(jnp.square(127.5 * (image - target)), axis=(1, 2, 3))
    smooth = pixels * 1e-12
    return OPENEDS_TEST_IMAGES * jnp.mean(jnp.sqrt(squares + smooth) - np.sqrt(smooth)) / pixels


# Gaze redirection (reconstruction after Kaur and Manduchi, WACV 2021; He et al., ICCV 2019). Means over pixels.


def mask_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """``-mean_x sum_k t_k(x) log softmax(z(x))_k`` of logits and soft or one-hot masks, both ``[N, H, W, K]``."""
    return jnp.mean(optax.softmax_cross_entropy(logits.astype(jnp.float32), target))


def gradient_penalty(critic: Callable[[jax.Array], jax.Array], real: jax.Array, fake: jax.Array, shares: jax.Array):
    """``mean_n (|| grad_x D(x_n) ||_2 - 1)^2`` at ``x_n = a_n real_n + (1 - a_n) fake_n`` (Gulrajani et al. 2017).

    critic: ``[N, H, W, C] -> [N]``, each score of its own image alone. shares: ``a``, ``[N]`` in [0, 1].
    """
    between = shares[:, None, None, None] * real + (1.0 - shares[:, None, None, None]) * fake
    slope = jax.grad(lambda x: jnp.sum(critic(x)))(between)
    norm = jnp.sqrt(jnp.sum(jnp.square(slope), axis=(1, 2, 3)) + 1e-12)
    return jnp.mean(jnp.square(norm - 1.0))


# Editing by text (Dong et al., ICCV 2017; TAGAN, Nam et al., NeurIPS 2018). Means over everything, as published.


def visual_semantic(image: jax.Array, text: jax.Array, wrong: jax.Array, images, texts, places, margin: float = 0.2):
    """``mean_ij [m - s(v_i, t_i) + s(v_i, t_j)]_+ + [m - s(v_i, t_i) + s(v_j, t_i)]_+``, j not i (Kiros et al. 2014).

    s is the cosine. ``image``, ``text``, ``wrong [B, D]`` are this device's; ``images``, ``texts [N, D]`` those of all
    devices, with this device's at ``places [B]``. ``wrong`` holds a hard negative for each image, which counts as much
    as all others together.
    """

    def unit(x):
        return x / jnp.sqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + 1e-12)

    image, text, wrong, images, texts = (unit(x) for x in (image, text, wrong, images, texts))
    own = jnp.sum(image * text, axis=-1, keepdims=True)
    other = places[:, None] != jnp.arange(len(images))
    costs = jax.nn.relu(margin - own + image @ texts.T) + jax.nn.relu(margin - own + text @ images.T)
    hard = jax.nn.relu(margin - own[:, 0] + jnp.sum(image * wrong, axis=-1))
    return jnp.sum(costs * other) / (len(own) * max(len(images) - 1, 1)) + jnp.mean(hard)


def gaussian_kl(mean: jax.Array, log_deviation: jax.Array) -> jax.Array:
    """``KL(N(mu, sigma^2) || N(0, 1))``, mean over dimensions and batch: ``(mu^2 + sigma^2 - 1) / 2 - log sigma``."""
    return jnp.mean(0.5 * (jnp.square(mean) + jnp.exp(2.0 * log_deviation) - 1.0) - log_deviation)


def changed_l1(made: jax.Array, wanted: jax.Array, source: jax.Array, visible: float = 0.08) -> jax.Array:
    """L1 to ``wanted``, mean over the pixels that an edit of ``source`` changes, then over samples; ``[B, H, W, C]``.

    A pixel is changed where its channels move by more than ``visible`` on average (10 of 255 gray levels in [-1, 1]).
    An L1 over whole pictures hardly sees an iris of another colour, a twentieth of the pixels. Edits of less than a
    hundredth count for less.
    """
    changed = jnp.mean(jnp.abs(wanted - source), axis=-1) > visible
    error = jnp.sum(jnp.mean(jnp.abs(made - wanted), axis=-1) * changed, axis=(1, 2))
    return jnp.mean(error / jnp.maximum(jnp.sum(changed, axis=(1, 2)), 0.01 * changed[0].size))


def motion_error(flow: jax.Array, motion: jax.Array) -> jax.Array:
    """Squared error of a flow ``[B, H, W, 2]`` (pixels) against a known one, in squared shares of the picture's width.

    motion: ``[B, H, W, 3]``, (down, right) in pixels and 1 where they are known (``simulator.motion.ball_motion``);
    mean over those pixels, then over samples. A sample of which under a hundredth is known counts for less. Squared,
    since most eyes stay where they are: while a sentence is half understood, an L1 is content with no motion at all.
    """
    known = motion[..., 2]
    error = jnp.sum(jnp.sum(jnp.square(flow - motion[..., :2]), axis=-1) * known, axis=(1, 2))
    return jnp.mean(error / jnp.maximum(jnp.sum(known, axis=(1, 2)), 0.01 * known[0].size)) / flow.shape[2] ** 2


def stated_bins(logits: jax.Array, bins: jax.Array, sizes: ArrayLike) -> jax.Array:
    """Cross-entropy of what a sentence states about every attribute, mean over samples and attributes.

    logits ``[B, sum of (size + 1)]``: per attribute "nothing" and then its bins, of which it has ``sizes[i]``; bins int
    ``[B, A]``, -1 where the sentence says nothing.
    """
    parts = jnp.split(logits, np.cumsum(np.asarray(sizes) + 1)[:-1], axis=-1)
    entropy = optax.softmax_cross_entropy_with_integer_labels
    return jnp.mean(jnp.stack([entropy(part, bins[:, i] + 1) for i, part in enumerate(parts)]))


def logistic(logits: jax.Array, real: bool) -> jax.Array:
    """``-log sigmoid(z)`` of what should be judged real, ``-log (1 - sigmoid(z))`` otherwise; mean over everything."""
    return jnp.mean(jax.nn.softplus(-logits if real else logits))
