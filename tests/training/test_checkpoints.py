"""Damaged, half-written and missing checkpoints: the one before is used and the user is told."""

import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tinyrun import assert_same_bits, assert_same_runs, flags, losses_of, run, steps_of

from eyegan_jax.errors import UserError
from eyegan_jax.training.checkpoints import Checkpoints, load_config


def state_at(step):
    """Some state whose every number depends on the step."""
    return {
        "step": jnp.int32(step),
        "params": {"w": jnp.arange(6.0).reshape(2, 3) * step, "b": jnp.ones(3) / step},
        "history": jnp.full((8, 2), step, jnp.uint8),
    }


def abstract(shapes):
    del shapes
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), state_at(1))


@pytest.fixture
def saved(tmp_path) -> Path:
    """A workdir with checkpoints 10, 20 and 30."""
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        for step in (10, 20, 30):
            checkpoints.save(step, state_at(step), {"step": step})
    return tmp_path


def newest(workdir):
    warnings = []
    with Checkpoints(workdir, keep=3) as checkpoints:
        return checkpoints.restore_newest(abstract, warnings.append), warnings


def files_of(workdir, step):
    return sorted(p for p in (workdir / "checkpoints" / str(step)).rglob("*") if p.is_file())


def test_round_trip_is_exact(saved):
    (step, state, position), warnings = newest(saved)
    assert (step, position, warnings) == (30, {"step": 30}, [])
    assert_same_bits(state, state_at(30))


def test_nothing_there_is_no_error(tmp_path):
    assert newest(tmp_path) == (None, [])


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def scramble(path):
    content = np.frombuffer(path.read_bytes(), np.uint8)
    path.write_bytes((content ^ 0x5A).tobytes())


@pytest.mark.parametrize("damage", [truncate, empty, scramble, Path.unlink], ids=lambda f: f.__name__)
def test_damaged_newest_falls_back_and_says_so(saved, damage):
    for path in files_of(saved, 30):
        damage(path)
    (step, state, _), warnings = newest(saved)
    assert step == 20
    assert_same_bits(state, state_at(20))
    assert all("\n" not in warning for warning in warnings)
    # Without any file Orbax may not even list the step: then there is nothing to warn of.
    assert damage is Path.unlink or any(str(saved / "checkpoints" / "30") in warning for warning in warnings)


@pytest.mark.parametrize("damage", [truncate, scramble, Path.unlink], ids=lambda f: f.__name__)
def test_every_single_damaged_file_leaves_right_numbers(saved, damage, tmp_path):
    """Whatever file is hit, what comes back is a checkpoint that was saved, never a mixture or garbage."""
    fallbacks = 0
    for i, name in enumerate(p.relative_to(saved) for p in files_of(saved, 30)):
        workdir = tmp_path / f"copy{i}"
        shutil.copytree(saved / "checkpoints", workdir / "checkpoints")
        damage(workdir / name)
        (step, state, _), warnings = newest(workdir)
        assert step in (20, 30)
        assert_same_bits(state, state_at(step))
        fallbacks += step == 20
        assert len(warnings) == (step == 20) or damage is Path.unlink
    assert fallbacks >= 2


def test_only_damaged_ones_are_an_error_that_names_the_folder(saved):
    for step in (10, 20, 30):
        for path in files_of(saved, step):
            scramble(path)
    with pytest.raises(UserError, match=r"expected a readable checkpoint.*30, 20, 10"):
        newest(saved)


def test_keeps_the_newest_and_the_best(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step, monitor in ((1, 0.1), (2, 0.9), (3, 0.2), (4, 0.3), (5, 0.4)):
            checkpoints.save(step, state_at(step), {}, monitor)
            checkpoints.wait()
    assert steps_of(tmp_path) == [2, 4, 5]


def test_saving_a_step_twice_keeps_the_first(saved):
    with Checkpoints(saved, keep=3) as checkpoints:
        checkpoints.save(30, state_at(31), {})
        checkpoints.wait()
    (_, state, _), _ = newest(saved)
    assert_same_bits(state, state_at(30))


@pytest.mark.parametrize(("content", "found"), [(None, "found none"), ("{", "expected JSON")])
def test_config_of_a_run(tmp_path, content, found):
    if content:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=found):
        load_config(tmp_path)


def test_training_falls_back_too_and_ends_with_the_same_bits(images, straight, tmp_path):
    """The whole program: newest checkpoint truncated, the one before is named and used."""
    workdir = tmp_path / "run"
    shutil.copytree(straight, workdir)
    for path in files_of(workdir, 40):
        truncate(path)
    _, err = run(workdir, flags(images))
    assert f"checkpoint {workdir / 'checkpoints' / '40'} cannot be read" in err and "Traceback" not in err
    assert_same_runs(workdir, straight)
    assert [line["step"] for line in losses_of(workdir)] == list(range(1, 41))
