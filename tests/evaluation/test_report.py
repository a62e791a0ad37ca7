"""The page is one offline file with every figure; the JSON is strict and says where numbers come from."""

import json
import re
from html.parser import HTMLParser

import flax.linen as nn
import ml_collections
import numpy as np
import pytest

from eyegan_jax.evaluation import fitting, gaze, metrics, refinement, report, results


class Tiny(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x.reshape(len(x), -1))


class Links(HTMLParser):
    """Collects every address a browser would load, and checks that tags close."""

    def __init__(self):
        super().__init__()
        self.addresses, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.addresses += [v for k, v in attributes if k in ("src", "href")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def labelled(count, seed, shade):
    rng = np.random.default_rng(seed)
    gaze_vectors = np.concatenate([rng.uniform(-0.3, 0.3, (count, 2)), -np.ones((count, 1))], axis=1)
    y, x = np.mgrid[:35, :55]
    centre = gaze_vectors[:, :2] * [20, 15] + [27, 17]
    distance = np.hypot(x - centre[:, 0, None, None], y - centre[:, 1, None, None])
    images = shade - 120 * np.clip(7.5 - distance, 0, 1) + rng.normal(0, 4, (count, 35, 55))
    vectors = gaze_vectors / np.linalg.norm(gaze_vectors, axis=1, keepdims=True)
    return np.clip(images, 0, 255).astype(np.uint8)[..., None], vectors.astype(np.float32)


@pytest.fixture
def run():
    (raw, raw_gaze), (train, train_gaze), (test, test_gaze) = (
        labelled(n, seed, shade) for n, seed, shade in ((60, 0, 150), (50, 1, 190), (40, 2, 190))
    )
    return refinement.RefinerRun(
        refine=lambda images: np.clip(images.astype(int) + 40, 0, 255).astype(np.uint8),
        discriminate=lambda images: np.stack([images, 255 - images], -1)[:, ::9, ::9, 0].astype(float),
        simulated=raw,
        simulated_gaze=raw_gaze,
        real_train=train,
        real_train_gaze=train_gaze,
        real_test=test,
        real_test_gaze=test_gaze,
    )


def test_evaluating_a_perfect_refiner_writes_a_complete_offline_report(run, tmp_path, monkeypatch):
    monkeypatch.setattr(gaze, "NETWORKS", {"tiny": Tiny()})
    rows = [{"step": i, "loss/refiner": 2.0**-i, "loss/discriminator": 1.0} for i in range(5)]
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 5, "lo'
    (tmp_path / "metrics.jsonl").write_text(text)
    config = ml_collections.ConfigDict({"seed": 3, "name": "<script>alert(1)</script>"})
    options = {"estimators": ["tiny"], "seeds": [0, 1], "training": fitting.Training(steps=40, batch=16)}
    page = refinement.evaluate_refiner(tmp_path, run, "SimGAN on drawn eyes", config, "python evaluate.py", **options)

    html = page.read_text()
    links = Links()
    links.feed(html)
    assert not links.open
    assert len(links.addresses) >= 3 and all(a.startswith("data:image/png;base64,") for a in links.addresses)
    assert not re.search(r"https?://|url\(|@import|<script", html)
    assert "python evaluate.py" in html and "±" in html and "&lt;script&gt;" in html

    found = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert found["label_preservation"]["shift"]["n"] == 60
    assert found["label_preservation"]["shift"]["mean"] < 0.1
    near = found["distances"]
    assert near["refined"]["kid"]["mean"] < near["raw"]["kid"]["mean"] / 3
    assert near["raw"]["features"] == "gabor-98" and near["raw"]["n_reference"] == 40
    assert found["change"]["gray_levels"]["mean"] == pytest.approx(40, abs=1)
    assert found["gaze"]["estimators"]["tiny"]["refined"]["error"]["n"] == 2
    assert 0 <= found["discriminator_accuracy"]["images"] <= 100

    for kind in ("real", "refined", "raw"):
        assert len(list((tmp_path / "report" / "turing" / kind).glob("*.png"))) == 40


def test_a_run_without_gaze_labels_says_so(run):
    import dataclasses

    fields = {f.name: getattr(run, f.name) for f in dataclasses.fields(run) if f.init}
    bare = refinement.RefinerRun(**{**fields, "real_test_gaze": None, "discriminate": None})
    found = refinement.measure(bare)
    assert "gaze" not in found and "discriminator_accuracy" not in found
    assert "no gaze labels" in report.render(refinement.build_report(bare, found, "t"))


def test_cells_read_as_figures():
    assert report.cell(metrics.Mean([7.0, 8.0]).result()) == "7.5 ± 0.707 (n = 2)"
    assert report.cell(metrics.Mean([7.0]).result()) == "7 (n = 1)"
    assert report.cell({"mean": 12.5, "std": 2e-15, "n": 3}) == "12.5 ± 0 (n = 3)"
    assert report.cell(metrics.Mean().result()) == "-" == report.cell(None)
    assert report.cell(12345) == "12,345" and report.cell(0.00012) == "1.20e-04" and report.cell("x") == "x"


def test_record_states_command_config_versions_and_hardware(tmp_path):
    config = ml_collections.ConfigDict({"model": {"width": 64}})
    path = results.record(
        "gaze",
        "python train.py",
        config,
        {
            "raw": np.float32(9.5),
            "curve": np.arange(3),
            "bad": float("nan"),
            "error": metrics.Mean([1, 2]).result(),
        },
        seeds=range(3),
        folder=tmp_path,
    )
    assert path == tmp_path / "gaze.json"
    found = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert set(found) == {"command", "config", "hardware", "versions", "seeds", "date", "results"}
    assert found["config"] == {"model": {"width": 64}} and found["seeds"] == [0, 1, 2]
    assert found["results"] == {
        "raw": 9.5,
        "curve": [0, 1, 2],
        "bad": None,
        "error": {"mean": 1.5, "std": pytest.approx(0.5**0.5), "n": 2},
    }
    assert found["versions"]["jax"] and found["hardware"]["backend"] and found["hardware"]["cores"] >= 1
    assert not list(tmp_path.glob("*.partial"))
