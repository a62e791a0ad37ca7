"""What a long command sets up before it computes."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS_PER_CALL = """
import resource
from eyegan_jax.training import startup

startup.start()
import jax
import jax.numpy as jnp

fill = jax.jit(lambda value: jnp.broadcast_to(value, (2**25,)) + 1.0)


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


counts = [faults()]
for value in range(8):
    fill(value).block_until_ready()
    counts.append(faults())
print(min(after - before for before, after in zip(counts, counts[1:])))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators keep memory by other means")
def test_arrays_of_every_step_do_not_come_from_the_system_anew(root):
    """128 MB are 32,768 pages, each of which costs a fault where the system hands them out."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_") and name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS_PER_CALL], cwd=root, env=env, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1000
