"""The whole loop gives the same run however it is spread: wrapper, devices, steps per dispatch."""

import shutil

import jax
import numpy as np
import pytest
import tinyrun
from tinyrun import TOTAL, assert_same_bits, flags, losses_of, run, state_of

from eyegan_jax import compiler
from eyegan_jax.errors import UserError
from eyegan_jax.training.checkpoints import Checkpoints
from eyegan_jax.training.loop import train
from eyegan_jax.training.parallel import Parallel


@pytest.fixture(scope="module")
def on_eight(images, tmp_path_factory):
    """A run of 12 steps on 8 devices under pmap, saved at step 9; steps 10 to 12 are left to others."""
    workdir = tmp_path_factory.mktemp("eight") / "run"
    train(short(images, steps=1), workdir)
    return workdir


def short(images, steps=4, **changes):
    return tinyrun.config(images, steps=steps, **{"run__samples_every": 0, **changes})


def close(left, right, atol=1e-5):
    """Same numbers up to the order of summation; history images up to one gray level."""

    def leaf(path, a, b):
        name = jax.tree_util.keystr(path)
        if a.dtype == np.uint8:
            a, b = (x.reshape(-1, *x.shape[2:]).astype(int) for x in (a, b))
            assert np.abs(a - b).max() <= 1 and np.mean(a != b) < 0.01, name
        else:
            np.testing.assert_allclose(a, b, atol=atol, rtol=1e-4, err_msg=name)

    jax.tree_util.tree_map_with_path(leaf, left, right)


def test_shard_map_and_dispatches_of_several_steps_equal_pmap_step_by_step(images, tmp_path):
    """Plain SGD, whose parameters show the size of a gradient (Adam would hide a factor)."""
    sgd = {"simgan__refiner_optimiser__name": "sgd", "simgan__discriminator_optimiser__name": "sgd"}
    train(short(images, **sgd), tmp_path / "pmap")
    train(short(images, **sgd, run__parallel="shard_map"), tmp_path / "shard_map")
    train(short(images, **sgd, run__steps_per_dispatch=4), tmp_path / "dispatch")
    (step, reference), *others = (state_of(tmp_path / name) for name in ("pmap", "shard_map", "dispatch"))
    assert step == 12
    for other_step, other in others:
        assert other_step == step
        close(other, reference)
    names = [
        [(line["step"], sorted(line)) for line in losses_of(tmp_path / n)] for n in ("pmap", "shard_map", "dispatch")
    ]
    assert names[0] == names[1] == names[2]


@pytest.mark.parametrize(("wrapper", "devices"), [("pmap", 2), pytest.param("shard_map", 1, marks=pytest.mark.slow)])
def test_a_run_goes_on_with_another_number_of_devices_and_another_wrapper(
    images, on_eight, tmp_path, wrapper, devices, monkeypatch
):
    workdir = tmp_path / "run"
    shutil.copytree(on_eight, workdir)
    train(short(images), workdir)
    reference = state_of(workdir)[1]
    moved = tmp_path / "moved"
    shutil.copytree(on_eight, moved)
    monkeypatch.setattr(jax, "devices", lambda: jax.local_devices()[:devices])
    train(short(images, run__parallel=wrapper), moved)
    step, state = state_of(moved)
    assert step == 12 and state["history"]["images"].shape[0] == devices
    close(state, reference, atol=1e-4)


def test_a_run_goes_on_whose_history_was_stored_as_whole_images(images, on_eight, tmp_path):
    straight, old = tmp_path / "straight", tmp_path / "old"
    for workdir in (straight, old):
        shutil.copytree(on_eight, workdir)
    with Checkpoints(old) as checkpoints:
        step, state = checkpoints.load_newest()
        position = checkpoints.restore(step, state)[1]
    state["history"]["images"] = state["history"]["images"].reshape(8, 1, -1, 12, 16, 1)
    shutil.rmtree(old / "checkpoints")
    with Checkpoints(old) as checkpoints:
        checkpoints.save(step, state, position)
        checkpoints.wait()
    for workdir in (straight, old):
        train(short(images), workdir)
    assert_same_bits(state_of(old)[1], state_of(straight)[1])


def test_the_state_is_the_same_on_every_device(images, tmp_path):
    """What pmap never checks: a forgotten mean would leave every device with values of its own."""
    state = train(short(images), tmp_path).state
    for leaf in jax.tree.leaves(state.replace(history=None)):
        shards = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(shards) == 8
        for shard in shards[1:]:
            np.testing.assert_array_equal(shard, shards[0])


def test_a_training_lets_go_what_earlier_ones_compiled(images, on_eight, tmp_path, monkeypatch):
    """A sweep of dozens in one process would end in a segmentation fault, out of memory maps."""
    shutil.copytree(on_eight, tmp_path / "run")
    earlier = jax.jit(lambda x: x + 1)
    earlier(1.0)
    train(short(images, steps=1), tmp_path / "run")
    assert earlier._cache_size() == 1  # there is room
    monkeypatch.setattr(compiler, "MOST_MAPS", 0)
    train(short(images, steps=1), tmp_path / "run")
    assert earlier._cache_size() == 0


def test_two_runs_of_one_seed_are_the_same_bits(images, straight, tmp_path):
    run(tmp_path / "run", flags(images))
    tinyrun.assert_same_runs(tmp_path / "run", straight)
    run(tmp_path / "other", flags(images, seed=1, steps=0))
    with pytest.raises(AssertionError):
        assert_same_bits(state_of(tmp_path / "other")[1]["refiner"], state_of(straight)[1]["refiner"])


def test_batch_sizes_are_named_where_they_do_not_divide():
    with pytest.raises(
        UserError, match=r"multiple of 8 devices, found a global batch of 12 \(12 per process.*1\.5 per"
    ):
        Parallel("pmap").per_device(12)
    with pytest.raises(UserError, match="'pmap' or 'shard_map'"):
        Parallel("pjit")


def test_each_device_count_gets_its_stretch_of_the_batch():
    assert Parallel("pmap").local_positions(16) == range(16)
    assert Parallel("pmap", jax.devices()[:4]).per_device(16) == 4


def test_total_of_the_tiny_run(straight):
    assert losses_of(straight)[-1]["step"] == TOTAL
