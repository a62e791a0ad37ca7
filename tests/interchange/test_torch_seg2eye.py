"""Imported PyTorch weights compute what PyTorch computes; hostile and foreign files are refused."""

import importlib.util
import os
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax.errors import UserError
from eyegan_jax.interchange import seg2eye
from eyegan_jax.interchange.torch_checkpoints import read_state_dict
from eyegan_jax.layers import spectral
from eyegan_jax.models import load_model
from eyegan_jax.systems import build_system

torch = pytest.importorskip("torch")
SOURCE = Path(__file__).parents[2] / "benchmarks" / "torch_seg2eye.py"
SIZES = [(160, 96), (320, 256)]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("torch_seg2eye", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save(module, path):
    """Random weights large enough that every layer matters, written as the released code writes them."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            gain = 0.3 if "bias" in name else (1.0 if "orig" in name else 2.0) / parameter[0].numel() ** 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * gain)
    torch.save(module.state_dict(), path)
    return read_state_dict(path)


def advanced(variables):
    """One power iteration, as PyTorch does in every training forward pass."""
    return variables | {"spectral": spectral.advance(variables["params"], variables["spectral"])}


def assert_close(ours, theirs):
    theirs = theirs.detach().numpy()
    theirs = np.moveaxis(theirs, 1, -1) if theirs.ndim == 4 else theirs
    assert np.asarray(ours).shape == theirs.shape
    assert np.std(theirs) > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.max(np.abs(theirs)))


def inputs(height, width, count=1):
    numbers = np.random.default_rng(0)
    batch = 2 if height < 200 else 1
    mask = numbers.integers(0, 4, (batch, height // 8, width // 8)).repeat(8, 1).repeat(8, 2)
    images = numbers.uniform(-1, 1, (batch, count, height, width, 1)).astype(np.float32)
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(mask), 4).permute(0, 3, 1, 2).float()
    return jnp.asarray(mask), images, one_hot, torch.from_numpy(np.moveaxis(images, -1, 2).copy())


@pytest.mark.parametrize("size", SIZES)
def test_generator(reference, tmp_path, size):
    theirs = reference.Generator(width=4, hidden=8)
    ours, variables, ignored = seg2eye.generator_from_torch(save(theirs, tmp_path / "G.pth"))
    assert (ours.width, ours.mask_features, ours.labels, ours.raw_adain) == (4, 8, 4, True)
    assert ignored == []
    mask, _, one_hot, _ = inputs(*size)
    style = np.random.default_rng(1).normal(size=(len(mask), 16)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(one_hot, torch.from_numpy(style))
        frozen = theirs.eval()(one_hot, torch.from_numpy(style))
    result = jax.jit(ours.apply)(advanced(variables), mask, style)
    assert_close(result, expected)
    assert_close(result, frozen)


@pytest.mark.parametrize(("size", "aggregate"), [(SIZES[0], "mean"), (SIZES[1], "max")])
def test_encoder(reference, tmp_path, size, aggregate):
    theirs = reference.Encoder(width=4, reduce=aggregate)
    ours, variables, ignored = seg2eye.encoder_from_torch(save(theirs, tmp_path / "E.pth"), aggregate)
    assert ours.size == 256 and ignored == []
    _, images, _, channels_first = inputs(*size, count=3)
    with torch.no_grad():
        code, features = theirs(channels_first)
    own_code, own_features = jax.jit(ours.apply)(advanced(variables), images)
    assert_close(own_code, code)
    for own, other in zip(own_features, features, strict=True):
        assert_close(own, other)


@pytest.mark.parametrize("size", SIZES)
def test_discriminator(reference, tmp_path, size):
    theirs = reference.Discriminator(width=4)
    ours, variables, ignored = seg2eye.discriminator_from_torch(save(theirs, tmp_path / "D.pth"))
    assert ignored == []
    mask, images, one_hot, channels_first = inputs(*size)
    with torch.no_grad():
        expected = theirs(one_hot, channels_first[:, 0])
    results = jax.jit(ours.apply)(advanced(variables), mask, images[:, 0])
    for own_scale, scale in zip(results, expected, strict=True):
        for own, other in zip(own_scale, scale, strict=True):
            assert_close(own, other)


def test_plain_spade_generator_runs_on_its_running_averages(reference, tmp_path):
    theirs = reference.Generator(width=4, hidden=8, channels=3, norm=reference.PlainSpade)
    mask, _, one_hot, _ = inputs(160, 96)
    save(theirs, tmp_path / "untrained.pth")
    with torch.no_grad():
        for module in theirs.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        theirs(one_hot, None)
        torch.save(theirs.state_dict(), tmp_path / "G.pth")
        expected = theirs.eval()(one_hot.flip(3), None)
    ours, variables, ignored = seg2eye.generator_from_torch(read_state_dict(tmp_path / "G.pth"))
    assert (ours.modulation, ours.statistics, ours.channels) == ("spade", "batch", 3)
    assert all("norm_s.param_free_norm" in name or "num_batches" in name for name in ignored)
    assert_close(jax.jit(ours.apply)(variables, mask[:, :, ::-1]), expected)


def test_data_parallel_prefix_is_dropped(reference, tmp_path):
    theirs = reference.Discriminator(width=2)
    torch.save({"state_dict": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, tmp_path / "D.pth")
    ours, _, _ = seg2eye.discriminator_from_torch(read_state_dict(tmp_path / "D.pth"))
    assert ours.width == 2


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    bomb = tmp_path / "made_by_the_checkpoint"
    torch.save({"weight": Hostile(bomb)}, tmp_path / "new.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"weight": Hostile(bomb)}))
    for name in ("new.pth", "old.pth"):
        with pytest.raises(UserError, match=name):
            read_state_dict(tmp_path / name)
    assert not bomb.exists()


def test_other_files_are_refused_by_name(reference, tmp_path):
    (tmp_path / "text.pth").write_text("not a checkpoint")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    for name in ("text.pth", "tensor.pth", "missing.pth"):
        with pytest.raises(UserError, match=name):
            read_state_dict(tmp_path / name)
    foreign = {"conv1.weight": np.zeros((8, 4, 3, 3))}
    with pytest.raises(UserError, match=r"fc\.weight"):
        seg2eye.generator_from_torch(foreign)
    with pytest.raises(UserError, match="layer0"):
        seg2eye.encoder_from_torch(foreign)
    with pytest.raises(UserError, match="discriminator_0"):
        seg2eye.discriminator_from_torch(foreign)


def test_imported_files_become_a_run_that_paints(reference, tmp_path):
    networks = {
        "G": reference.Generator(width=2, hidden=3),
        "E": reference.Encoder(width=2, size=16),
        "D": reference.Discriminator(width=2),
    }
    states = {letter: save(network, tmp_path / f"latest_net_{letter}.pth") for letter, network in networks.items()}
    ignored = seg2eye.import_checkpoint(tmp_path / "latest_net_G.pth", tmp_path / "run")
    assert ignored == []
    model = load_model(tmp_path / "run", ("average", "discriminator"))
    assert model.config.seg2eye.generator.raw_adain and model.config.seg2eye.encoder.size == 16
    kernel = model.params["discriminator"]["discriminator_1"]["model2"]["kernel"]
    stored = states["D"]["discriminator_1.model2.0.0.weight_orig"]
    np.testing.assert_array_equal(kernel, stored.transpose(2, 3, 1, 0))
    mask, images, one_hot, channels_first = inputs(96, 64, count=2)
    with torch.no_grad():
        for network in networks.values():
            network.eval()
        expected = networks["G"](one_hot, networks["E"](channels_first)[0])
    painted = jax.jit(build_system(model.config).synthesize)(model.params["average"], mask, images)
    # The files hold vectors that no power iteration has touched; ours reads them as PyTorch's eval() does.
    assert_close(painted, expected)
    with pytest.raises(UserError, match="found a run"):
        seg2eye.import_checkpoint(tmp_path / "latest_net_G.pth", tmp_path / "run")


def test_a_generator_without_its_encoder_is_refused(reference, tmp_path):
    save(reference.Generator(width=2, hidden=3), tmp_path / "latest_net_G.pth")
    with pytest.raises(UserError, match="latest_net_E"):
        seg2eye.import_checkpoint(tmp_path / "latest_net_G.pth", tmp_path / "run")
