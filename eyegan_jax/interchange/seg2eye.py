"""Seg2Eye's and SPADE's released PyTorch networks, by the names of their checkpoints, as ours.

Every function reads the sizes from the tensors and returns ``(network, variables, ignored)``: a Flax module
that computes what the released code computes, its collections, and the names that this computation does not
need.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from eyegan_jax.data.streams import stream_config
from eyegan_jax.errors import UserError
from eyegan_jax.interchange.torch_checkpoints import PyTree, Tensors, read_state_dict
from eyegan_jax.networks.patch_discriminator import PatchDiscriminator
from eyegan_jax.networks.style_encoder import FINAL, StyleEncoder
from eyegan_jax.networks.style_generator import StyleGenerator
from eyegan_jax.systems import seg2eye_settings
from eyegan_jax.systems.seg2eye import Seg2EyeState, build
from eyegan_jax.training.checkpoints import Checkpoints
from eyegan_jax.training.defaults import base_config

State = Mapping[str, np.ndarray]


def generator_from_torch(state: State) -> tuple[StyleGenerator, PyTree, list[str]]:
    """A Seg2Eye generator, or a plain SPADE generator (any number of output channels, no VAE).

    SPADE was trained with batch statistics and runs with its running averages
    (``param_free_norm.running_*``); Seg2Eye's released code always normalises by the statistics of the image
    at hand, so its averages are dead. Both run ``num_upsampling_layers='normal'``: 5 doublings. Raises
    UserError for anything else.
    """
    tensors = Tensors(state, "generator checkpoint")
    start = tensors.take("fc.weight")
    if start.ndim != 4:
        raise UserError("generator checkpoint: expected a convolution fc (a start from the mask), found a linear one")
    blocks = ["head_0", "G_middle_0", "G_middle_1", *(f"up_{i}" for i in range(tensors.count("up_{}.")))]
    scales = len(blocks) - 2
    seg2eye = "head_0.norm_0.adain.linear.weight" in tensors
    generator = StyleGenerator(
        width=start.shape[0] >> (scales - 1),
        scales=scales,
        labels=start.shape[1],
        channels=len(tensors.take("conv_img.weight")),
        mask_features=len(tensors.take(f"head_0.norm_0.{'spade.' if seg2eye else ''}mlp_shared.weight")),
        modulation="both" if seg2eye else "spade",
        statistics="instance" if seg2eye else "batch",
        raw_adain=seg2eye,
    )
    variables: PyTree = {
        "params": {"fc": tensors.conv("fc"), "conv_img": tensors.conv("conv_img")},
        "spectral": {},
        "batch_stats": {},
    }
    for i, name in enumerate(blocks):
        for collection, content in _block(tensors, name, seg2eye).items():
            variables[collection][f"blocks_{i}"] = content
    if seg2eye:
        del variables["batch_stats"]
    return generator, variables, tensors.ignored


def _block(tensors: Tensors, name: str, seg2eye: bool) -> dict[str, PyTree]:
    """The collections of one residual block."""
    params: PyTree = {}
    spectral: PyTree = {}
    statistics: PyTree = {}
    layers = ["0", "1"] + (["s"] if f"{name}.conv_s.weight_orig" in tensors else [])
    for layer in layers:
        params[f"conv_{layer}"], spectral[f"conv_{layer}"] = tensors.spectral_conv(f"{name}.conv_{layer}")
    for i, layer in enumerate(layers):
        norm = f"{name}.norm_{layer}"
        spade = f"{norm}.spade" if seg2eye else norm
        gamma, beta = (tensors.conv(f"{spade}.mlp_{part}") for part in ("gamma", "beta"))
        joined = {key: np.concatenate([gamma[key], beta[key]], axis=-1) for key in gamma}
        params[f"mask_{i}"] = {"trunk": tensors.conv(f"{spade}.mlp_shared"), "gamma_beta": joined}
        if seg2eye:
            params[f"style_{i}"] = tensors.dense(f"{norm}.adain.linear")
        elif layer != "s":  # the shortcut normalises what the first layer does
            mean, variance = (tensors.take(f"{norm}.param_free_norm.running_{part}") for part in ("mean", "var"))
            statistics[f"content_{i}"] = {
                "mean": mean.reshape(1, 1, 1, -1),
                "variance": variance.reshape(1, 1, 1, -1),
            }
    return {"params": params, "spectral": spectral, "batch_stats": statistics}


def encoder_from_torch(state: State, aggregate: str = "max") -> tuple[StyleEncoder, PyTree, list[str]]:
    """A released style encoder; ``aggregate`` ("max" or "mean") is not in the file."""
    tensors = Tensors(state, "encoder checkpoint")
    layers = tensors.count("layer{}.")
    params: PyTree = {}
    spectral: PyTree = {}
    for i in range(layers):
        params[f"layer{i}"], spectral[f"layer{i}"] = tensors.spectral_conv(f"layer{i}")
    if not layers:
        tensors.take("layer0.weight_orig")
    last = params[f"layer{layers - 1}"]["kernel"].shape[-1]
    for head in ("fc_mu", "fc_var"):
        params[head] = tensors.dense_of_map(head, last, FINAL, FINAL)
    encoder = StyleEncoder(
        width=params["layer0"]["kernel"].shape[-1],
        code=params["fc_mu"]["kernel"].shape[-1],
        size=FINAL << layers,
        aggregate=aggregate,
        released=True,
    )
    return encoder, {"params": params, "spectral": spectral}, tensors.ignored


def discriminator_from_torch(state: State, channels: int = 1) -> tuple[PatchDiscriminator, PyTree, list[str]]:
    """A released multi-scale discriminator for images of ``channels`` channels."""
    tensors = Tensors(state, "discriminator checkpoint")
    scales, layers = tensors.count("discriminator_{}."), tensors.count("discriminator_0.model{}.") - 1
    params: dict[str, Any] = {}
    spectral: dict[str, Any] = {}
    for i in range(scales):
        critic: PyTree = {}
        pairs: PyTree = {}
        for layer in range(layers + 1):
            name = f"discriminator_{i}.model{layer}"
            if 0 < layer < layers:
                critic[f"model{layer}"], pairs[f"model{layer}"] = tensors.spectral_conv(name)
            else:
                critic[f"model{layer}"] = tensors.conv(name)
        params[f"discriminator_{i}"], spectral[f"discriminator_{i}"] = critic, pairs
    first = tensors.take("discriminator_0.model0.weight")
    discriminator = PatchDiscriminator(
        width=first.shape[0], layers=layers, scales=scales, labels=first.shape[1] - channels
    )
    return discriminator, {"params": params, "spectral": spectral}, tensors.ignored


def import_checkpoint(file: Path, dest: Path, aggregate: str = "max") -> list[str]:
    """Write ``dest``, a run like a trained one, from PyTorch files; the names of the tensors that were not
    needed.

    file: ``NAME_net_G.pth``; ``NAME_net_E.pth`` and ``NAME_net_D.pth`` are taken from beside it. A plain
        SPADE generator
    has no encoder, and a discriminator is needed for further training only: what is missing is fresh.
    aggregate: how the encoder joins references, "max" or "mean"; the file does not say.

    Raises UserError for files that are no such networks, and for a ``dest`` that holds a run.
    """
    file, dest = Path(file), Path(dest)
    if (dest / "config.json").exists():
        raise UserError(f"{dest}: expected a new folder, found a run")
    generator, painted, ignored = generator_from_torch(read_state_dict(file))
    found: dict[str, tuple[Any, PyTree]] = {"generator": (generator, painted)}
    readers: dict[str, Callable[..., Any]] = {
        "E": partial(encoder_from_torch, aggregate=aggregate),
        "D": discriminator_from_torch,
    }
    for letter, name in (("E", "encoder"), ("D", "discriminator")):
        beside = file.with_name(file.name.replace("net_G", f"net_{letter}"))
        if beside != file and beside.exists():
            options = {"channels": generator.channels} if letter == "D" else {}
            network, variables, rest = readers[letter](read_state_dict(beside), **options)
            found[name] = (network, variables)
            ignored += rest
    if generator.modulation == "both" and "encoder" not in found:
        expected = file.with_name(file.name.replace("net_G", "net_E"))
        raise UserError(f"{file}: expected the style encoder beside it in {expected.name}, found none")
    config = _config_of({name: network for name, (network, _) in found.items()})
    state = _state_of(config, {name: variables for name, (_, variables) in found.items()})
    dest.mkdir(parents=True, exist_ok=True)
    (dest / "config.json").write_text(json.dumps(json.loads(config.to_json_best_effort()), indent=2) + "\n")
    with Checkpoints(dest) as checkpoints:
        checkpoints.save(0, state, {"step": 0, "seed": 0, "images": 0})
        checkpoints.wait()
    return ignored


def _config_of(networks: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """The released settings with the sizes of the networks that were found."""
    config = base_config("seg2eye")
    config.batch_size = 1
    generator = networks["generator"]
    config.image_shape = (10 << generator.scales, 8 << generator.scales, generator.channels)
    config.data = ml_collections.ConfigDict({"backend": "auto", "fields": {"eyes": ("image", "mask", "subject")}})
    config.data.eyes = stream_config("openeds", split="train", references=4)
    config.data.held_out = stream_config("openeds", split="validation")
    config.seg2eye = seg2eye_settings.official()
    for name, network in networks.items():
        for setting in config.seg2eye[name]:
            config.seg2eye[name][setting] = getattr(network, setting)
    return config


def _state_of(config: ml_collections.ConfigDict, variables: Mapping[str, PyTree]) -> Seg2EyeState:
    """A fresh state with the imported networks in it."""
    system = build(config)
    height, width, channels = config.image_shape
    shapes = {
        "image": (height, width, channels),
        "mask": (height, width),
        "references": (1, height, width, channels),
    }
    batch = {"eyes": {name: np.zeros((1, 1, *shape), np.uint8) for name, shape in shapes.items()}}
    init = partial(system.init, devices=1)
    if len(variables) == 3:
        # Nothing is left to chance, so nothing has to be compiled; optimisers start from zeros.
        state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(init, jax.random.key(0), batch))
    else:
        state = jax.jit(init)(jax.random.key(0), batch)
    painter, spectral, average = dict(state.painter), dict(state.spectral), dict(state.average)
    for name in ("generator", "encoder"):
        if name in variables:
            painter[name], spectral[name] = variables[name]["params"], variables[name]["spectral"]
            average[name] = variables[name]
    discriminator = state.discriminator
    if "discriminator" in variables:
        discriminator = variables["discriminator"]["params"]
        spectral["discriminator"] = variables["discriminator"]["spectral"]
    new = state.replace(
        painter=painter,
        average=average,
        discriminator=discriminator,
        spectral=spectral,
        batch_stats=variables["generator"].get("batch_stats", {}),
    )
    _check_shapes(new, state)
    return jax.tree.map(jnp.asarray, new)


def _check_shapes(new: Seg2EyeState, fresh: Seg2EyeState) -> None:
    def check(path, a, b):
        if a.shape != b.shape:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise UserError(f"PyTorch checkpoints: expected {name} of shape {b.shape}, found {a.shape}")

    jax.tree_util.tree_map_with_path(check, new, fresh)
