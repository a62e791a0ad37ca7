"""Sweep files, and the table of whatever has finished."""

import json

import pytest

from eyegan_jax.errors import UserError
from eyegan_jax.evaluation import sweeps


@pytest.fixture
def sweep_file(tmp_path):
    file = tmp_path / "sweep.py"
    file.write_text(
        "import ml_collections\n"
        "def get_sweep():\n"
        "    config = ml_collections.ConfigDict({'seed': 0, 'a': {'b': 1.0}})\n"
        "    return {'config': config, 'seeds': [0, 1], 'arms': {'plain': {}, 'twice': {'a.b': 2.0}},\n"
        "            'columns': {'error': 'gaze.error.mean', 'KID': 'kid'}}\n"
    )
    return file


def test_every_arm_and_seed_is_a_run(sweep_file):
    runs, _ = sweeps.load(sweep_file)
    assert [(r.name, r.config.a.b, r.config.seed) for r in runs] == [
        ("plain-seed0", 1.0, 0),
        ("plain-seed1", 1.0, 1),
        ("twice-seed0", 2.0, 0),
        ("twice-seed1", 2.0, 1),
    ]


def test_table_shows_means_spread_and_gaps(sweep_file, tmp_path):
    for seed, error in enumerate((4.0, 6.0)):
        report = tmp_path / "runs" / f"plain-seed{seed}" / "report"
        report.mkdir(parents=True)
        (report / "metrics.json").write_text(json.dumps({"gaze": {"error": {"mean": error}}, "kid": 0.5}))
    lines = sweeps.table(sweep_file, tmp_path / "runs").splitlines()
    assert lines[0] == "| arm | seeds | error | KID |"
    assert lines[2] == "| plain | 2 | 5 ± 1.41 | 0.5 ± 0 |"
    assert lines[3] == "| twice | 0 | - | - |"


def test_wrong_index_and_missing_file(sweep_file, tmp_path):
    with pytest.raises(UserError, match="0 to 3"):
        sweeps.run(sweep_file, tmp_path, 4)
    with pytest.raises(UserError, match="expected a file"):
        sweeps.load(tmp_path / "none.py")


def test_shipped_sweeps_load(root):
    for file in sorted((root / "configs" / "sweeps").glob("*.py")):
        runs, columns = sweeps.load(file)
        assert runs and columns, file
        assert len({entry.name for entry in runs}) == len(runs)
