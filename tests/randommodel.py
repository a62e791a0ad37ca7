"""A released model with random networks, for tests of the commands that use one."""

from functools import partial

import flax.traverse_util
import jax
import numpy as np


def write_model(folder, config, system, batch, deviation):
    """``folder`` with config.json and params.npz: ``average`` of the system's state, normal with ``deviation``."""
    average = jax.eval_shape(partial(system.init, devices=1), jax.random.key(0), batch).average
    rng = np.random.default_rng(0)
    flat = flax.traverse_util.flatten_dict({"average": average})
    arrays = {"/".join(k): rng.normal(0, deviation, v.shape).astype(np.float32) for k, v in flat.items()}
    np.savez(folder / "params.npz", step=3, **arrays)
    (folder / "config.json").write_text(config.to_json_best_effort())
    return folder
