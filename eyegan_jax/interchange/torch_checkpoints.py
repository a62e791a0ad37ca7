"""PyTorch checkpoint files (``.pth``) as NumPy arrays, and PyTorch's layouts as ours."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eyegan_jax.errors import UserError

PyTree = dict[str, Any]


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file written by ``torch.save(module.state_dict())``, by their names.

    Only tensors are read: a file that wants to run code while it is unpickled is refused. Prefixes of
    ``DataParallel`` (``module.``) are dropped, and a dictionary inside ``state_dict`` or ``model`` is found.
    Raises UserError where the file is missing, is no such file, or torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise UserError("import-torch needs PyTorch: pip install 'eyegan_jax[torch]'") from None
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: expected a PyTorch checkpoint, found no such file")
    try:
        with warnings.catch_warnings():
            # PyTorch warns of unusual pickles that it then refuses, or reads well.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, AttributeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path}: expected a PyTorch state_dict of tensors only, found: {reason[:160]}") from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path}: expected a PyTorch state_dict, found {type(content).__name__}")
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if len(tensors) < len(content):
        odd = next(name for name in content if name not in tensors)
        raise UserError(f"{path}: expected tensors only, found {odd} of type {type(content[odd]).__name__}")
    return {
        str(name).removeprefix("module."): value.detach().float().numpy()
        if value.is_floating_point()
        else value.numpy()
        for name, value in tensors.items()
    }


class Tensors:
    """The tensors of one state_dict, taken by name; what nobody took is in ``ignored``.

    ``optional`` positions of ``nn.Sequential`` (``layer0.0.0.weight`` for ``layer0.weight``) are seen
    through.
    """

    def __init__(self, state: Mapping[str, np.ndarray], what: str):
        self.what = what
        self._tensors = {self._plain(name): value for name, value in state.items()}
        self._taken: set[str] = set()

    @staticmethod
    def _plain(name: str) -> str:
        return re.sub(r"(\.0)+\.", ".", name)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def take(self, name: str) -> np.ndarray:
        """The tensor; raises UserError where there is none of this name."""
        if name not in self._tensors:
            raise UserError(f"{self.what}: expected a tensor {name}, found {', '.join(sorted(self._tensors)[:4])}, ...")
        self._taken.add(name)
        return self._tensors[name]

    @property
    def ignored(self) -> list[str]:
        """Names that nobody took."""
        return sorted(set(self._tensors) - self._taken)

    def count(self, pattern: str) -> int:
        """How many numbers ``i`` from 0 on have a tensor whose name starts with ``pattern.format(i)``."""
        number = 0
        while any(name.startswith(pattern.format(number)) for name in self._tensors):
            number += 1
        return number

    def conv(self, name: str) -> PyTree:
        """``{"kernel" [k, k, in, out], "bias"}`` of a plain convolution (``weight [out, in, k, k]``)."""
        return {"kernel": kernel(self.take(f"{name}.weight"))} | self._bias(name)

    def spectral_conv(self, name: str) -> tuple[PyTree, PyTree]:
        """Parameters and spectral state of a convolution under ``torch.nn.utils.spectral_norm``."""
        weight = self.take(f"{name}.weight_orig")
        _, inputs, height, width = weight.shape
        v = self.take(f"{name}.weight_v").reshape(inputs, height, width).transpose(1, 2, 0)
        return {"kernel": kernel(weight)} | self._bias(name), {"u": self.take(f"{name}.weight_u"), "v": v}

    def dense(self, name: str) -> PyTree:
        """``{"kernel" [in, out], "bias"}`` of a linear layer (``weight [out, in]``)."""
        return {"kernel": self.take(f"{name}.weight").T} | self._bias(name)

    def dense_of_map(self, name: str, channels: int, height: int, width: int) -> PyTree:
        """As :meth:`dense`, for a layer that reads a flattened map: PyTorch flattens C, H, W, we H, W, C."""
        weight = self.take(f"{name}.weight")
        if weight.shape[1] != channels * height * width:
            raise UserError(
                f"{self.what}: expected {name} to read {channels}x{height}x{width} features, found {weight.shape[1]}"
            )
        moved = weight.reshape(-1, channels, height, width).transpose(2, 3, 1, 0)
        return {"kernel": moved.reshape(-1, weight.shape[0])} | self._bias(name)

    def _bias(self, name: str) -> PyTree:
        return {"bias": self.take(f"{name}.bias")} if f"{name}.bias" in self else {}


def kernel(weight: np.ndarray) -> np.ndarray:
    """``[out, in, kh, kw]`` to ``[kh, kw, in, out]``."""
    return weight.transpose(2, 3, 1, 0)
