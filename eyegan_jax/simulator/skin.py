"""The skin around the eye: colour from melanin and blood, a height field for its shading, pores and lines."""

import jax.numpy as jnp

from eyegan_jax.simulator.geometry import unit
from eyegan_jax.simulator.lids import Lids, Margins, surface_height
from eyegan_jax.simulator.lights import Lighting, irradiance, lobe, mirrored, to_bands
from eyegan_jax.simulator.noise import bell, edge, smoothstep, value_noise
from eyegan_jax.simulator.parameters import Subject
from eyegan_jax.simulator.views import View

# Absorption per unit of melanin and of blood, and of what remains, in R, G, B: fitted by eye to skin from
# Fitzpatrick I (0.80, 0.62, 0.52) to VI (0.17, 0.08, 0.05), linear reflectance.
MELANIN_ABSORPTION = (1.25, 1.85, 2.25)
BLOOD_ABSORPTION = (0.05, 0.45, 0.38)
REMAINING_ABSORPTION = (0.20, 0.34, 0.48)
INFRARED_ALBEDO = 0.55


def skin_albedo(subject: Subject, view: View, blood=0.0, melanin=0.0):
    """Albedo ``[..., bands]``; ``blood`` and ``melanin`` ``[...]`` add to the subject's own.

    At 850 nm neither absorbs much, so that all skin looks alike (OpenEDS, MEYE).
    """
    blood, melanin = jnp.asarray(blood), jnp.asarray(melanin)
    if view.look == "infrared":
        dark = 0.22 * (subject.melanin + melanin) + 0.05 * blood
        return (INFRARED_ALBEDO * jnp.exp(-dark))[..., None]
    density = (subject.melanin + melanin)[..., None] * jnp.array(MELANIN_ABSORPTION)
    density = density + (subject.hemoglobin + blood)[..., None] * jnp.array(BLOOD_ABSORPTION)
    return to_bands(jnp.exp(-density - jnp.array(REMAINING_ABSORPTION)), view.bands)


def crease_gap(subject: Subject, lids: Lids, edges: Margins):
    """How far (mm) the fold's crease lies above the upper margin at each x: an open eye hides it more."""
    lifted = lids.upper_height * lids.aperture - subject.upper_height
    gap = subject.fold_gap - 0.45 * lifted
    gap = 0.5 * (gap + jnp.sqrt(gap * gap + 1.0))
    along = jnp.clip(edges.along, 0.0, 1.0)
    shape = 0.45 + 0.55 * jnp.clip(edges.arch, 0.0, 1.0)
    return gap * shape * (1.0 - subject.hood * along * along)


def _relief(subject: Subject, lids: Lids, edges: Margins, above, below, gap, x, y):
    """Slopes (d/dx, d/dy) of the skin's height over its smooth surface."""
    within = smoothstep(-0.12, 0.02, edges.along) * (1.0 - smoothstep(0.98, 1.25, edges.along))
    # Upper lid, as a function of the distance above the margin: it turns under at its border, sinks into the
    # crease and bulges again in the fold above it.
    up = jnp.maximum(above, 0.0)
    turn_under = 1.3 * jnp.exp(-up / 0.7)
    crease = (up - gap) / 0.75
    fold = subject.fold_depth * (crease + 0.55) * jnp.exp(-0.5 * crease * crease) * 1.3
    upper = jnp.where(above > 0.0, within * (turn_under + fold), 0.0)
    # Lower lid: its wet border is flat, then the skin bulges into the bag and falls off to the trough.
    down = jnp.maximum(below - subject.margin_thickness, 0.0)
    bulge = -0.9 * jnp.exp(-down / 0.9) + subject.bag * (down - 4.5) / 4.5 * bell(down - 4.5, 3.0)
    lower = jnp.where(below > subject.margin_thickness, within * bulge, 0.0)
    slope_y = -upper - lower
    slope_x = upper * edges.upper_slope + lower * edges.lower_slope
    # The hollow under the brow, the brow's ridge, the side of the nose, the temple.
    along = jnp.clip(edges.along, 0.0, 1.0)
    hollow = (y + 0.62 * subject.brow_height) / 3.6
    slope_y = slope_y + subject.socket * (1.25 - 0.6 * along) * hollow * jnp.exp(-0.5 * hollow * hollow)
    ridge = (y + subject.brow_height) / 6.0
    slope_y = slope_y - 0.5 * ridge * jnp.exp(-0.5 * ridge * ridge)
    slope_x = slope_x - 1.1 * bell(x + 22.0, 4.5) - 0.5 * smoothstep(13.0, 28.0, x)
    return slope_x, slope_y


def _lines(subject: Subject, edges: Margins, above, below, x, y, view: View):
    """Texture ``[H, W]`` about 0: blotches, pores, fine lines along the lids, crow's feet."""
    seed = subject.skin_seed
    tone = 0.05 * value_noise(0.22 * x, 0.22 * y, seed)
    pores = value_noise(1.1 * x, 1.3 * y, seed + 1)
    if view.mm_per_pixel < 0.25:
        pores = 0.6 * pores + 0.7 * value_noise(2.9 * x, 2.9 * y, seed + 2)
    if view.mm_per_pixel < 0.1:
        pores = pores + 0.6 * value_noise(7.0 * x, 7.0 * y, seed + 3)
    tone = tone + 0.06 * subject.pores * pores
    # Lines run along the lids: the texture is stretched in x and counted from the nearer margin.
    from_lid = jnp.where(above > 0.0, above, -below)
    run = value_noise(0.12 * x, 0.95 * from_lid + 0.06 * x, seed + 4)
    near = jnp.exp(-jnp.square(from_lid / 9.0))
    tone = tone - 0.16 * subject.wrinkles * near * smoothstep(0.45, 0.95, 1.0 - jnp.abs(run))
    # Crow's feet fan out from the outer corner.
    dx, dy = x - (edges.along * 0.0 + 12.0), y
    fan = value_noise(4.5 * jnp.arctan2(dy, jnp.abs(dx) + 1.5), 0.1 * dx, seed + 5)
    feet = smoothstep(1.0, 5.0, dx) * smoothstep(0.5, 0.95, 1.0 - jnp.abs(fan))
    return tone - 0.2 * subject.wrinkles * feet


def shade_skin(subject: Subject, lids: Lids, edges: Margins, light: Lighting, x, y, direction, view: View, pixel):
    """Radiance ``[H, W, bands]`` of the skin at (x, y) mm on the lids' surface."""
    above, below = edges.upper - y, y - edges.lower
    gap = crease_gap(subject, lids, edges)
    _, base_x, base_y = surface_height(lids, x, y)
    slope_x, slope_y = _relief(subject, lids, edges, above, below, gap, x, y)
    normal = unit(jnp.stack([-base_x - slope_x, -base_y - slope_y, -jnp.ones_like(x)], axis=-1))
    within = smoothstep(-0.12, 0.02, edges.along) * (1.0 - smoothstep(0.98, 1.25, edges.along))
    # Blood shows at the margins, in the corner and on the thin skin of the lids.
    border = jnp.exp(-jnp.minimum(jnp.maximum(above, below), 8.0) / 1.2)
    corner = jnp.exp(-(jnp.square(x - lids.inner) + jnp.square(y - 1.0)) / 12.0)
    hollow = bell(x + 11.0, 5.0) * bell(y + 8.0, 5.0) + 0.8 * bell(x + 4.0, 8.0) * bell(below - 6.0, 3.0)
    albedo = skin_albedo(subject, view, 0.7 * border + 0.6 * corner, subject.dark_circles * hollow)
    tone = 1.0 + _lines(subject, edges, above, below, x, y, view)
    # The crease is narrow and dark; so is the line where closed lids meet.
    crease = bell(above - gap, 0.45) * subject.fold_depth * within
    meeting = jnp.exp(-jnp.square(jnp.maximum(jnp.maximum(above, below), 0.0) / 0.5)) * within
    occlusion = (1.0 - 0.55 * jnp.minimum(crease, 1.3)) * (1.0 - 0.35 * corner) * (1.0 - 0.25 * meeting)
    occlusion = occlusion * (1.0 - 0.35 * subject.socket * hollow)
    shaded = albedo * irradiance(light, normal, 0.35) * (tone * occlusion)[..., None]
    # Wet border of the lower lid: pink, and shining.
    wet = edge(subject.margin_thickness - below, pixel) * edge(below + 0.5 * pixel, pixel) * within
    flesh = skin_albedo(subject, view, 0.8, -0.6 * subject.melanin)
    shaded = shaded + wet[..., None] * (flesh * irradiance(light, normal, 0.35) * 1.05 - shaded)
    # Make-up along the upper margin.
    liner = subject.eyeliner * bell(above - 0.5, 0.8) * smoothstep(0.1, 0.6, edges.along) * within
    shaded = shaded * (1.0 - 0.85 * jnp.clip(liner, 0.0, 1.0))[..., None]
    gloss = 0.0
    reflected = mirrored(direction, normal)
    for k in range(light.direction.shape[0]):
        gloss = gloss + lobe(reflected, light.direction[k], 0.45)[..., None] * light.color[k]
    sheen = 0.05 * subject.oiliness * (1.0 + 6.0 * jnp.maximum(tone - 1.0, 0.0))
    return shaded + sheen[..., None] * gloss
