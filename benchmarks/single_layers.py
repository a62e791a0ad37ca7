"""Single layers beside PyTorch's and what a device reaches at best: the lower half of benchmarks/simgan.py's table."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eyegan_jax.layers.convolution import convolve

LAYERS = {
    # name: (images of 32, height, width, channels in, channels out, kernel, stride, padding)
    "refiner, 1 to 64": (1, 35, 55, 1, 64, 3, 1, 1),
    "refiner, 64 to 64": (1, 35, 55, 64, 64, 3, 1, 1),
    "refiner, 64 to 1, 1x1": (1, 35, 55, 64, 1, 1, 1, 0),
    "local discriminator, 1 to 96, stride 2": (1, 35, 55, 1, 96, 3, 2, 1),
    "local discriminator, 96 to 64, stride 2": (1, 18, 28, 96, 64, 3, 2, 1),
    "painter, 16 to 16": (0.25, 80, 48, 16, 16, 3, 1, 1),
    "painter, 64 to 64, coarsest": (0.25, 10, 6, 64, 64, 3, 1, 1),
    "patch critic, 64 to 128, 4x4": (0.25, 11, 7, 64, 128, 4, 1, 2),
    "segmenter, 32 to 32": (0.25, 160, 100, 32, 32, 3, 1, 1),
    "segmenter, 64 to 32, 1x1": (0.25, 160, 100, 64, 32, 1, 1, 0),
}
"""Single layers: SimGAN's, small ones of Seg2Eye and large ones of the segmenter, where XLA's CPU code behaves
differently."""


def ceilings(dtypes: list[str]) -> dict[str, float]:
    """What this device reaches at best: FLOP/s of a large matrix product by dtype, bytes/s of a large copy."""
    gpu = jax.default_backend() != "cpu"
    size, found = (8192 if gpu else 2048), {}
    for dtype in dtypes:
        a, b = (jax.random.normal(jax.random.key(i), (size, size), jnp.dtype(dtype)) for i in (0, 1))
        found[dtype] = 2 * size**3 / repeat_async(jax.jit(jnp.dot), a, b)
    big = jnp.ones(1 << (29 if gpu else 25), jnp.float32)
    found["bytes"] = 2 * big.nbytes / repeat_async(jax.jit(lambda x: -x), big)
    return found


def repeat_async(run: Callable, *arguments: Any) -> float:
    """Median seconds of a call among calls that are dispatched without waiting in between."""
    calls = 20 if jax.default_backend() != "cpu" else 3
    jax.block_until_ready(run(*arguments))
    times = []
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(calls):
            result = run(*arguments)
        jax.block_until_ready(result)
        times.append((time.perf_counter() - start) / calls)
    return statistics.median(times)


def layer(name: str, batch: int, dtype: str, ceiling: dict[str, float]) -> list[dict[str, Any]]:
    """One layer by itself: forward, gradient by input and by weights, against both ceilings.

    On an accelerator one program computes it for several batches, since to start one takes longer than a small layer.
    """
    import torch  # here, because importing this module must not fill the memory of a process that is measured

    share, height, width, inputs, outputs, kernel, stride, padding = LAYERS[name]
    images = max(1, int(share * batch))
    rng = np.random.default_rng(0)

    def conv_of(convolution):
        def conv(x, w):
            pads = ((padding, padding),) * 2
            return convolution(x, w, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))

        return conv

    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    batches, calls = (1, 3) if device == "cpu" else (8, 24)
    x = jnp.asarray(rng.normal(size=(images, height, width, inputs)), dtype)
    w = jnp.asarray(rng.normal(size=(kernel, kernel, inputs, outputs)) / np.sqrt(kernel**2 * inputs), dtype)
    dy = jnp.asarray(rng.normal(size=jax.eval_shape(conv_of(convolve), x, w).shape), dtype)
    xs, dys = ([array * (1 + i) for i in range(batches)] for array in (x, dy))

    def programs(convolution):
        conv = conv_of(convolution)

        def of_each(one):
            return jax.jit(lambda xs, w, dys: [one(x, w, dy) for x, dy in zip(xs, dys, strict=True)])

        return {
            "forward": of_each(lambda x, w, dy: conv(x, w)),
            "gradient by input": of_each(lambda x, w, dy: jax.vjp(lambda x: conv(x, w), x)[1](dy)),
            "gradient by weights": of_each(lambda x, w, dy: jax.vjp(lambda w: conv(x, w), w)[1](dy)),
        }

    ours, lax = programs(convolve), programs(jax.lax.conv_general_dilated)

    def to_torch(array, axes):
        tensor = torch.from_numpy(np.array(array.astype(jnp.float32)).transpose(axes)).to(device, getattr(torch, dtype))
        return tensor.contiguous(memory_format=torch.channels_last)

    txs, tdys = ([to_torch(array, (0, 3, 1, 2)) for array in arrays] for arrays in (xs, dys))
    tw = to_torch(w, (3, 2, 0, 1))
    masks = {"gradient by input": [True, False, False], "gradient by weights": [False, True, False]}

    def torch_run(what):
        for call in range(calls):
            tx, tdy = txs[call % batches], tdys[call % batches]
            if what == "forward":
                torch.nn.functional.conv2d(tx, tw, stride=stride, padding=padding)
            else:
                pair = [[stride] * 2, [padding] * 2]
                torch.ops.aten.convolution_backward(tdy, tx, tw, None, *pair, [1, 1], False, [0, 0], 1, masks[what])
        if device == "cuda":
            torch.cuda.synchronize()

    flops = 2 * dy.size * kernel**2 * inputs
    moved = (x.size + dy.size) * jnp.dtype(dtype).itemsize
    floor = max(flops / ceiling[dtype], moved / ceiling["bytes"])
    rows = []
    for what, run in ours.items():
        seconds = repeat_async(run, xs, w, dys) / batches
        torch_run(what)
        times = []
        for _ in range(7):
            start = time.perf_counter()
            torch_run(what)
            times.append((time.perf_counter() - start) / calls)
        rows.append(
            {
                "what": f"{name}: {what}",
                "batch": images,
                "dtype": dtype,
                "ours_s": seconds,
                "lax_s": repeat_async(lax[what], xs, w, dys) / batches,
                "torch_s": statistics.median(times),
                "ratio": statistics.median(times) / seconds,
                "fraction_of_matrix_ceiling": flops / seconds / ceiling[dtype],
                "fraction_of_roofline": floor / seconds,
            }
        )
    return rows
