"""Eight virtual CPU devices for every test; set before jax is imported."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Fewer worker threads than virtual devices deadlock in collectives on jaxlib 0.10.
os.environ.setdefault("NPROC", "16")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

from pathlib import Path

import jax
import pytest
from hypothesis import settings

# Compilation makes first examples slow, so time limits per example would only measure the machine.
settings.register_profile("eyegan", deadline=None, derandomize=True)
settings.load_profile("eyegan")

# XLA of jax 0.10 takes minutes to compile the eye renderer that newer ones compile in half a minute.
if jax.__version_info__ < (0, 11) and not os.environ.get("EYEGAN_SLOW_COMPILER"):

    def _skip_rendering(values):
        pytest.skip(
            f"compiling the simulator takes minutes on jax {jax.__version__}; set EYEGAN_SLOW_COMPILER=1 to wait"
        )

    jax.lax.optimization_barrier = _skip_rendering  # what every stage of the renderer passes through

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def realdata():
    """``realdata(name)``: a folder of the real test images, or a skip that says why."""
    from eyegan_jax.data.catalog import realdata_dir

    def find(name: str) -> Path:
        folder = realdata_dir(name)
        if folder is None:
            pytest.skip(f"no real test images: neither ../shared/realdata/{name} nor $EYEGAN_REALDATA/{name} exists")
        return folder

    return find
