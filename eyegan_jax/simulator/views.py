"""What kind of picture is taken: its size, the light it is taken in, and how the eye sits in the frame."""

from dataclasses import dataclass, replace
from typing import Literal

from eyegan_jax.errors import UserError

Look = Literal["visible", "infrared"]
Framing = Literal["crop", "ball", "wide", "headset", "close"]

# Width of the field of view in mm at the distance of the eyeball's centre. "crop" follows the landmarks
# instead (1.5 times the distance from caruncle to outer corner, about 26 mm), as GazeML crops UnityEyes.
FIELD_MM = {"crop": 39.0, "ball": 40.0, "wide": 66.0, "headset": 34.0, "close": 24.0}


@dataclass(frozen=True)
class View:
    """A static description of the picture; hashable, so that it can be a static argument of jit.

    height, width: pixels, any positive numbers.
    look: "visible" (light from lamps and sky) or "infrared" (LEDs of an eye tracker, 850 nm).
    channels: 1 (gray) or 3 (RGB); infrared is always gray, repeated where 3 are asked for.
    framing: "crop": window of the UnityEyes/MPIIGaze crops, centred on the lid margin and 1.5 eye widths
        wide; "ball": as wide, but centred on the eyeball and with heads turned further, as UnityEyes' camera
        sees them; "wide": eye with brow, as UnityEyes' own 640x480 renders; "headset": a tracker's camera a few cm
        from the eye, portrait format (OpenEDS); "close": iris fills the frame, camera rolled (MEYE).
    """

    height: int
    width: int
    look: Look = "visible"
    channels: int = 1
    framing: Framing = "crop"

    def __post_init__(self):
        if self.height < 1 or self.width < 1:
            raise UserError(f"view: expected a positive height and width, found {self.height}x{self.width}")
        if self.look not in ("visible", "infrared"):
            raise UserError(f'view: expected look "visible" or "infrared", found {self.look!r}')
        if self.channels not in (1, 3):
            raise UserError(f"view: expected 1 or 3 channels, found {self.channels}")
        if self.framing not in FIELD_MM:
            raise UserError(f"view: expected framing {', '.join(FIELD_MM)}, found {self.framing!r}")

    @property
    def mm_per_pixel(self) -> float:
        """Nominal size of a pixel on the eye; decides which fine texture is worth computing."""
        return FIELD_MM[self.framing] / self.width

    @property
    def bands(self) -> int:
        """Spectral bands that are rendered: 3 for colour, 1 for gray and infrared."""
        return 3 if self.channels == 3 and self.look == "visible" else 1

    def resized(self, height: int, width: int) -> "View":
        return replace(self, height=height, width=width)


VIEWS = {
    "unityeyes_35x55": View(35, 55),
    "unityeyes_36x60": View(36, 60),
    "unityeyes_72x120": View(72, 120),
    "unityeyes_640x480": View(480, 640, channels=3, framing="wide"),
    "color_128": View(128, 128, channels=3, framing="wide"),
    "color_64": View(64, 64, channels=3, framing="wide"),
    "color_crop_64x96": View(64, 96, channels=3),
    "openeds_640x400": View(640, 400, look="infrared", framing="headset"),
    "openeds_320x200": View(320, 200, look="infrared", framing="headset"),
    "openeds_160x100": View(160, 100, look="infrared", framing="headset"),
    "meye_128": View(128, 128, look="infrared", framing="close"),
}
