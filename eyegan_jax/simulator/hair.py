"""Lashes and brow as fields of strokes: each pixel asks only for the few strokes near it, whatever their number."""

import jax.numpy as jnp

from eyegan_jax.simulator.lids import Lids, Margins
from eyegan_jax.simulator.noise import bell, edge, hash_uniform, noise_layers, smoothstep, stage
from eyegan_jax.simulator.parameters import Subject
from eyegan_jax.simulator.skin import brow_arc
from eyegan_jax.simulator.views import View

LASH_WIDTH = 0.16  # mm at the root
LASH_SPACING = 0.38  # mm, at density 1


def _strokes(x, height, length, fan, bend, spacing, width, seed, pixel):
    """Coverage of tapering curved strokes that rise from a line at ``height`` 0; all lengths in mm.

    Stroke i starts in cell i of width ``spacing`` (jittered) and leans outward, the more the further from x = 0:
    ``fan`` radians per mm. Arguments broadcast: sets of strokes are stacked on a leading axis.
    """
    rise = jnp.maximum(height, 0.0)
    # Undo the common fan, so that strokes stand nearly upright in the cell coordinate.
    root = x / (1.0 + fan * rise)
    # The pixel's own cell and its two neighbours, on a leading axis.
    index = jnp.floor(root / spacing) + jnp.array([-1.0, 0.0, 1.0]).reshape(3, *(1,) * root.ndim)
    number = index.astype(jnp.int32)
    jitter, lean, tall = (hash_uniform(number, jnp.full_like(number, k), seed) for k in range(3))
    share = rise / jnp.maximum(length * (0.65 + 0.7 * tall), 1e-3)
    lean = 0.45 * (lean - 0.5) + 0.5 * jnp.sign(index) * bend * share
    across = jnp.abs(root - (index + jitter) * spacing - lean * rise)
    # Constant coverage times width: strokes thinner than a pixel fade instead of flickering.
    breadth = width * (1.0 - 0.8 * jnp.minimum(share, 1.0))
    soft = 0.5 * jnp.maximum(pixel, breadth)
    line = jnp.exp(-jnp.square(across / soft)) * jnp.minimum(breadth / (1.2 * soft), 1.0)
    return jnp.minimum(jnp.sum(line * (1.0 - smoothstep(0.85, 1.05, share)), axis=0), 1.0)


def lash_coverage(subject: Subject, lids: Lids, edges: Margins, lift, x, y, view: View, pixel):
    """Coverage ``[H, W]`` of upper and lower lashes.

    lift: radians by which the upper lid is turned up toward the camera: the lashes' apparent length and
        whether they rise or hang follow from it.
    """
    along = edges.along
    spacing = jnp.maximum(LASH_SPACING / subject.lash_density, 1.25 * view.mm_per_pixel)
    # Coarse pixels hold several lashes in one stroke.
    width = LASH_WIDTH * jnp.clip(spacing * subject.lash_density / LASH_SPACING, 1.0, 4.0) ** 0.8
    reach = jnp.sin(subject.lash_curl + lift)
    upper_length = subject.lash_length * jnp.maximum(jnp.abs(reach), 0.22) * (0.7 + 0.5 * smoothstep(0.3, 0.9, along))
    upper_height = (edges.upper - y) * jnp.where(reach > 0.0, 1.0, -1.0) + 0.15
    # Lower lashes: fewer, shorter, hanging from the outer edge of the lid's border.
    lower_height = y - edges.lower - subject.margin_thickness * 0.9
    lower_length = subject.lash_length * subject.lower_lashes * (0.36 + 0.3 * along)

    def sets(*values):
        """One value for each of the three sets: two crossing layers of upper lashes, and the lower ones."""
        return jnp.stack([jnp.broadcast_to(v, x.shape) for v in values])

    def constants(*values):
        return jnp.stack([jnp.asarray(v, jnp.float32) for v in values]).reshape(3, 1, 1)

    middle = x - lids.inner - 0.52 * lids.width
    height = sets(upper_height, upper_height, lower_height)
    strokes = _strokes(
        sets(middle, middle + 0.37, middle),
        height,
        sets(upper_length, upper_length, lower_length),
        constants(0.7, 1.2, 1.0) / lids.width,
        constants(0.5, 0.15, 0.3),
        constants(1.0, 1.0, 1.7) * spacing,
        constants(1.0, 1.0, 0.8) * width,
        (subject.skin_seed + jnp.array([77, 78, 79], jnp.uint32)).reshape(3, 1, 1),
        pixel,
    )
    strokes = stage(strokes) * edge(height, pixel)
    rooted = smoothstep(0.12, 0.25, along) * (1.0 - smoothstep(1.0, 1.12, along))
    upper = jnp.minimum(strokes[0] + strokes[1], 1.0) * rooted
    line = bell(edges.upper - y - 0.1, 0.32) * (0.55 + 0.25 * subject.lash_density)
    upper = jnp.maximum(upper, line * smoothstep(0.08, 0.2, along) * (1.0 - smoothstep(0.99, 1.06, along)))
    lower = strokes[2] * smoothstep(0.2, 0.4, along) * (1.0 - smoothstep(0.97, 1.05, along))
    return jnp.clip(jnp.maximum(upper, 0.8 * lower), 0.0, 1.0) * subject.lash_darkness


def brow_coverage(subject: Subject, lids: Lids, edges: Margins, x, y, view: View):
    """Coverage ``[H, W]`` of the brow: a tapering arc of short hairs that lean outward."""
    height = brow_arc(x) - y - subject.brow_height
    thickness = subject.brow_thickness * (1.0 - 0.55 * smoothstep(2.0, 22.0, x))
    band = jnp.exp(-(jnp.square(height / thickness) ** 1.5))
    ends = smoothstep(-20.0, -13.0, x) * (1.0 - smoothstep(16.0, 26.0, x))
    # Hairs: noise stretched along a direction that turns from upright at the nose to level outside.
    level = smoothstep(-16.0, 4.0, x)
    run, across = (
        x * (0.35 + 0.65 * level) + height * (1.0 - level),
        height * (0.25 + level) - 0.8 * x * (1.0 - level),
    )
    layers = [(0.35 * run, 1.5 * across)]
    if view.mm_per_pixel < 0.25:
        layers.append((0.6 * run, 4.0 * across))
    hairs, *fine = noise_layers(subject.skin_seed + 91, *layers)
    if fine:
        hairs = 0.6 * hairs + 0.7 * fine[0]
    return jnp.clip(band * ends * subject.brow_density * (0.75 + 0.75 * hairs), 0.0, 0.95)
