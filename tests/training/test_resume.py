"""A run that was stopped and started again is the run that was never stopped, bit for bit."""

import json
import shutil
import signal
import time

import pytest
import tinyrun
from tinyrun import TOTAL, assert_same_runs, finish, flags, losses_of, run, start, state_of, steps_of

from eyegan_jax.errors import UserError
from eyegan_jax.training import workdirs


def test_sigterm_then_resume_gives_the_same_bits(images, straight, tmp_path):
    workdir = tmp_path / "run"
    out, _ = run(workdir, flags(images), event="sigterm@21")
    assert "stopped at step 21; checkpoint saved" in out
    assert steps_of(workdir)[-1] == 21
    out, _ = run(workdir, flags(images))
    assert f"trained {TOTAL} steps" in out
    assert_same_runs(workdir, straight)
    steps = [line["step"] for line in losses_of(workdir)]
    assert steps == list(range(1, TOTAL + 1))


@pytest.mark.slow
def test_streamed_data_resumes_with_the_same_bits(images, tmp_path):
    streamed = flags(images, data__backend="stream")
    run(tmp_path / "straight", streamed)
    run(tmp_path / "stopped", streamed, event="sigterm@23")  # in the middle of a phase
    run(tmp_path / "stopped", streamed)
    assert_same_runs(tmp_path / "stopped", tmp_path / "straight")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd", "muon"])
def test_every_optimiser_resumes_with_the_same_bits(images, tmp_path, name):
    """Their states differ in form; the other tests train with Adam."""
    chosen = flags(images, simgan__refiner_optimiser__name=name, simgan__refiner__width=8)
    run(tmp_path / "straight", chosen)
    run(tmp_path / "stopped", chosen, event="sigterm@23")
    run(tmp_path / "stopped", chosen)
    assert_same_runs(tmp_path / "stopped", tmp_path / "straight")


def test_ctrl_c_saves_and_says_so(images, straight, tmp_path):
    """Sent from outside, at whatever moment it meets."""
    workdir = tmp_path / "run"
    process = start(workdir, flags(images, steps=100_000))
    wait_for_lines(workdir / "metrics.jsonl", 3, process)
    process.send_signal(signal.SIGINT)
    out, err = finish(process, status=130)
    assert "checkpoint saved. The same command goes on from here." in out and "Traceback" not in err
    step, _ = state_of(workdir)
    assert [line["step"] for line in losses_of(workdir)] == list(range(1, step + 1))


def test_a_second_training_in_the_same_workdir_is_refused(images, tmp_path):
    workdir = tmp_path / "run"
    first = start(workdir, flags(images, steps=100_000))
    try:
        wait_for_lines(workdir / "metrics.jsonl", 1, first)
        settings = (workdir / "config.json").read_text()
        _, err = finish(start(workdir, flags(images, steps=50)), status=2)
        assert "expected no other training in it" in err and "Traceback" not in err
        assert first.poll() is None and (workdir / "config.json").read_text() == settings
    finally:
        first.kill()
        first.communicate()


def wait_for_lines(path, count, process, timeout=200):
    end = time.monotonic() + timeout
    while time.monotonic() < end and process.poll() is None:
        if path.exists() and len(path.read_text().splitlines()) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {count} lines in {path}")


def test_a_finished_run_is_left_alone(images, straight, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(straight, workdir)
    before = {p: p.stat().st_mtime_ns for p in (workdir / "checkpoints").rglob("*") if p.is_file()}
    out, _ = run(workdir, flags(images))
    assert f"trained {TOTAL} steps" in out
    assert {p: p.stat().st_mtime_ns for p in (workdir / "checkpoints").rglob("*") if p.is_file()} == before
    assert losses_of(workdir) == losses_of(straight)


def test_more_steps_go_on_from_the_end(images, straight, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(straight, workdir)
    run(workdir, flags(images, steps=TOTAL - 8 + 4))
    assert state_of(workdir)[0] == TOTAL + 4
    assert losses_of(workdir)[:TOTAL] == losses_of(straight)
    assert len(losses_of(workdir)) == TOTAL + 4


@pytest.mark.parametrize("change", [{"seed": 1}, {"simgan__refiner__width": 8}])
def test_another_experiment_in_the_same_workdir_is_refused(images, straight, tmp_path, change):
    workdir = tmp_path / "run"
    shutil.copytree(straight, workdir)
    _, err = run(workdir, flags(images, **change), status=2)
    name = next(iter(change)).replace("__", ".")
    assert err.splitlines()[-1].startswith("error: ") and f"with {name} = " in err and "Traceback" not in err
    config = json.loads((workdir / "config.json").read_text())
    assert config == json.loads((straight / "config.json").read_text())


def test_a_run_from_before_a_setting_existed_goes_on_while_it_is_off(images, straight, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(straight, workdir)
    config = json.loads((workdir / "config.json").read_text())
    del config["simgan"]["equalised"]
    (workdir / "config.json").write_text(json.dumps(config))
    _, err = run(workdir, flags(images), status=2)
    assert "simgan.equalised = None instead of True" in err
    out, _ = run(workdir, flags(images, simgan__equalised=False))
    assert f"trained {TOTAL} steps" in out


def test_the_fall_of_the_rates_may_move_with_the_steps_and_not_by_itself(images, tmp_path):
    """Steps that are raised take the end of the fall with them, see systems.optimisers.fall_to_zero."""
    falling = {"simgan__refiner_optimiser__decay_end": 32}
    workdirs.claim(tinyrun.config(images, **falling), tmp_path)
    falling["simgan__refiner_optimiser__decay_end"] = 64
    with pytest.raises(UserError, match="decay_end = 32 instead of 64"):
        workdirs.expect_same_experiment(tinyrun.config(images, **falling), tmp_path)
    longer = tinyrun.config(images, steps=64, **falling)
    workdirs.expect_same_experiment(longer, tmp_path)
    workdirs.claim(longer, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 64


def test_a_refused_setting_does_not_keep_the_folder_from_its_correction(images, tmp_path):
    _, err = run(tmp_path / "run", flags(tmp_path / "nowhere"), status=2)
    assert "nowhere" in err
    out, _ = run(tmp_path / "run", flags(images, steps=1))
    assert "trained" in out


def test_settings_of_the_run_may_change(images, straight, tmp_path):
    """How often to log or save is no part of the experiment."""
    workdir = tmp_path / "run"
    shutil.copytree(straight, workdir)
    run(workdir, flags(images, run__log_every=5, run__keep=1))
    assert steps_of(workdir)[-1] == TOTAL


def test_tiny_run_leaves_what_design_promises(straight):
    for name in ("config.json", "metrics.jsonl", "checkpoints", "samples", "tensorboard"):
        assert (straight / name).exists(), name
    line = tinyrun.losses_of(straight)[-1]
    assert {"step", "phase", "loss/refiner", "loss/discriminator", "gradient/refiner"} <= set(line)
