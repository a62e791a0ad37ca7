"""The picture of angles and signs in docs/redirect.md: one simulated person's two eyes, by pitch and yaw.

python -m eyegan_jax.evaluation.redirect_angles [FILE]
"""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax import simulator
from eyegan_jax.pictures import grid_png

PITCHES, YAWS = (15.0, 0.0, -15.0), (25.0, 0.0, -25.0)
DEFAULT = Path("docs/images/redirect_angles.png")


def draw(path: Path, seed: int = 4) -> None:
    """Rows by pitch, columns by yaw; the left block is a left eye, the right block the same person's right eye."""
    domain = dataclasses.replace(simulator.find_domain("simulated"), sensor=False)
    # "ball" keeps the camera where it is, whatever the eye does.
    view = simulator.View(64, 96, framing="ball")
    person = simulator.fixed_subject(seed, 0, domain)
    capture = simulator.sample_capture(jax.random.key(seed), person, domain, view)
    capture = dataclasses.replace(capture, head=jnp.zeros(3), exposure=jnp.zeros(()))
    wishes = [(side, pitch, yaw) for pitch in PITCHES for side in (1.0, -1.0) for yaw in YAWS]
    sides, angles = jnp.array([w[0] for w in wishes]), jnp.radians(jnp.array([w[1:] for w in wishes]))

    @jax.jit
    @jax.vmap
    def render(side, gaze):
        return simulator.render(person, dataclasses.replace(capture, side=side, gaze=gaze), view, domain).image

    images = np.asarray(render(sides, angles)).reshape(len(PITCHES), 2 * len(YAWS), view.height, view.width, 1)
    columns = [f"{eye} eye, yaw {yaw:g}" for eye in ("left", "right") for yaw in YAWS]
    grid_png(images, path, [f"pitch {pitch:g}" for pitch in PITCHES], columns, scale=2)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    draw(target)
    print(f"wrote {target}")
