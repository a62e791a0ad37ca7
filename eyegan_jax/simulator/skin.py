"""The skin around the eye: colour from melanin and blood, a height field for its shading, pores and lines."""

import jax.numpy as jnp

from eyegan_jax.simulator.lids import Lids, Margins, surface_height
from eyegan_jax.simulator.lights import Lighting, irradiance, lobe, mirrored, to_bands
from eyegan_jax.simulator.noise import bell, edge, mix, noise_layers, smoothstep, stage
from eyegan_jax.simulator.parameters import Subject
from eyegan_jax.simulator.vectors import Vec
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


def brow_arc(x):
    """Height of the brow's arc (y, mm) against its height at the ball's centre."""
    return 0.012 * jnp.square(x - 6.0) - 0.10 * (x + 12.0)


def _relief(subject: Subject, lids: Lids, edges: Margins, above, below, gap, x, y):
    """Slopes (d/dx, d/dy) of the skin's height over its smooth surface."""
    within = smoothstep(-0.12, 0.02, edges.along) * (1.0 - smoothstep(0.98, 1.25, edges.along))
    # Upper lid, as a function of the distance above the margin: it turns under at its border, sinks into the
    # crease and bulges again in the fold above it.
    up = jnp.maximum(above, 0.0)
    turn_under = 1.3 * jnp.exp(-up / 0.7)
    crease = (up - gap) / 0.75
    fold = subject.fold_depth * (crease + 0.55) * jnp.exp(-0.5 * crease * crease)
    upper = smoothstep(-1.5, -0.5, above) * within * (turn_under + fold)
    # Lower lid: its wet border is flat, then the skin bulges into the bag and falls off to the trough.
    down = jnp.maximum(below - subject.margin_thickness, 0.0)
    bulge = -0.9 * jnp.exp(-down / 0.9) + subject.bag * (down - 4.5) / 4.5 * bell(down - 4.5, 3.0)
    lower = smoothstep(-0.2, 0.5, below - subject.margin_thickness) * within * bulge
    slope_y = -upper - lower
    slope_x = upper * edges.upper_slope + lower * edges.lower_slope
    # The hollow under the brow and the brow's ridge follow the brow's arc and fade outward; the side of the nose
    # recedes upward; the temple falls away.
    along = jnp.clip(edges.along, 0.0, 1.0)
    from_brow = y + subject.brow_height - brow_arc(x)
    reach = 0.35 + 0.65 * bell(x + 2.0, 13.0)
    hollow = (from_brow - 0.38 * subject.brow_height) / 3.8
    slope_y = slope_y + 1.4 * subject.socket * (1.25 - 0.6 * along) * reach * hollow * jnp.exp(-0.5 * hollow * hollow)
    ridge = from_brow / 6.5
    slope_y = slope_y - 0.7 * reach * ridge * jnp.exp(-0.5 * ridge * ridge) - 0.25 * smoothstep(9.0, 22.0, y)
    slope_x = slope_x - 0.9 * (1.0 - smoothstep(-30.0, -9.0, x + 0.35 * y)) + 0.5 * smoothstep(12.0, 30.0, x)
    return slope_x, slope_y


def _lines(subject: Subject, lids: Lids, above, below, x, y, view: View):
    """Texture ``[H, W]`` about 0: blotches, pores, fine lines along the lids, crow's feet."""
    # Lines run along the lids: the texture is stretched in x and counted from the nearer margin. Crow's feet
    # fan out from the outer corner.
    from_lid = jnp.where(above > 0.0, above, -below)
    beside = x - lids.inner - lids.width
    layers = [
        (0.22 * x, 0.22 * y),
        (1.1 * x, 1.3 * y),
        (0.12 * x, 0.95 * from_lid + 0.06 * x),
        (4.5 * jnp.arctan2(y, jnp.abs(beside) + 1.5), 0.1 * beside),
    ]
    if view.mm_per_pixel < 0.25:
        layers.append((2.9 * x, 2.9 * y))
    if view.mm_per_pixel < 0.1:
        layers.append((7.0 * x, 7.0 * y))
    blotches, pores, run, fan, *fine = noise_layers(subject.skin_seed, *layers)
    for weight, layer in zip((0.7, 0.6), fine, strict=False):
        pores = pores + weight * layer
    near = jnp.exp(-jnp.square(from_lid / 9.0))
    lines = near * smoothstep(0.45, 0.95, 1.0 - jnp.abs(run))
    feet = smoothstep(1.0, 5.0, beside) * smoothstep(0.5, 0.95, 1.0 - jnp.abs(fan))
    return 0.05 * blotches + 0.06 * subject.pores * pores - subject.wrinkles * (0.16 * lines + 0.2 * feet)


def shade_skin(subject: Subject, lids: Lids, edges: Margins, light: Lighting, x, y, direction, view: View, pixel):
    """Radiance ``[H, W, bands]`` of the skin at (x, y) mm on the lids' surface."""
    above, below = edges.upper - y, y - edges.lower
    gap = stage(crease_gap(subject, lids, edges))
    _, base_x, base_y = surface_height(lids, x, y)
    slope_x, slope_y = _relief(subject, lids, edges, above, below, gap, x, y)
    # The cheek takes the bulge up below the eye.
    base_y = base_y * (1.0 - 0.6 * smoothstep(2.0, 9.0, y))
    normal = Vec(-base_x - slope_x, -base_y - slope_y, -jnp.ones_like(x)).unit()
    normal = stage(normal)
    within = smoothstep(-0.12, 0.02, edges.along) * (1.0 - smoothstep(0.98, 1.25, edges.along))
    # Blood shows at the margins, in the corner and on the thin skin of the lids.
    border = jnp.exp(-jnp.minimum(jnp.maximum(above, below), 8.0) / 1.2)
    corner = jnp.exp(-(jnp.square(x - lids.inner) + jnp.square(y - 1.0)) / 12.0)
    hollow = bell(x + 12.0, 6.0) * bell(y + 8.0, 5.0) + 0.5 * bell(x + 5.0, 8.0) * bell(below - 6.5, 3.5)
    albedo = skin_albedo(subject, view, 0.7 * border * within + 0.6 * corner, subject.dark_circles * hollow)
    tone = 1.0 + _lines(subject, lids, above, below, x, y, view)
    # The crease is narrow and dark; so is the line where closed lids meet.
    crease = bell(above - gap, 0.45) * subject.fold_depth * within
    meeting = jnp.exp(-jnp.square(jnp.maximum(jnp.maximum(above, below), 0.0) / 0.5)) * within
    occlusion = (1.0 - 0.55 * jnp.minimum(crease, 1.3)) * (1.0 - 0.35 * corner) * (1.0 - 0.25 * meeting)
    occlusion = occlusion * (1.0 - 0.5 * jnp.minimum(subject.socket * hollow, 1.0))
    shaded = albedo * irradiance(light, normal, 0.35) * (tone * occlusion)[..., None]
    # Wet border of the lower lid, narrower toward the corners: flesh that melanin does not darken.
    taper = subject.margin_thickness * (
        0.25 + 0.75 * smoothstep(0.0, 0.35, edges.along) * (1.0 - smoothstep(0.7, 1.0, edges.along))
    )
    wet = edge(taper - below, jnp.maximum(pixel, 0.25)) * edge(below + 0.5 * pixel, pixel) * within
    flesh = skin_albedo(subject, view, 0.9, -0.5 * subject.melanin) * irradiance(light, normal, 0.35)
    dim = 0.8 if view.look == "infrared" else 0.95
    shaded = mix(shaded, dim * flesh, 0.75 * wet[..., None])
    # Make-up along the upper margin.
    liner = subject.eyeliner * bell(above - 0.5, 0.8) * smoothstep(0.1, 0.6, edges.along) * within
    shaded = shaded * (1.0 - 0.85 * jnp.clip(liner, 0.0, 1.0))[..., None]
    gloss = 0.0
    reflected = mirrored(direction, normal)
    for k in range(len(light.direction)):
        gloss = gloss + lobe(reflected, light.direction[k], 0.45)[..., None] * light.color[k]
    sheen = 0.05 * subject.oiliness * (1.0 + 6.0 * jnp.maximum(tone - 1.0, 0.0))
    return shaded + sheen[..., None] * gloss
