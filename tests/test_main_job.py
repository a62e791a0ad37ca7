"""The main job as a newcomer runs it, on a machine without TensorFlow: train on the simulator, then evaluate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NO_TENSORFLOW = "import sys; sys.modules |= dict.fromkeys(('tensorflow', 'tensorflow_datasets'))"
"""For sitecustomize: None means that there is no such module, to ``import`` and to ``importlib.util.find_spec``."""


@pytest.fixture(scope="module")
def bare(root, tmp_path_factory):
    """``bare(*command)``: its output, in a Python that has no TensorFlow."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(NO_TENSORFLOW)
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment |= {"PYTHONPATH": f"{site}{os.pathsep}{root}", "JAX_PLATFORMS": "cpu"}

    def command(*arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return command


@pytest.fixture(scope="module")
def workdir(bare, tmp_path_factory) -> Path:
    """Of a trained run of the smoke variant."""
    workdir = tmp_path_factory.mktemp("main") / "run"
    assert "trained 20 steps" in bare("train.py", "--config=configs/simgan.py:smoke", f"--workdir={workdir}")
    return workdir


def test_tensorflow_is_really_missing_there(bare):
    assert "no tensorflow" in bare(
        "-c", "import importlib.util\ntry: import tensorflow\nexcept ImportError: print('no tensorflow')"
    )


def test_training_leaves_metrics_pictures_and_a_checkpoint(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 21))
    assert all(np.isfinite(value) for line in lines for value in line.values() if isinstance(value, float))
    assert list((workdir / "checkpoints").glob("20")) and (workdir / "config.json").is_file()
    picture = np.asarray(Image.open(sorted((workdir / "samples").glob("*.png"))[-1]))
    assert picture.std() > 10


def test_evaluate_writes_one_page_and_its_figures(bare, workdir):
    bare("evaluate.py", f"--workdir={workdir}", "--config.evaluation.estimators=('knn',)")
    report = workdir / "report"
    page = (report / "index.html").read_text()
    assert "data:image/png;base64," in page and "http://" not in page.replace("http://www.w3.org", "")
    found = json.loads((report / "metrics.json").read_text())
    errors = {name: row["error"]["mean"] for name, row in found["gaze"]["estimators"]["knn"].items()}
    assert set(errors) == {"raw", "refined", "real"}
    assert all(0.0 < error < 60.0 for error in errors.values())
    assert 0.0 <= found["discriminator_accuracy"]["images"] <= 100.0
    assert found["label_preservation"]["pairs"] == 128
    for kind in ("real", "refined"):
        assert len(list((report / "turing" / kind).glob("*.png"))) == 64
