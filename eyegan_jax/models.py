"""Trained models ready for use: a run's newest checkpoint, or a released model of a few files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.traverse_util
import ml_collections
import numpy as np

from eyegan_jax.errors import UserError
from eyegan_jax.training.checkpoints import Checkpoints, load_config

RELEASED = Path(__file__).parent / "checkpoints"
"""Models that come with the package, one folder each: config.json, params.npz, metrics.json."""

PACKAGE = "package"
"""In ``config.start``: the model of this system that comes with the package."""


@dataclass(frozen=True)
class Model:
    """The config of a run and the parameters that its system uses after training."""

    config: ml_collections.ConfigDict
    params: Any
    path: Path
    step: int


def run_config(path: Path) -> ml_collections.ConfigDict:
    """The config that a run was trained with; sequences are tuples again, as config files write them."""

    def restore(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: restore(child) for key, child in value.items()}
        return tuple(restore(child) for child in value) if isinstance(value, list) else value

    return ml_collections.ConfigDict(restore(load_config(path)))


def released(name: str) -> Path:
    """The folder of a model that comes with the package; raises UserError where this build has none."""
    path = RELEASED / name
    if not path.is_dir():
        raise UserError(f"--checkpoint: expected a run or model, since no {name} comes with this installation")
    return path


def load_model(path: Path | str, names: tuple[str, ...]) -> Model:
    """The model in ``path``, a run's workdir or a released model; ``params`` maps each of ``names`` to its tree.

    names: fields of the system's state, for SimGAN ``("refiner_average",)``.
    Raises UserError where there is no model or it lacks a name.
    """
    path = Path(path)
    config = run_config(path)
    if (path / "params.npz").exists():
        with np.load(path / "params.npz") as arrays:
            step = int(arrays["step"])
            leaves = {tuple(k.split("/")): arrays[k] for k in arrays if k != "step"}
        leaves = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in leaves.items()}
        tree = flax.traverse_util.unflatten_dict(leaves)
    else:
        if not (path / "checkpoints").is_dir():
            raise UserError(f"{path}: expected a run with checkpoints, found none")
        with Checkpoints(path, read_only=True) as checkpoints:
            step, tree = checkpoints.load_newest()
    missing = [name for name in names if name not in tree]
    if missing:
        raise UserError(f"{path}: expected a model with {', '.join(names)}, found a {config.system} run")
    return Model(config, {name: tree[name] for name in names}, path, step)


def starting_parts(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Averaged variables of the trained models that ``config.start`` names, by the part of the system they are for.

    A name is a run's folder, a released model's, or :data:`PACKAGE`. Raises UserError where there is none.
    """
    chosen = {part: path for part, path in config.get("start", {}).items() if path}
    folders = {part: released(config.system) if path == PACKAGE else path for part, path in chosen.items()}
    return {part: load_model(path, ("average",)).params["average"] for part, path in folders.items()}


def release(workdir: Path, dest: Path, names: tuple[str, ...], half: bool = False) -> None:
    """Write the part of a run that is needed after training to ``dest``: float32 arrays and the config.

    The config forgets the folders of data and of runs that this one went on from, which are of the machine that
    trained, and whether it computed in bfloat16: what is used after training computes in float32.
    half: store float16, for half the size; loading makes float32 of it.
    """
    model = load_model(workdir, names)
    flat = flax.traverse_util.flatten_dict(model.params)
    dest.mkdir(parents=True, exist_ok=True)
    arrays: Any = {"/".join(key): np.asarray(value) for key, value in flat.items()}
    if half:
        arrays = {name: v.astype(np.float16) if v.dtype == np.float32 else v for name, v in arrays.items()}
    np.savez_compressed(dest / "params.npz", step=model.step, **arrays)
    config = _without_folders(json.loads(model.config.to_json_best_effort())) | {"dtype": "float32"}
    (dest / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _without_folders(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    forgotten = {key: None if key in ("dir", "table") else _without_folders(tree[key]) for key in tree}
    if "start" in tree:
        forgotten["start"] = {part: name if name == PACKAGE else "" for part, name in tree["start"].items()}
    return forgotten
