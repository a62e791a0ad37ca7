"""Real pictures for reports: what is known of them is how they look."""

from collections.abc import Callable

import numpy as np

from eyegan_jax.data.catalog import open_set, realdata_dir
from eyegan_jax.data.examples import BadExample
from eyegan_jax.data.geometry import middle_box, resample
from eyegan_jax.data.pipeline import in_channels


def real_eyes(
    name: str,
    shape: tuple[int, int, int],
    count: int,
    frame: Callable[[np.ndarray], tuple[int, int, int, int]] | None = None,
) -> np.ndarray | None:
    """``count`` real test images of a set, uint8 ``[N, H, W, C]`` of ``shape``: the middle of each, people apart.

    frame: from a picture to the box (left, top, right, bottom) that is shown of it, in place of its middle.
    Fewer where the set holds fewer or some cannot be read; None where it is not at hand (docs/data.md).
    """
    folder = realdata_dir(name)
    if folder is None:
        return None
    eyes = open_set({"kind": "folder", "dir": str(folder)})
    height, width, channels = shape
    found: list[np.ndarray] = []
    # Names sort by person: evenly spread ones are of different people.
    for index in np.linspace(0, len(eyes) - 1, min(count, len(eyes))).astype(int):
        try:
            image = in_channels(eyes[int(index)]["image"], channels)
        except BadExample:
            continue
        box = frame(image) if frame else middle_box(image.shape[0], image.shape[1], shape)
        found.append(resample(image, box, height, width))
    return np.stack(found)
