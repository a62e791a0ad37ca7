"""The recorded figures of Seg2Eye: the table of baselines, the swap test, the figure, and the ablations.

command:  python benchmarks/seg2eye_experiment.py main [--steps 6000]
          python benchmarks/seg2eye_experiment.py ablation [--steps 1500] [--seeds 3] [--variants spade,k1]
          and --config.a.b=value for a setting of every run
hardware: an accelerator
writes:   docs/results/seg2eye.json (both parts side by side), docs/images/seg2eye_styles.png (main), every
          run in runs/

Every run is ``configs/seg2eye.py:VARIANT`` by the trainer itself; one judge of content and one of style,
trained on real pictures alone, judge all of them. A run that has been trained before is not trained again.
"""

import argparse
import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import ml_collections  # noqa: E402

from eyegan_jax.cli import override  # noqa: E402
from eyegan_jax.data.streams import people_arrays  # noqa: E402
from eyegan_jax.evaluation import metrics, results, seg2eye  # noqa: E402
from eyegan_jax.models import load_model  # noqa: E402
from eyegan_jax.pictures import grid_png  # noqa: E402
from eyegan_jax.training import startup  # noqa: E402
from eyegan_jax.training.loop import train  # noqa: E402

VARIANTS = ("", "spade", "adain", "nogram", "nomatching", "k1", "k16", "batch")
FIGURES = ("rmse", "ssim", "kid", "miou_of_ceiling", "identity_top1", "encoder_top1")


class Judges:
    """Unseen people, and what tells content and style on their pictures; the same for all runs."""

    def __init__(self, config: ml_collections.ConfigDict):
        settings = config.evaluation
        known = people_arrays(config, config.data.eyes, "eyes")
        held_out = people_arrays(config, config.data.held_out, "held_out")
        self.people = seg2eye.split_people(held_out, settings.gallery, settings.targets)
        self.levels = seg2eye.class_means(known["image"], known["mask"])
        self.segment = seg2eye.train_segmenter(
            known["image"], known["mask"], settings.segmenter_steps, settings.segmenter_width
        )
        self.identify = seg2eye.identity_classifier(self.people.gallery_image)

    def measure(self, model: Any, references: int) -> dict[str, Any]:
        paint, encode = seg2eye.painter(model)
        found, _ = seg2eye.measure(
            paint, encode, self.people, self.segment, self.identify, self.levels, references
        )
        return found | {"steps": model.step}


def config_of(variant: str, seed: int, steps: int, overrides: Sequence[str]) -> ml_collections.ConfigDict:
    config = runpy.run_path(str(ROOT / "configs" / "seg2eye.py"))["get_config"](variant).unlock()
    config.seed, config.steps = seed, steps
    config.run.samples_every = config.run.checkpoint_every = 0
    return override(config, overrides)


def trained(variant: str, seed: int, steps: int, folder: Path, overrides: Sequence[str]) -> tuple[Any, Any]:
    """The model of one run and its config, trained if it has not been."""
    config = config_of(variant, seed, steps, overrides)
    workdir = folder / f"seg2eye-{variant or 'default'}-{steps}-{seed}"
    train(config, workdir)
    return load_model(workdir, ("average",)), config


def ablation_row(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of every figure over the seeds of one variant."""

    def value(run, name):
        figure = run["table"]["seg2eye"][name]
        return figure["mean"] if isinstance(figure, dict) else figure

    row = {name: metrics.Mean(value(run, name) for run in runs).result() for name in FIGURES}
    for name in ("style_person_top1", "mask_person_top1", "miou"):
        row[f"swap_{name}"] = metrics.Mean(run["swap"][name] for run in runs).result()
    return row


def note(part: str, found: Any, config: Any, seeds: Sequence[int]) -> None:
    """Put one part into docs/results/seg2eye.json beside the other."""
    path = ROOT / "docs" / "results" / "seg2eye.json"
    before = json.loads(path.read_text())["results"] if path.exists() else {}
    command = f"python benchmarks/seg2eye_experiment.py {' '.join(sys.argv[1:])}"
    both = before | {part: found | {"command": command}}
    results.record("seg2eye", command, config.to_dict(), both, seeds, path.parent)
    print(json.dumps(results.plain(found), indent=1), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("main", "ablation"))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, default=3, help="of the ablation")
    parser.add_argument(
        "--variants", default=",".join(VARIANTS), help="of the ablation; the empty one is the default"
    )
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    options, overrides = parser.parse_known_args()
    startup.start()
    print(f"on {jax.device_count()} x {jax.devices()[0].device_kind}", flush=True)
    if options.part == "main":
        model, config = trained("", 0, options.steps or 6000, options.runs, overrides)
        judges = Judges(config)
        references = config.evaluation.references
        paint, _ = seg2eye.painter(model)
        rows, columns = config.evaluation.grid_rows, config.evaluation.grid_columns
        grid = seg2eye.style_grid(paint, judges.people, rows, columns, references)
        grid_png(grid, ROOT / "docs" / "images" / "seg2eye_styles.png")
        note("main", judges.measure(model, references), config, [0])
        return
    judges, table = None, {}
    for variant in options.variants.split(","):
        runs = []
        for seed in range(options.seeds):
            model, config = trained(variant, seed, options.steps or 1500, options.runs, overrides)
            judges = judges or Judges(config)
            runs.append(judges.measure(model, config.data.eyes.references))
        table[variant or "default"] = ablation_row(runs)
        note("ablation", {"variants": table, "steps": options.steps or 1500}, config, range(options.seeds))


if __name__ == "__main__":
    main()
