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

from eyegan_jax.compiler import make_room

# Compilation makes first examples slow, so time limits per example would only measure the machine.
settings.register_profile("eyegan", deadline=None, derandomize=True)
settings.load_profile("eyegan")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Lets compiled programs go when there are many: all of the suite's in one process can crash it."""
    yield
    make_room()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="module")
def quick_compilation():
    """For modules where compiling takes most of the time and the programs run once or twice."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


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
