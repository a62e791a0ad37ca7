"""Kills, full disks and losses that are no numbers: nothing that was saved is lost, and the next run goes on."""

import os
import random
import subprocess
import time

import jax
import jax.numpy as jnp
import pytest
import tinyrun
from tinyrun import TOTAL, assert_same_runs, finish, flags, losses_of, run, start, state_of, steps_of

from eyegan_jax.systems import simgan
from eyegan_jax.training import loop

KILLED = -9


@pytest.mark.parametrize("event", ["killsave@1", "killsave@2", "sigkill@35"])
def test_kill_9_at_a_known_moment(images, straight, tmp_path, event):
    """In the middle of the first and the second checkpoint's write, and between two checkpoints."""
    workdir = tmp_path / "run"
    run(workdir, flags(images), event=event, status=KILLED)
    # At step 35 the background write of checkpoint 30 may or may not have ended.
    assert (steps_of(workdir) or [0])[-1] in {"killsave@1": [0], "killsave@2": [4], "sigkill@35": [20, 30]}[event]
    if event != "killsave@1":
        state_of(workdir)  # readable
    run(workdir, flags(images))
    assert_same_runs(workdir, straight)
    assert [line["step"] for line in losses_of(workdir)] == list(range(1, TOTAL + 1))


@pytest.mark.slow
def test_kill_9_at_random_moments(images, straight, tmp_path):
    """One run killed again and again until it gets through."""
    kill_until_done(images, straight, tmp_path / "run", kills=2, seed=0)


@pytest.mark.slow
def test_kill_9_at_twenty_random_moments(images, straight, tmp_path):
    kill_until_done(images, straight, tmp_path / "run", kills=20, seed=1)


def kill_until_done(images, straight, workdir, kills, seed):
    """Checkpoints every three steps, so that many kills hit a write; the last start is left alone."""
    often = flags(images, run__checkpoint_every=3)
    moment = random.Random(seed)
    began = time.monotonic()
    run(workdir.with_name("whole"), often)
    whole = time.monotonic() - began
    reached = 0
    for _ in range(kills):
        process = start(workdir, often)
        try:
            _, err = process.communicate(timeout=moment.uniform(0.3, 1.0) * whole)
        except subprocess.TimeoutExpired:
            process.kill()
            _, err = process.communicate()
            assert process.returncode == KILLED
        assert "Traceback" not in err
        steps = steps_of(workdir) if (workdir / "checkpoints").exists() else []
        assert not steps or steps[-1] >= reached, "a finished checkpoint was lost"
        reached = steps[-1] if steps else 0
    run(workdir, often)
    assert_same_runs(workdir, straight)


def said_in_one_line(err, start, what):
    assert "Traceback" not in err
    last = err.replace("\r", "\n").splitlines()[-1]
    assert last.startswith(start) and what in last


def test_full_disk_is_one_line_and_leaves_the_checkpoint_before(images, straight, tmp_path):
    workdir = tmp_path / "run"
    _, err = run(workdir, flags(images), event="fulldisk@3", status=2)
    said_in_one_line(err, f"error: {workdir}", "File too large")
    assert steps_of(workdir)[-1] == 8
    run(workdir, flags(images))
    assert_same_runs(workdir, straight)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_small_file_system(images, straight, tmp_path):
    """The same on a file system that really is full."""
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(mount)], capture_output=True).returncode:
        pytest.skip("this machine allows no mounts")
    try:
        workdir = mount / "run"
        _, err = run(workdir, flags(images, run__checkpoint_every=1, run__samples_every=0), status=2)
        said_in_one_line(err, f"error: {workdir}", "No space left on device")
        assert steps_of(workdir)
        subprocess.run(["mount", "-o", "remount,size=20m", str(mount)], check=True)
        run(workdir, flags(images))
        assert_same_runs(workdir, straight)
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.parametrize("per_dispatch", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_loss_that_is_not_finite_stops_with_its_name(images, tmp_path, monkeypatch, per_dispatch):
    """The loss of step 24 (the 16th adversarial one) turns NaN: named with its step and the last good checkpoint."""
    step = simgan.SimGAN.adversarial_step

    def spoilt(self, state, batch, key):
        state, metrics = step(self, state, batch, key)
        bad = jnp.where(state.step == 23, jnp.nan, 0.0)
        state = state.replace(refiner=jax.tree.map(lambda x: x + bad, state.refiner))
        return state, metrics | {"loss/refiner": metrics["loss/refiner"] + bad}

    monkeypatch.setattr(simgan.SimGAN, "adversarial_step", spoilt)
    changes = {"run__steps_per_dispatch": per_dispatch, "run__samples_every": 0, "run__checkpoint_every": 11}
    with pytest.raises(loop.Diverged) as raised:
        loop.train(tinyrun.config(images, **changes), tmp_path)
    message = str(raised.value)
    assert "step 24 (adversarial)" in message and "loss/refiner" in message and "nan" in message
    assert message.endswith(f"the last good checkpoint is {tmp_path / 'checkpoints' / '22'}")
    assert steps_of(tmp_path)[-1] == 22
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state_of(tmp_path)[1]))
    assert losses_of(tmp_path)[-1]["step"] == 23


def test_a_checkpoint_is_never_written_of_a_state_that_is_not_finite(images, tmp_path, monkeypatch):
    """Also when the step that spoils the state is the very one after which a checkpoint is due."""
    step = simgan.SimGAN.pretrain_refiner

    def spoilt(self, state, batch, key):
        state, metrics = step(self, state, batch, key)
        return state, metrics | {"loss/refiner": jnp.where(state.step == 3, jnp.inf, metrics["loss/refiner"])}

    monkeypatch.setattr(simgan.SimGAN, "pretrain_refiner", spoilt)
    with pytest.raises(loop.Diverged, match=r"step 4 \(refiner\).*no checkpoint yet"):
        loop.train(tinyrun.config(images), tmp_path)
    assert steps_of(tmp_path) == []


def test_sigterm_before_the_first_step_is_harmless(images, straight, tmp_path):
    """During start-up there is nothing to save; the next run starts as if nothing had been."""
    workdir = tmp_path / "run"
    process = start(workdir, flags(images))
    time.sleep(0.5)
    process.terminate()
    process.communicate(timeout=100)
    run(workdir, flags(images))
    assert_same_runs(workdir, straight)


def test_second_ctrl_c_stops_at_once(images, tmp_path):
    process = start(tmp_path / "run", flags(images, steps=1_000_000))
    lines = tmp_path / "run" / "metrics.jsonl"
    end = time.monotonic() + 200
    while time.monotonic() < end and not (lines.exists() and lines.read_text().count("\n") > 12):
        time.sleep(0.02)
    process.send_signal(2)
    time.sleep(0.01)  # two that wait at the same time are one to the system
    process.send_signal(2)
    _, err = finish(process, status=130)
    assert "Traceback" not in err
