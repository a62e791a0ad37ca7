"""SimGAN written plainly in PyTorch: the other side of benchmarks/simgan.py.

The same networks, losses, schedule, optimiser and history rule as the paper's config, as a careful PyTorch user would
write them: data resident on the device as uint8, the discriminator frozen while the refiner learns, no gradients where
none are needed, and the history as a pool of images in host memory, as the published PyTorch ports keep it (without
their reshuffling of the whole pool in every step, which would only make this side slower).
"""

import contextlib
import copy
import json
import sys
import time

STARTED = time.perf_counter()

import torch  # noqa: E402
from pictures import peak_memory, pictures  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return F.relu(x + self.second(F.relu(self.first(x))))


def refiner(width: int = 64, blocks: int = 4) -> nn.Module:
    """``[B, 1, H, W]`` in [-1, 1] to the same: 296,129 parameters."""
    body = [Block(width) for _ in range(blocks)]
    return nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), *body, nn.Conv2d(width, 1, 1), nn.Tanh())


def discriminator() -> nn.Module:
    """``[B, 1, H, W]`` to logits ``[B, 2, h, w]``: 75,906 parameters, 9x14 patches for 35x55."""
    return nn.Sequential(
        nn.Conv2d(1, 96, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(96, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 1),
        nn.ReLU(),
        nn.Conv2d(32, 2, 1),
    )


def cross_entropy(logits, target: int):
    """Summed over patches, averaged over the batch."""
    targets = torch.full((logits.shape[0], *logits.shape[2:]), target, device=logits.device)
    return F.cross_entropy(logits.float(), targets, reduction="sum") / len(logits)


class TorchSimGAN:
    """Both networks with their optimisers, the pool, and one method per kind of update.

    mode: "eager", "channels_last" or "compile" (torch.compile over channels_last networks).
    """

    def __init__(self, images, batch: int, mode: str, bfloat16: bool, device: str, pool: int = 25600):
        torch.manual_seed(0)
        self.device, self.batch, self.regularisation = device, batch, 0.01
        self.layout = torch.contiguous_format if mode == "eager" else torch.channels_last
        self.images = torch.from_numpy(images).to(device)
        self.refiner, self.discriminator = (
            net.to(device, memory_format=self.layout) for net in (refiner(), discriminator())
        )
        self.average = copy.deepcopy(self.refiner).requires_grad_(False)
        self.refine, self.judge = self.refiner, self.discriminator
        if mode == "compile":
            self.refine, self.judge = torch.compile(self.refiner), torch.compile(self.discriminator)
        self.refiner_optimiser = torch.optim.SGD(self.refiner.parameters(), lr=1e-3)
        self.discriminator_optimiser = torch.optim.SGD(self.discriminator.parameters(), lr=1e-3)
        # Full, as in all but the first steps of a run.
        self.pool = torch.zeros(pool, *self.images.shape[1:])
        self.filled = pool
        self.bfloat16 = bfloat16

    def autocast(self):
        return torch.autocast(self.device, torch.bfloat16) if self.bfloat16 else contextlib.nullcontext()

    def draw(self):
        """A batch ``[B, 1, H, W]`` in [-1, 1] of the resident images."""
        chosen = torch.randint(len(self.images), (self.batch,), device=self.device)
        images = self.images[chosen].float() / 127.5 - 1
        return images.contiguous(memory_format=self.layout)

    def update_refiner(self, adversarial: bool = True):
        images = self.draw()
        self.discriminator.requires_grad_(False)
        with self.autocast():
            refined = self.refine(images).float()
            logits = self.judge(refined) if adversarial else None
        loss = (refined - images).abs().sum((1, 2, 3)).mean()
        if adversarial:
            loss = cross_entropy(logits, 0) + self.regularisation * loss
        self.refiner_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.refiner_optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.refiner.parameters()), 0.001)
        self.discriminator.requires_grad_(True)
        return loss

    def update_discriminator(self, use_history: bool = True):
        images, real = self.draw(), self.draw()
        half = self.batch // 2
        with torch.no_grad(), self.autocast():
            refined = self.refine(images[:half] if use_history else images).float()
        fresh = refined[:half].cpu()
        if use_history:
            refined = torch.cat([refined, self.sample(fresh).to(self.device)])
        self.push(fresh)
        with self.autocast():
            logits = self.judge(torch.cat([refined, real]).contiguous(memory_format=self.layout))
        of_refined, of_real = logits.chunk(2)
        loss = cross_entropy(of_refined, 1) + cross_entropy(of_real, 0)
        self.discriminator_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.discriminator_optimiser.step()
        return loss

    def sample(self, fresh):
        if not self.filled:
            return fresh
        return self.pool[torch.randperm(self.filled)[: len(fresh)]]

    def push(self, fresh):
        count, size = len(fresh), len(self.pool)
        place = torch.randperm(size)[:count] if self.filled >= size else self.filled + torch.arange(count)
        self.pool[place % size] = fresh
        self.filled = min(size, self.filled + count)

    def whole_step(self):
        self.update_refiner()
        self.update_refiner()
        return self.update_discriminator()

    def synchronise(self):
        if self.device == "cuda":
            torch.cuda.synchronize()


def child(mode: str, batch: int, bfloat16: bool) -> None:
    """This side alone: peak memory and time from start to the end of the first step, as JSON."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = TorchSimGAN(pictures(), batch, mode, bfloat16, device)
    model.whole_step()
    model.synchronise()
    first = time.perf_counter() - STARTED
    for _ in range(2):
        model.whole_step()
    model.synchronise()
    on_device = torch.cuda.max_memory_allocated() if device == "cuda" else None
    print(json.dumps(peak_memory(first, on_device)))


if __name__ == "__main__":
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    child(given["--child"], int(given["--batches"]), given["--dtypes"] == "bfloat16")
