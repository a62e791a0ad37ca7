"""Who is drawn and how they are photographed: a distribution for every parameter, by population.

``SUBJECTS[population]`` and ``CAPTURES[population]`` map each field of Subject and Capture to a distribution.
The common tables hold what physiology gives; each population overrides what makes it itself. Sources of the
physiological figures are in docs/simulator.md.
"""

from typing import Any

from eyegan_jax.simulator.distributions import RAD, Each, Normal, Sometimes, Uniform, angles, constant
from eyegan_jax.simulator.parameters import NUM_LEDS, NUM_LIGHTS

ANATOMY = {
    "ball_radius": Normal(12.0, 0.3, 11.3, 12.7),
    "cornea_radius": Normal(7.8, 0.2, 7.3, 8.3),
    "limbus_margin": Normal(0.73, 0.06, 0.58, 0.88),
    "iris_radius": Normal(5.55, 0.20, 5.05, 6.0),
    "iris_depth": Normal(3.8, 0.15, 3.4, 4.1),
    "kappa": Each((Normal(5.0 * RAD, 1.5 * RAD, 0.0, 9.0 * RAD), Normal(1.8 * RAD, 1.2 * RAD, -1.5 * RAD, 5.0 * RAD))),
    "pupil_offset": Each((Normal(0.20, 0.1, -0.1, 0.5), Normal(0.05, 0.06, -0.1, 0.2))),
    "pupil_ellipticity": Normal(0.0, 0.012, -0.03, 0.03),
    "iris_infrared": Normal(0.24, 0.06, 0.12, 0.42),
    "iris_fibers": Uniform(0.12, 0.40),
    "iris_crypts": Uniform(0.0, 0.65),
    "iris_furrows": Uniform(0.0, 0.3),
    "collarette": Uniform(0.18, 0.36),
    "collarette_contrast": Uniform(0.0, 0.45),
    "heterochromia": Sometimes(0.5, 0.2, 0.9),
    "limbal_ring": Uniform(0.35, 0.95),
    "sclera_albedo": Uniform(0.48, 0.70),
    "sclera_yellow": Uniform(0.0, 0.8),
    "sclera_red": Uniform(0.0, 0.5),
    "veins": Uniform(0.05, 0.45),
    "fissure_width": Normal(27.5, 1.2, 24.5, 30.5),
    "canthal_tilt": Normal(4.0 * RAD, 2.5 * RAD, -3.0 * RAD, 10.0 * RAD),
    "upper_height": Normal(5.4, 0.6, 3.8, 7.0),
    "lower_height": Normal(4.3, 0.45, 3.2, 5.5),
    "upper_peak": Uniform(-0.05, 0.35),
    "lower_peak": Uniform(-0.40, 0.0),
    "upper_roundness": Uniform(2.0, 2.8),
    "lower_roundness": Uniform(1.8, 2.4),
    "lid_follow": Each((Normal(0.88, 0.05, 0.75, 1.0), Normal(0.36, 0.05, 0.22, 0.5))),
    "margin_thickness": Uniform(0.6, 1.3),
    "caruncle": Uniform(2.4, 3.8),
    "fold_gap": Normal(4.2, 1.5, 1.0, 8.0),
    "fold_depth": Uniform(0.25, 1.0),
    "hood": Uniform(0.0, 0.6),
    "bag": Uniform(0.0, 0.5),
    "socket": Uniform(0.1, 0.8),
    "lash_length": Normal(8.0, 1.2, 5.0, 11.5),
    "lash_density": Uniform(0.55, 1.1),
    "lash_curl": Normal(28.0 * RAD, 10.0 * RAD, 4.0 * RAD, 55.0 * RAD),
    "lash_darkness": Uniform(0.6, 0.95),
    "lower_lashes": Uniform(0.25, 0.6),
    "brow_height": Normal(18.5, 2.2, 13.5, 24.0),
    "brow_thickness": Uniform(2.6, 5.5),
    "brow_density": Uniform(0.35, 0.95),
    "melanin": Uniform(0.0, 0.75),
    "hemoglobin": Uniform(0.05, 0.6),
    "dark_circles": Uniform(0.0, 0.30),
    "pores": Uniform(0.3, 1.2),
    "wrinkles": Uniform(0.0, 0.8),
    "oiliness": Uniform(0.1, 1.0),
    "eyeliner": Sometimes(0.12, 0.3, 1.0),
}

# The simulated population is a narrow, clean one, as UnityEyes' 20 scanned heads are: no make-up, no bags,
# lids alike, little texture; the captured one has all that anatomy allows and more.
SUBJECTS = {
    "simulated": ANATOMY
    | {
        "upper_height": Normal(5.6, 0.4, 4.6, 6.6),
        "upper_roundness": Uniform(2.2, 2.6),
        "veins": Uniform(0.05, 0.25),
        "sclera_albedo": Uniform(0.52, 0.66),
        "sclera_red": Uniform(0.0, 0.25),
        "hood": Uniform(0.0, 0.2),
        "bag": Uniform(0.0, 0.2),
        "wrinkles": Uniform(0.0, 0.4),
        "dark_circles": Uniform(0.0, 0.12),
        "eyeliner": constant(0.0),
        "melanin": Uniform(0.0, 0.55),
        "socket": Uniform(0.1, 0.45),
        "lash_density": Uniform(0.55, 0.85),
    },
    "captured": ANATOMY
    | {
        "upper_height": Normal(5.1, 0.8, 3.4, 7.0),
        "fold_gap": Normal(3.8, 1.9, 0.8, 8.0),
        "fold_depth": Uniform(0.2, 1.3),
        "hood": Uniform(0.0, 0.8),
        "bag": Uniform(0.0, 0.7),
        "socket": Uniform(0.3, 1.1),
        "lash_density": Uniform(0.6, 1.3),
        "lash_darkness": Uniform(0.75, 1.0),
        "dark_circles": Uniform(0.05, 0.5),
        "eyeliner": Sometimes(0.25, 0.3, 1.0),
        "limbal_ring": Uniform(0.2, 0.8),
        "sclera_albedo": Uniform(0.36, 0.62),
        "sclera_red": Uniform(0.1, 0.7),
    },
    "randomized": ANATOMY
    | {
        "upper_height": Normal(5.3, 1.0, 3.2, 7.2),
        "melanin": Uniform(0.0, 1.0),
        "sclera_albedo": Uniform(0.40, 0.85),
        "sclera_red": Uniform(0.0, 0.9),
        "veins": Uniform(0.0, 0.8),
        "hood": Uniform(0.0, 0.9),
        "bag": Uniform(0.0, 0.9),
        "socket": Uniform(0.0, 1.2),
        "fold_depth": Uniform(0.0, 1.4),
        "fold_gap": Normal(4.0, 2.5, 0.5, 9.0),
        "lash_length": Uniform(3.0, 12.0),
        "lash_density": Uniform(0.3, 1.5),
        "lash_darkness": Uniform(0.3, 1.0),
        "iris_infrared": Uniform(0.10, 0.55),
        "dark_circles": Uniform(0.0, 0.6),
        "wrinkles": Uniform(0.0, 1.2),
        "pores": Uniform(0.0, 2.0),
        "eyeliner": Sometimes(0.3, 0.2, 1.0),
    },
}

# Shares of the iris kinds (dark brown, brown, hazel, amber, green, blue, grey) for light skin and for dark
# skin; the mix moves from one to the other with melanin.
IRIS_SHARES_LIGHT = (0.08, 0.24, 0.14, 0.06, 0.12, 0.26, 0.10)
IRIS_SHARES_DARK = (0.70, 0.25, 0.03, 0.02, 0.0, 0.0, 0.0)
IRIS_COLORS = (
    (0.050, 0.028, 0.017),
    (0.110, 0.060, 0.032),
    (0.165, 0.115, 0.050),
    (0.250, 0.145, 0.045),
    (0.150, 0.165, 0.085),
    (0.140, 0.210, 0.300),
    (0.190, 0.215, 0.240),
)

EYE_IN_HEAD = {"eye_pitch": Uniform(-25.0 * RAD, 25.0 * RAD), "eye_yaw": Uniform(-30.0 * RAD, 30.0 * RAD)}

CAPTURE = EYE_IN_HEAD | {
    "torsion": Normal(0.0, 2.0 * RAD, -6.0 * RAD, 6.0 * RAD),
    "head": Each(
        (
            Normal(0.0, 6.0 * RAD, -15.0 * RAD, 15.0 * RAD),
            Normal(0.0, 7.0 * RAD, -18.0 * RAD, 18.0 * RAD),
            Normal(0.0, 2.0 * RAD, -6.0 * RAD, 6.0 * RAD),
        )
    ),
    "side": constant(1.0),
    "distance": Uniform(450.0, 650.0),
    "shift": Normal(0.0, 0.015, -0.04, 0.04, (2,)),
    "scale": Normal(1.0, 0.03, 0.92, 1.08),
    "aperture": Normal(1.0, 0.06, 0.82, 1.15),
    "squint": Normal(0.0, 0.25, -0.5, 0.8),
    "pupil_radius": Normal(2.4, 0.5, 1.2, 3.8),
    "light_angles": Each((angles((-10.0, 80.0), (-70.0, 70.0)), angles((-20.0, 60.0), (-90.0, 90.0)))),
    "light_intensity": Each((Uniform(0.3, 1.3), Uniform(0.0, 0.4))),
    "light_warmth": Normal(0.1, 0.35, -0.8, 0.9, (NUM_LIGHTS,)),
    "light_size": Uniform(0.03, 0.10),
    "ambient": Uniform(0.18, 0.45),
    "ambient_gradient": Uniform(0.1, 0.5),
    "lid_shadow": Uniform(0.45, 0.75),
    "reflection": Uniform(0.3, 1.0),
    "window": angles((-5.0, 40.0), (-50.0, 50.0), (5.0, 15.0), (5.0, 20.0)),
    "window_intensity": Sometimes(0.6, 1.0, 5.0),
    "led_angles": Each(tuple(angles((-30.0, 30.0), (-30.0, 30.0)) for _ in range(NUM_LEDS))),
    "led_intensity": constant(0.0, (NUM_LEDS,)),
    "bright_pupil": constant(0.0),
    "glasses": constant(0.0),
    "glasses_frame": Each((Uniform(-3.0, 3.0), Uniform(-1.0, 4.0), Uniform(21.0, 26.0), Uniform(12.0, 19.0))),
    "glasses_thickness": Uniform(0.7, 3.5),
    "glasses_albedo": Uniform(0.01, 0.25),
    "glasses_tint": Uniform(0.0, 0.12),
    "glare": Sometimes(0.5, 0.03, 0.35),
    "glare_box": Each((Uniform(-16.0, 16.0), Uniform(-11.0, 11.0), Uniform(1.5, 8.0), Uniform(1.0, 5.0))),
    "exposure": Normal(-0.5, 0.75, -1.8, 1.2),
    "adaptation": constant(0.45),
    "contrast": Uniform(1.1, 1.4),
    "gamma": constant(2.2),
    "white_balance": Normal(0.0, 0.12, -0.3, 0.3),
    "blur": Uniform(0.003, 0.006),
    "noise": Uniform(0.0, 0.008),
    "grain": constant(0.0),
    "vignette": constant(0.0),
    "compression": constant(0.0),
    "equalization": constant(0.0),
}

CAPTURES = {
    "simulated": CAPTURE
    | {
        "reflection": Uniform(0.2, 0.7),
        "window_intensity": Sometimes(0.4, 0.5, 3.0),
        "light_angles": Each((angles((10.0, 70.0), (-50.0, 50.0)), angles((-20.0, 40.0), (-70.0, 70.0)))),
        "aperture": Normal(1.0, 0.04, 0.9, 1.1),
    },
    "captured": CAPTURE
    | {
        "aperture": Normal(0.92, 0.10, 0.60, 1.12),
        "pupil_radius": Normal(2.0, 0.45, 1.1, 3.6),
        "light_angles": Each((angles((-30.0, 85.0), (-85.0, 85.0)), angles((-40.0, 40.0), (-90.0, 90.0)))),
        "light_intensity": Each((Uniform(0.4, 1.4), Uniform(0.0, 0.6))),
        "ambient": Uniform(0.12, 0.40),
        "ambient_gradient": Uniform(0.2, 0.8),
        "lid_shadow": Uniform(0.65, 0.95),
        "reflection": Uniform(0.3, 1.6),
        "window": angles((-30.0, 35.0), (-40.0, 40.0), (5.0, 22.0), (6.0, 28.0)),
        "window_intensity": Sometimes(0.85, 2.0, 14.0),
        "glasses": Sometimes(0.3, 1.0, 1.0),
        "exposure": Normal(-0.2, 0.4, -1.2, 0.8),
        "adaptation": constant(1.0),
        "contrast": Uniform(0.9, 1.4),
        "gamma": Uniform(1.8, 2.4),
        "blur": Uniform(0.004, 0.018),
        "noise": Uniform(0.002, 0.022),
        "grain": Uniform(0.0, 0.02),
        "vignette": Uniform(0.0, 0.3),
        "compression": Uniform(0.0, 0.4),
        "equalization": Uniform(0.8, 1.0),
    },
    "randomized": CAPTURE
    | {
        "aperture": Normal(0.9, 0.2, 0.3, 1.2),
        "pupil_radius": Uniform(1.0, 4.0),
        "light_angles": Each((angles((-60.0, 85.0), (-90.0, 90.0)), angles((-60.0, 85.0), (-90.0, 90.0)))),
        "light_intensity": Each((Uniform(0.0, 2.0), Uniform(0.0, 1.2))),
        "light_warmth": Uniform(-0.8, 0.9, (NUM_LIGHTS,)),
        "ambient": Uniform(0.1, 0.8),
        "ambient_gradient": Uniform(0.0, 0.9),
        "lid_shadow": Uniform(0.1, 1.0),
        "reflection": Uniform(0.0, 2.5),
        "window_intensity": Sometimes(0.8, 1.0, 15.0),
        "glasses": Sometimes(0.3, 1.0, 1.0),
        "exposure": Normal(0.0, 0.8, -1.5, 1.5),
        "adaptation": Uniform(0.3, 1.0),
        "contrast": Uniform(0.6, 2.2),
        "gamma": Uniform(1.4, 2.8),
        "blur": Uniform(0.003, 0.025),
        "noise": Uniform(0.0, 0.08),
        "grain": Uniform(0.0, 0.10),
        "vignette": Uniform(0.0, 0.6),
        "compression": Uniform(0.0, 1.5),
        "equalization": Sometimes(0.4, 0.3, 1.0),
    },
}

BLINK = Sometimes(0.12, 0.4, 1.2)
"""The share of the aperture that a blink takes: one picture of eight of a video, a quarter of these quite closed."""

# What an infrared tracker changes, whatever the population: the light comes from LEDs near the camera, the
# room is dark, the exposure is set once for the device.
INFRARED = {
    "light_angles": Each((angles((-35.0, 15.0), (-35.0, 35.0)), angles((-35.0, 35.0), (-50.0, 50.0)))),
    "light_intensity": Each((Uniform(0.45, 0.8), Uniform(0.1, 0.4))),
    "ambient": Uniform(0.10, 0.25),
    "ambient_gradient": Uniform(-0.2, 0.1),
    "lid_shadow": Uniform(0.2, 0.5),
    "reflection": Uniform(0.05, 0.4),
    "window_intensity": Sometimes(0.15, 0.5, 3.0),
    "light_size": Uniform(0.018, 0.035),
    "adaptation": constant(0.7),
    "pupil_radius": Normal(1.9, 0.6, 0.9, 3.9),
    "exposure": Normal(0.1, 0.3, -0.7, 0.8),
}
HEADSET = INFRARED | {
    # The camera looks up from below the lens and the LEDs sit on a ring around it.
    "head": Each(
        (
            Normal(12.0 * RAD, 5.0 * RAD, 0.0, 25.0 * RAD),
            Normal(0.0, 6.0 * RAD, -15.0 * RAD, 15.0 * RAD),
            Normal(0.0, 4.0 * RAD, -12.0 * RAD, 12.0 * RAD),
        )
    ),
    "distance": Uniform(45.0, 75.0),
    "shift": Normal(0.0, 0.06, -0.15, 0.15, (2,)),
    "scale": Normal(1.0, 0.08, 0.8, 1.2),
    "led_intensity": Sometimes(0.9, 1.0, 4.0, (NUM_LEDS,)),
    "vignette": Uniform(0.15, 0.7),
    "noise": Uniform(0.005, 0.03),
    "contrast": Uniform(0.8, 1.1),
    "blur": Uniform(0.001, 0.003),
}
CLOSE = INFRARED | {
    "head": Each(
        (
            Normal(8.0 * RAD, 8.0 * RAD, -15.0 * RAD, 28.0 * RAD),
            Normal(0.0, 12.0 * RAD, -30.0 * RAD, 30.0 * RAD),
            Uniform(-45.0 * RAD, 45.0 * RAD),
        )
    ),
    "side": Uniform(-1.0, 1.0),
    "distance": Uniform(60.0, 120.0),
    "shift": Normal(0.0, 0.10, -0.25, 0.25, (2,)),
    "scale": Normal(0.95, 0.15, 0.65, 1.35),
    "aperture": Normal(0.85, 0.18, 0.0, 1.1),
    "blink": BLINK,
    "led_intensity": Sometimes(0.75, 0.8, 4.0, (NUM_LEDS,)),
    "led_angles": Each(tuple(angles((-35.0, 35.0), (-35.0, 35.0)) for _ in range(NUM_LEDS))),
    "vignette": Uniform(0.0, 0.2),
    "noise": Uniform(0.002, 0.010),
    "gamma": Uniform(1.2, 2.0),
    "contrast": Uniform(0.7, 1.1),
    "blur": Uniform(0.003, 0.009),
}
WIDE = {
    "blur": Uniform(0.0005, 0.002),
    "shift": Normal(0.0, 0.03, -0.08, 0.08, (2,)),
    "scale": Normal(1.0, 0.06, 0.85, 1.15),
    "equalization": constant(0.0),
}
BALL = {
    "head": Each(
        (
            Uniform(-20.0 * RAD, 20.0 * RAD),
            Uniform(-35.0 * RAD, 35.0 * RAD),
            Normal(0.0, 3.0 * RAD, -8.0 * RAD, 8.0 * RAD),
        )
    ),
    "shift": Normal(0.0, 0.04, -0.1, 0.1, (2,)),
    "scale": Normal(1.0, 0.10, 0.8, 1.25),
}
FRAMING = {"crop": {}, "ball": BALL, "wide": WIDE, "headset": HEADSET, "close": CLOSE}


def capture_table(population: str, look: str, framing: str) -> dict[str, Any]:
    """The distributions of a Capture: the population's, changed by look and framing."""
    table = CAPTURES[population] | (INFRARED if look == "infrared" else {}) | FRAMING[framing]
    if population != "simulated" and framing in ("headset", "close"):
        # The population's own sensor and lids stay wider than the device's nominal ones.
        table = table | {
            "noise": Uniform(0.01, 0.05),
            "contrast": Uniform(0.5, 1.3),
            "equalization": constant(0.0),
            "compression": CAPTURES[population]["compression"],
            "glasses": Sometimes(0.1, 1.0, 1.0),
        }
    if population == "randomized" and framing == "headset":
        table = table | {"blink": BLINK}
    if population != "simulated" and framing == "wide":
        table = table | {"blur": Uniform(0.001, 0.008)}
    return table
