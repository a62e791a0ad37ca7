"""Several real processes on this machine (gloo): the same run as in one, and the same faults survived."""

import signal
import socket
import time

import pytest
from test_parallel import close
from tinyrun import TOTAL, assert_same_bits, finish, flags, losses_of, start, state_of, steps_of

BOUND = 60
"""Seconds within which the rest of a job must notice that a process is gone."""


def job(workdir, arguments, processes, *, devices=1, events=None):
    """Start every process of a job; ``events`` maps a process to a drill."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = [f"--coordinator=127.0.0.1:{port}", f"--processes={processes}"]
    return [
        start(workdir, [*arguments, *places, f"--process={i}"], devices=devices, event=(events or {}).get(i, ""))
        for i in range(processes)
    ]


def finish_all(processes, status=0):
    try:
        return [finish(process, status) for process in processes]
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(scope="module")
def two(images, tmp_path_factory):
    """A run in two processes of one device each."""
    workdir = tmp_path_factory.mktemp("two") / "run"
    (out, _), (quiet, _) = finish_all(job(workdir, flags(images), 2))
    assert f"trained {TOTAL} steps" in out and "trained" not in quiet
    return workdir


def same_networks(workdir, straight):
    """Both runs ended with the same networks, up to 40 steps of Adam on sums in another order."""
    step, state = state_of(workdir)
    assert step == TOTAL
    # Not the optimisers' states: they are gradients, sums over all patches, and hundreds of times larger.
    names = ("refiner", "refiner_average", "discriminator", "history")
    reference = state_of(straight)[1]
    close({name: state[name] for name in names}, {name: reference[name] for name in names}, atol=2e-3)


def test_two_processes_equal_one(two, straight):
    same_networks(two, straight)
    assert [line["step"] for line in losses_of(two)] == list(range(1, TOTAL + 1))
    for ours, reference in zip(losses_of(two)[:9], losses_of(straight)[:9], strict=True):
        assert {k: v for k, v in ours.items() if k != "phase"} == pytest.approx(
            {k: v for k, v in reference.items() if k != "phase"}, rel=1e-3, abs=1e-4
        )


@pytest.mark.slow
def test_four_processes_of_two_devices_under_shard_map(images, straight, tmp_path):
    finish_all(job(tmp_path / "run", flags(images, run__parallel="shard_map"), 4, devices=2))
    same_networks(tmp_path / "run", straight)


@pytest.mark.slow
def test_sigterm_to_one_stops_all_at_one_step_and_the_resumed_job_ends_with_the_same_bits(images, two, tmp_path):
    workdir = tmp_path / "run"
    (out, _), _ = finish_all(job(workdir, flags(images), 2, events={1: "sigterm@15"}))
    assert "checkpoint saved. The same command goes on from here." in out
    stopped = steps_of(workdir)[-1]
    assert 15 <= stopped < TOTAL
    finish_all(job(workdir, flags(images), 2))
    assert state_of(workdir)[0] == TOTAL
    assert_same_bits(state_of(workdir)[1], state_of(two)[1])
    assert losses_of(workdir) == losses_of(two)


def test_sigkill_of_one_stops_the_job_in_time_and_the_resumed_job_ends_with_the_same_bits(images, two, tmp_path):
    workdir = tmp_path / "run"
    processes = job(workdir, flags(images), 2, events={1: "sigkill@25"})
    processes[1].communicate(timeout=300)
    assert processes[1].returncode == -signal.SIGKILL
    began = time.monotonic()
    _, err = processes[0].communicate(timeout=2 * BOUND)
    assert time.monotonic() - began < BOUND
    assert processes[0].returncode not in (0, None)
    assert "another process of this job has stopped" in err
    assert steps_of(workdir)[-1] in (8, 10, 20)
    finish_all(job(workdir, flags(images), 2))
    assert_same_bits(state_of(workdir)[1], state_of(two)[1])
    assert losses_of(workdir) == losses_of(two)


def test_a_user_error_is_said_once_by_every_process(images, tmp_path):
    results = finish_all(job(tmp_path / "run", flags(images, batch_size=9), 2), status=2)
    for _, err in results:
        assert "error: config.batch_size" in err and "Traceback" not in err
