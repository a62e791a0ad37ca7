"""An ensemble is its members: each equals the same system alone, whatever it is trained beside."""

import json
import runpy

import jax
import ml_collections
import numpy as np
import pytest
import stepping
from PIL import Image

from eyegan_jax import systems
from eyegan_jax.errors import UserError
from eyegan_jax.evaluation import sweeps
from eyegan_jax.models import load_model

pytestmark = pytest.mark.usefixtures("quick_compilation")

SEEDS, WEIGHTS = (3, 3, 5), (0.0, 0.1, 0.1)


def config_of(root, **changes) -> ml_collections.ConfigDict:
    config = runpy.run_path(str(root / "configs" / "simgan.py"))["get_config"]("smoke").unlock()
    config.image_shape = (12, 16, 1)
    config.simgan.refiner.width = 4
    config.simgan.refiner.output = "tanh"
    for name in ("refiner_optimiser", "discriminator_optimiser"):
        config.simgan[name].update({"name": "sgd", "learning_rate": 1e-3})
    config.update_from_flattened_dict(changes)
    return config


def batch_of(seed: int):
    rng = np.random.default_rng(seed)
    return {
        "simulated": {"image": rng.integers(0, 256, (16, 3, 12, 16, 1), dtype=np.uint8)},
        "real": {"image": rng.integers(0, 256, (16, 1, 12, 16, 1), dtype=np.uint8)},
    }


def test_every_member_equals_the_system_alone(root):
    """On eight devices, where the history of refined images has a device axis in front of the members."""
    devices = 8
    config = config_of(root)
    config.ensemble = {"seeds": SEEDS, "scalars": (("simgan.loss.regularisation", WEIGHTS),)}
    ensemble = systems.build_system(config)
    start = jax.device_get(jax.jit(lambda: ensemble.init(jax.random.key(0), batch_of(0), devices))())
    steps = [(ensemble.phases[2].step, batch_of(i)) for i in range(2)]
    state, metrics = stepping.run(ensemble, "pmap", devices, start, steps)[-1]
    for i, (seed, weight) in enumerate(zip(SEEDS, WEIGHTS, strict=True)):
        alone = systems.build_system(config_of(root, **{"simgan.loss.regularisation": weight}))

        def with_own_key(state, batch, key, alone=alone, seed=seed):
            return alone.phases[2].step(state, batch, jax.random.fold_in(key, seed))

        own, figures = stepping.run(
            alone, "pmap", devices, ensemble.member(start, i), [(with_own_key, batch) for _, batch in steps]
        )[-1]
        member = ensemble.member(state, i)
        for part in ("refiner", "discriminator", "refiner_average"):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
                getattr(member, part),
                getattr(own, part),
            )
        assert member.history.images.shape == own.history.images.shape
        for name, value in figures.items():
            np.testing.assert_allclose(metrics[f"{name}/{i}"], value, rtol=1e-3, atol=1e-4, err_msg=name)


def test_members_of_other_seeds_and_weights_differ(root):
    config = config_of(root)
    config.ensemble = {"seeds": SEEDS, "scalars": (("simgan.loss.regularisation", WEIGHTS),)}
    ensemble = systems.build_system(config)
    start = jax.device_get(jax.jit(lambda: ensemble.init(jax.random.key(0), batch_of(0), 1))())
    state, _ = stepping.run(ensemble, "pmap", 1, start, [(ensemble.phases[2].step, batch_of(0))])[-1]
    kernels = [ensemble.member(state, i).refiner["stem"]["kernel"] for i in range(3)]
    first = start.members.refiner["stem"]["kernel"]
    assert np.array_equal(first[0], first[1]) and not np.allclose(first[1], first[2])
    assert not np.allclose(kernels[0], kernels[1]) and not np.allclose(kernels[1], kernels[2])


PLAIN_AND_STRICT = {"plain": {}, "strict": {"simgan.loss.regularisation": 0.1}}


def sweep_file(root, folder, **arms):
    for name in ("simulated", "real"):
        (folder / name).mkdir()
        for i in range(16):
            noise = np.random.default_rng(i).integers(0, 256, (12, 16), dtype=np.uint8)
            Image.fromarray(noise).save(folder / name / f"{i}.png")
    file = folder / "sweep.py"
    file.write_text(
        "import runpy\n"
        "def get_sweep():\n"
        f"    config = runpy.run_path({str(root / 'configs' / 'simgan.py')!r})['get_config']('smoke').unlock()\n"
        "    config.image_shape, config.steps, config.simgan.refiner.width = (12, 16, 1), 2, 4\n"
        "    config.simgan.loss.regularisation = 0.01\n"
        "    for name in ('simulated', 'real'):\n"
        "        config.data[name].kind = 'folder'\n"
        f"        config.data[name].dir = {str(folder)!r} + '/' + name\n"
        f"    return {{'config': config, 'seeds': [0, 1], 'arms': {arms!r}, 'columns': {{'KID': 'kid'}}}}\n"
    )
    return file


def test_runs_that_differ_in_numbers_only_are_one_group(root, tmp_path):
    other = {"simgan.discriminator.decision": "global"}
    runs, _ = sweeps.load(sweep_file(root, tmp_path, **PLAIN_AND_STRICT, other=other))
    found = sweeps.groups(runs)
    assert [[entry.name for entry in group] for group in found] == [
        ["plain-seed0", "plain-seed1", "strict-seed0", "strict-seed1"],
        ["other-seed0", "other-seed1"],
    ]
    config = sweeps.together_config(found[0])
    assert config.ensemble.seeds == (0, 1, 0, 1)
    assert config.ensemble.scalars == (("simgan.loss.regularisation", (0.01, 0.01, 0.1, 0.1)),)


def test_a_sweep_trained_together_leaves_runs_like_any_other(root, tmp_path, monkeypatch):
    judged = []

    def judge(config, folder):
        model = load_model(folder, ("refiner_average", "discriminator"))
        judged.append((folder.name, model.step, config.simgan.loss.regularisation))
        (folder / "report").mkdir()
        (folder / "report" / "metrics.json").write_text(json.dumps({"kid": 0.5}))

    monkeypatch.setattr(sweeps, "evaluate", judge)
    file, workdir = sweep_file(root, tmp_path, **PLAIN_AND_STRICT), tmp_path / "runs"
    sweeps.run(file, workdir, together=True)
    assert judged == [
        (f"{arm}-seed{seed}", 10, 0.1 if arm == "strict" else 0.01) for arm in PLAIN_AND_STRICT for seed in (0, 1)
    ]
    first, second = (load_model(workdir / f"plain-seed{s}", ("refiner_average",)).params for s in (0, 1))
    assert not all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))
    sweeps.run(file, workdir, together=True)  # finished: nothing is trained or judged again
    assert len(judged) == 4
    with pytest.raises(UserError, match="found --index as well"):
        sweeps.run(file, workdir, 0, together=True)
