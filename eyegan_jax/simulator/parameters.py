"""The parameters of one eye: who it belongs to (Subject) and how the picture was taken (Capture).

Lengths are mm, angles radians, colours linear RGB, everything else a share of 1 unless stated.
Both are pytrees of arrays with no leading axis; ``jax.vmap`` makes many.
"""

import jax
from flax import struct

IRIS_KINDS = ("dark brown", "brown", "hazel", "amber", "green", "blue", "grey")
NUM_LIGHTS = 2
NUM_LEDS = 6


class Subject(struct.PyTreeNode):
    """What stays the same in every picture of one person's eye.

    Constants are those of the optical model eyes of Atchison and of gkaModelEye; see docs/simulator.md.
    """

    # Ball and optics.
    ball_radius: jax.Array  # mm, sclera's sphere
    cornea_radius: jax.Array  # mm, front surface
    limbus_margin: jax.Array  # mm, radius of the circle where cornea and ball meet, over the true iris radius
    iris_radius: jax.Array  # mm, true; it is seen 1.07 to 1.13 times larger through the cornea
    iris_depth: jax.Array  # mm, iris plane behind the corneal apex
    kappa: jax.Array  # [2] rad, visual minus optical axis: nasal, up
    pupil_offset: jax.Array  # [2] mm, centre of the pupil in the iris plane: nasal, up
    pupil_ellipticity: jax.Array  # (a - b) / (a + b) of the true pupil
    # Iris.
    iris_kind: jax.Array  # int32, index of IRIS_KINDS
    iris_color: jax.Array  # [3]
    iris_infrared: jax.Array  # albedo at 850 nm
    iris_fibers: jax.Array  # contrast of the radial fibres
    iris_crypts: jax.Array  # depth of Fuchs' crypts
    iris_furrows: jax.Array  # contraction furrows
    collarette: jax.Array  # radius, share of the way from pupil to limbus
    collarette_contrast: jax.Array
    heterochromia: jax.Array  # central ring of amber
    limbal_ring: jax.Array  # darkness
    iris_seed: jax.Array  # uint32
    # Sclera.
    sclera_albedo: jax.Array
    sclera_yellow: jax.Array
    sclera_red: jax.Array
    veins: jax.Array
    # Lids.
    fissure_width: jax.Array  # mm, inner to outer corner
    canthal_tilt: jax.Array  # rad, outer corner above the inner one
    upper_height: jax.Array  # mm, upper margin above the line of the corners, looking straight
    lower_height: jax.Array  # mm, lower margin below that line
    upper_peak: jax.Array  # skew: positive moves the highest point to the nose
    lower_peak: jax.Array  # skew: positive moves the lowest point to the nose
    upper_roundness: jax.Array  # exponent of the upper margin's curve: 2 parabola, larger squarer
    lower_roundness: jax.Array
    lid_follow: jax.Array  # [2] share of the ball's vertical travel that upper and lower margin follow
    margin_thickness: jax.Array  # mm, wet border of the lid
    caruncle: jax.Array  # mm, its width
    fold_gap: jax.Array  # mm, crease above the upper margin
    fold_depth: jax.Array  # mm
    hood: jax.Array  # how far the fold hangs toward the margin at the outer side
    bag: jax.Array  # lower lid's bulge
    socket: jax.Array  # depth of the hollow between lid and brow
    # Hair.
    lash_length: jax.Array  # mm
    lash_density: jax.Array
    lash_curl: jax.Array  # rad, how far upper lashes rise out of the gaze direction
    lash_darkness: jax.Array
    lower_lashes: jax.Array  # length of the lower lashes over the upper ones
    brow_height: jax.Array  # mm above the ball's centre
    brow_thickness: jax.Array  # mm
    brow_density: jax.Array
    hair_color: jax.Array  # [3]
    # Skin.
    melanin: jax.Array
    hemoglobin: jax.Array
    dark_circles: jax.Array
    pores: jax.Array
    wrinkles: jax.Array
    oiliness: jax.Array
    eyeliner: jax.Array
    skin_seed: jax.Array  # uint32


class Capture(struct.PyTreeNode):
    """What changes from picture to picture. Directions are in the camera frame of :mod:`eyegan_jax.gaze`."""

    # Pose.
    gaze: jax.Array  # [2] rad (pitch, yaw) of the optical axis in the camera frame
    torsion: jax.Array  # rad, roll of the ball about its axis
    head: jax.Array  # [3] rad (pitch, yaw, roll) of the head; zero faces the camera
    side: jax.Array  # +1: inner corner at image-left (a left eye), -1: at image-right
    distance: jax.Array  # mm from the camera's pinhole to the ball's centre
    shift: jax.Array  # [2] offset of the eye in the frame, share of the width
    scale: jax.Array  # zoom of the frame
    # State of the eye.
    aperture: jax.Array  # 1 as open as the gaze makes it, 0 closed
    squint: jax.Array  # mm that the lower lid is raised
    pupil_radius: jax.Array  # mm, true
    # Light.
    light_angles: jax.Array  # [NUM_LIGHTS, 2] rad: elevation above, azimuth right of the camera
    light_intensity: jax.Array  # [NUM_LIGHTS]
    light_warmth: jax.Array  # [NUM_LIGHTS] -1 blue to +1 orange
    glint_angles: jax.Array  # [NUM_LIGHTS, 2] rad: where the lamps' reflections come from; equals light_angles
    #   unless the domain breaks that correlation
    light_size: jax.Array  # rad, radius of the lamp in the corneal reflection
    ambient: jax.Array
    ambient_gradient: jax.Array  # how much brighter the light from above is
    lid_shadow: jax.Array
    reflection: jax.Array  # strength of the surroundings' reflection in the cornea
    window: jax.Array  # [4] rad: elevation, azimuth, half height, half width of a bright window or screen
    window_intensity: jax.Array
    led_angles: jax.Array  # [NUM_LEDS, 2] rad, as light_angles; infrared look
    led_intensity: jax.Array  # [NUM_LEDS]
    bright_pupil: jax.Array  # retinal reflex of an on-axis LED
    # Glasses.
    glasses: jax.Array  # 1 worn, 0 not
    glasses_frame: jax.Array  # [4] mm: centre x, centre y, half width, half height
    glasses_thickness: jax.Array  # mm
    glasses_albedo: jax.Array
    glasses_tint: jax.Array
    glare: jax.Array  # strength
    glare_box: jax.Array  # [4] mm: centre x, centre y, half width, half height
    # Sensor.
    exposure: jax.Array  # stops
    adaptation: jax.Array  # 0 fixed exposure, 1 exposure follows skin and light
    metered_melanin: jax.Array  # of the skin that the exposure adapts to: the person's own, but for edits of skin
    contrast: jax.Array
    gamma: jax.Array
    white_balance: jax.Array  # -1 blue to +1 orange
    blur: jax.Array  # standard deviation, share of the frame's width
    noise: jax.Array  # standard deviation at mid gray, of the range [0, 1]
    grain: jax.Array  # the same, for noise correlated over some pixels
    vignette: jax.Array  # darkening of the corners
    compression: jax.Array  # step of the JPEG quantisation over that of quality 50; 0 none
    equalization: jax.Array  # how far the histogram is flattened, as MPIIGaze's crops are
    capture_seed: jax.Array  # uint32
