"""Distributions of scalars and vectors, and how a whole table of them is drawn at once."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.simulator.noise import stage

RAD = math.pi / 180.0


@dataclass(frozen=True)
class Uniform:
    """Uniform between ``low`` and ``high``, ``shape`` independent values."""

    low: float
    high: float
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Normal:
    """Normal, truncated to [low, high]."""

    mean: float
    deviation: float
    low: float
    high: float
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sometimes:
    """0 with probability 1 - chance, else uniform between ``low`` and ``high``."""

    chance: float
    low: float
    high: float
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Each:
    """A vector whose elements have distributions of their own."""

    parts: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.parts), *self.parts[0].shape)


def scalars_of(entry):
    """The scalar distributions of an entry, in the order of its flattened elements."""
    if isinstance(entry, Each):
        return [scalar for part in entry.parts for scalar in scalars_of(part)]
    return [entry] * math.prod(entry.shape)


def _cumulative(entry: Normal, x: float) -> float:
    return 0.5 * (1.0 + math.erf((x - entry.mean) / entry.deviation / math.sqrt(2.0)))


def constant(value: float, shape: tuple[int, ...] = ()) -> Uniform:
    return Uniform(value, value, shape)


def angles(*degrees: tuple[float, float]) -> Each:
    """Uniform angles between (low, high) degrees, in radians."""
    return Each(tuple(Uniform(low * RAD, high * RAD) for low, high in degrees))


def draw(key, table: dict[str, Any]) -> dict[str, jax.Array]:
    """One value for every entry, float32: a single block of uniform bits through the inverse cumulative
    distributions, cut up in the table's order. All scalars are computed together, which keeps compilation short.
    """
    scalars = [scalar for entry in table.values() for scalar in scalars_of(entry)]
    normal = np.array([isinstance(s, Normal) for s in scalars])
    low, high = (
        np.array([s.low for s in scalars], np.float32),
        np.array([s.high for s in scalars], np.float32),
    )
    chance = np.array([getattr(s, "chance", 1.0) for s in scalars], np.float32)
    mean, deviation = (np.array([getattr(s, n, 0.0) for s in scalars], np.float32) for n in ("mean", "deviation"))
    ends = np.array(
        [
            [_cumulative(s, s.low), _cumulative(s, s.high)] if n else [0.25, 0.75]
            for s, n in zip(scalars, normal, strict=True)
        ]
    )
    bits = jax.random.uniform(key, (len(scalars),), jnp.float32)
    share = jnp.clip((bits - (1.0 - chance)) / chance, 0.0, 1.0)
    flat = jnp.where(bits >= 1.0 - chance, low + (high - low) * share, 0.0)
    # Stay off 0 and 1, where the inverse error function is infinite.
    level = jnp.clip(ends[:, 0] + (ends[:, 1] - ends[:, 0]) * bits, 1e-6, 1.0 - 1e-6).astype(jnp.float32)
    bell = mean + deviation * math.sqrt(2.0) * jax.scipy.special.erfinv(2.0 * level - 1.0)
    block = stage(jnp.where(normal, jnp.clip(bell, low, high), flat))
    values, start = {}, 0
    for name, entry in table.items():
        size = math.prod(entry.shape)
        values[name] = block[start : start + size].reshape(entry.shape)
        start += size
    return values
