"""What both sides of a benchmark share: its images, and how it reads memory. No framework is imported here."""

from pathlib import Path

import numpy as np


def pictures(count: int = 4096, height: int = 35, width: int = 55) -> np.ndarray:
    """uint8 ``[count, 1, H, W]`` of random patches: on noise a training step would soon not be finite."""
    patches = np.random.default_rng(0).integers(0, 256, (count, 1, -(-height // 6), -(-width // 7)), np.uint8)
    return np.repeat(np.repeat(patches, 6, axis=2), 7, axis=3)[:, :, :height, :width]


def peak_memory(first_step_s: float, device_bytes: int | None) -> dict[str, float | int | None]:
    """One side's figures. Not ``ru_maxrss``, which a process inherits from the one that started it."""
    status = Path("/proc/self/status").read_text()
    resident = int(status.split("VmHWM:")[1].split()[0]) * 1024
    return {"first_step_s": first_step_s, "peak_rss_bytes": resident, "peak_device_bytes": device_bytes}
