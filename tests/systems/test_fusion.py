"""Retrieval and painting in one system: who learns when, and what the painting is to the refiner."""

import runpy

import jax
import numpy as np
import pytest

from eyegan_jax.errors import UserError
from eyegan_jax.systems import fusion
from eyegan_jax.systems.residual import samples
from eyegan_jax.training.parallel import Parallel

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def config(root):
    config = runpy.run_path(str(root / "configs" / "residual.py"))["get_config"]("fusion").unlock()
    config.image_shape = (16, 16, 1)
    config.residual.references.update({"width": 4, "detail": 4})
    config.residual.loss.update({"adversarial": 0.0, "feature_matching": 0.0})
    config.seg2eye.generator.update({"width": 4, "scales": 1, "mask_features": 4})
    config.seg2eye.encoder.update({"width": 4, "size": 16, "code": 4})
    config.seg2eye.discriminator.update({"width": 4, "layers": 2, "scales": 1})
    return config


def batch_of(count=2, references=2, seed=0):
    rng = np.random.default_rng(seed)
    image, mask = (
        (lambda *s: rng.integers(0, 256, s, dtype=np.uint8)),
        (lambda *s: rng.integers(0, 4, s, dtype=np.uint8)),
    )
    return {
        "eyes": {
            "image": image(count, 1, 16, 16, 1),
            "mask": mask(count, 1, 16, 16),
            "references": image(count, 1, references, 16, 16, 1),
            "reference_masks": mask(count, 1, references, 16, 16),
        }
    }


def changed(before, after):
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return any(not np.array_equal(a, b) for a, b in pairs)


def test_painter_learns_first_then_the_refiner_alone(config):
    system, batch = fusion.build(config), batch_of()
    assert [phase.name for phase in system.phases] == ["paint", "fuse"]
    parallel = Parallel("pmap", jax.devices()[:1])
    start = jax.jit(lambda k: system.init(k, batch, 1))(jax.random.key(0))
    sharding = system.sharding(start)
    states = [jax.device_get(start)]
    for phase in system.phases:

        def step(state, resident, batch, phase=phase):
            del resident
            return phase.step(state, batch, jax.random.key(1))

        state = parallel.place(states[-1], sharding)
        state, metrics = parallel.compile(step, sharding)(state, {}, parallel.shard_batch(batch))
        states.append(jax.device_get(state))
    start, painted, fused = states
    assert changed(start.painter.painter, painted.painter.painter) and not changed(start.refiner, painted.refiner)
    assert not changed(painted.painter, fused.painter) and changed(painted.refiner.params, fused.refiner.params)
    assert "loss/openeds" in metrics
    assert system.pictures(fused, batch).shape == (6, 2, 16, 16, 1)

    # Before it has learned, the refiner trusts whatever fits the mask: the painting, not references that differ.
    mask, _, references, reference_masks = samples(batch)
    wrong = (mask[:, None] + 1) % 4 + 0 * reference_masks
    variables = system.variables(painted)
    painting = system.painter.synthesize(variables["painter"], mask, references)
    np.testing.assert_allclose(system.refine(variables, mask, references, wrong), painting, atol=0.1)


def test_one_reference_networks_are_refused(config):
    wrong = config.copy_and_resolve_references()
    wrong.residual.network = "deeplab"
    with pytest.raises(UserError, match="expected 'references' for fusion, found 'deeplab'"):
        fusion.build(wrong)
