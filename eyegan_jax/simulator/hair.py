"""Lashes and brow as fields of strokes: each pixel asks only for the few strokes near it, whatever their number."""

import jax.numpy as jnp

from eyegan_jax.simulator.lids import Lids, Margins
from eyegan_jax.simulator.noise import bell, hash_uniform, smoothstep, value_noise
from eyegan_jax.simulator.parameters import Subject
from eyegan_jax.simulator.views import View

LASH_WIDTH = 0.13  # mm at the root
LASH_SPACING = 0.42  # mm, at density 1


def _strokes(x, height, half_fissure, length, fan, bend, spacing, width, seed, pixel):
    """Coverage of tapering curved strokes that rise from a line at ``height`` 0; x and height in mm.

    Stroke i starts at cell i of width ``spacing`` (jittered) and leans outward by ``fan`` of its place.
    """
    rise = jnp.maximum(height, 0.0)
    # Undo the common fan, so that strokes stand nearly upright in the cell coordinate.
    root = x / (1.0 + fan * rise / half_fissure)
    cell = jnp.floor(root / spacing)
    coverage = 0.0
    for k in (-1, 0, 1):
        index = cell + k
        number = index.astype(jnp.int32)
        jitter = hash_uniform(number, jnp.zeros_like(number), seed)
        lean = hash_uniform(number, jnp.ones_like(number), seed) - 0.5
        tall = length * (0.65 + 0.7 * hash_uniform(number, jnp.full_like(number, 2), seed))
        share = rise / jnp.maximum(tall, 1e-3)
        outward = jnp.sign(index * spacing) * bend
        center = (index + jitter) * spacing + lean * 0.45 * rise + outward * rise * share * 0.5
        across = jnp.abs(root - center)
        # Constant coverage times width: strokes thinner than a pixel fade instead of flickering.
        breadth = width * (1.0 - 0.8 * jnp.minimum(share, 1.0))
        soft = jnp.maximum(0.5 * pixel, 0.5 * breadth)
        line = jnp.exp(-jnp.square(across / soft)) * jnp.minimum(breadth / (1.2 * soft), 1.0)
        coverage = coverage + line * (1.0 - smoothstep(0.85, 1.05, share))
    return jnp.minimum(coverage, 1.0)


def lash_coverage(subject: Subject, lids: Lids, edges: Margins, lift, x, y, view: View, pixel):
    """Coverage ``[H, W]`` of upper and lower lashes.

    lift: radians by which the upper lid is turned up toward the camera: the lashes' apparent length and
        whether they rise or hang follow from it.
    """
    middle = lids.inner + 0.52 * lids.width
    half = 0.5 * lids.width
    along = edges.along
    rooted = smoothstep(0.12, 0.25, along) * (1.0 - smoothstep(1.0, 1.12, along))
    spacing = jnp.maximum(LASH_SPACING / subject.lash_density, 1.25 * view.mm_per_pixel)
    # Coarse pixels hold several lashes in one stroke.
    width = LASH_WIDTH * jnp.clip(spacing * subject.lash_density / LASH_SPACING, 1.0, 4.0) ** 0.8
    elevation = subject.lash_curl + lift
    reach = jnp.sin(elevation)
    direction = jnp.where(reach > 0.0, 1.0, -1.0)
    longer = 0.7 + 0.5 * smoothstep(0.3, 0.9, along)
    length = subject.lash_length * jnp.maximum(jnp.abs(reach), 0.12) * longer
    height = (edges.upper - y) * direction + 0.15
    shown = height > 0.0
    centered = x - middle
    seed = subject.skin_seed + 77
    upper = 0.0
    for layer, (fan, bend) in enumerate(((0.35, 0.5), (0.6, 0.15))):
        strokes = _strokes(
            centered + 0.37 * layer, height, half, length, fan, bend, spacing, width, seed + layer, pixel
        )
        upper = upper + strokes * shown
    line = bell(edges.upper - y - 0.1, 0.32) * (0.55 + 0.25 * subject.lash_density)
    upper = jnp.minimum(upper, 1.0) * rooted
    upper = jnp.maximum(upper, line * smoothstep(0.08, 0.2, along) * (1.0 - smoothstep(0.99, 1.06, along)))
    # Lower lashes: fewer, shorter, hanging from the outer edge of the lid's border.
    depth = y - edges.lower - subject.margin_thickness * 0.9
    short = subject.lash_length * subject.lower_lashes * (0.6 + 0.5 * along) * 0.6
    lower = _strokes(centered, depth, half, short, 0.5, 0.3, 1.7 * spacing, 0.8 * width, seed + 9, pixel)
    lower = lower * (depth > 0.0) * smoothstep(0.2, 0.4, along) * (1.0 - smoothstep(0.97, 1.05, along))
    return jnp.clip(jnp.maximum(upper, 0.8 * lower), 0.0, 1.0) * subject.lash_darkness


def brow_coverage(subject: Subject, lids: Lids, edges: Margins, x, y, view: View):
    """Coverage ``[H, W]`` of the brow: a tapering arc of short hairs that lean outward."""
    arc = 0.012 * jnp.square(x - 6.0) - 0.10 * (x + 12.0)
    height = -(y - arc) - subject.brow_height
    thickness = subject.brow_thickness * (1.0 - 0.55 * smoothstep(2.0, 22.0, x))
    band = jnp.exp(-jnp.square(height / thickness) ** 1.5)
    ends = smoothstep(-20.0, -13.0, x) * (1.0 - smoothstep(16.0, 26.0, x))
    # Hairs: noise stretched along a direction that turns from upright at the nose to level outside.
    level = smoothstep(-16.0, 4.0, x)
    run, across = x * (0.35 + 0.65 * level) + height * (1.0 - level), height * (0.25 + level) - 0.8 * x * (1.0 - level)
    hairs = value_noise(0.35 * run, 1.5 * across, subject.skin_seed + 91)
    if view.mm_per_pixel < 0.25:
        hairs = 0.6 * hairs + 0.7 * value_noise(0.6 * run, 4.0 * across, subject.skin_seed + 92)
    return jnp.clip(band * ends * subject.brow_density * (0.75 + 0.75 * hairs), 0.0, 0.95)
