"""Seg2Eye's three networks and its training step in plain PyTorch, for comparisons of values and of speed.

Written from the publication's description, with the parameter names of the released checkpoints. Channels
first.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm


def leaky(x):
    return F.leaky_relu(x, 0.2)


class Spade(nn.Module):
    def __init__(self, channels, labels, hidden, norm):
        super().__init__()
        self.param_free_norm = norm(channels)
        self.mlp_shared = nn.Sequential(nn.Conv2d(labels, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x, mask):
        hidden = self.mlp_shared(F.interpolate(mask, size=x.shape[2:], mode="nearest"))
        return self.param_free_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)


class RawAdain(nn.Module):
    def __init__(self, channels, code):
        super().__init__()
        self.linear = nn.Linear(code, 2 * channels)

    def forward(self, x, style):
        scale, shift = leaky(self.linear(style))[:, :, None, None].chunk(2, dim=1)
        return x * (1 + scale) + shift


class SpadeStyle(nn.Module):
    def __init__(self, channels, labels, hidden, code):
        super().__init__()
        self.spade = Spade(channels, labels, hidden, lambda c: nn.InstanceNorm2d(c))
        self.adain = RawAdain(channels, code)

    def forward(self, x, mask, style):
        return (self.spade(x, mask) + self.adain(x, style)) / 2


class PlainSpade(Spade):
    def __init__(self, channels, labels, hidden, code):
        super().__init__(channels, labels, hidden, lambda c: nn.BatchNorm2d(c, affine=False))

    def forward(self, x, mask, style):
        return super().forward(x, mask)


class Block(nn.Module):
    def __init__(self, inputs, outputs, labels, hidden, code, norm):
        super().__init__()
        middle = min(inputs, outputs)
        self.conv_0 = spectral_norm(nn.Conv2d(inputs, middle, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(middle, outputs, 3, padding=1))
        self.norm_0 = norm(inputs, labels, hidden, code)
        self.norm_1 = norm(middle, labels, hidden, code)
        self.learned = inputs != outputs
        if self.learned:
            self.conv_s = spectral_norm(nn.Conv2d(inputs, outputs, 1, bias=False))
            self.norm_s = norm(inputs, labels, hidden, code)

    def forward(self, x, mask, style):
        shortcut = self.conv_s(self.norm_s(x, mask, style)) if self.learned else x
        hidden = self.conv_0(leaky(self.norm_0(x, mask, style)))
        return shortcut + self.conv_1(leaky(self.norm_1(hidden, mask, style)))


class Generator(nn.Module):
    """Mask ``[N, labels, H, W]`` (one-hot, H and W multiples of 32) and style ``[N, code]`` to ``[N,
    channels, H, W]``.
    """

    def __init__(self, width=64, labels=4, channels=1, hidden=128, code=16, norm=SpadeStyle):
        super().__init__()

        def block(inputs, outputs):
            return Block(inputs * width, outputs * width, labels, hidden, code, norm)

        self.fc = nn.Conv2d(labels, 16 * width, 3, padding=1)
        self.head_0, self.G_middle_0, self.G_middle_1 = block(16, 16), block(16, 16), block(16, 16)
        self.up_0, self.up_1, self.up_2, self.up_3 = block(16, 8), block(8, 4), block(4, 2), block(2, 1)
        self.conv_img = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, mask, style):
        def up(x):
            return F.interpolate(x, scale_factor=2, mode="nearest")

        size = (mask.shape[2] // 32, mask.shape[3] // 32)
        x = up(self.head_0(self.fc(F.interpolate(mask, size=size, mode="nearest")), mask, style))
        x = self.G_middle_1(self.G_middle_0(x, mask, style), mask, style)
        for block in (self.up_0, self.up_1, self.up_2, self.up_3):
            x = block(up(x), mask, style)
        return torch.tanh(self.conv_img(leaky(x)))


class Encoder(nn.Module):
    """References ``[N, k, channels, H, W]`` to a code and the six feature maps; no activations, as
    released.
    """

    def __init__(self, width=64, code=16, channels=1, reduce="max", size=256):
        super().__init__()
        self.layers, self.reduce, self.size = size.bit_length() - 3, reduce, size
        previous = channels
        for i in range(self.layers):
            maps = width * min(2**i, 8)
            conv = spectral_norm(nn.Conv2d(previous, maps, 3, stride=2, padding=1, bias=False))
            setattr(self, f"layer{i}", nn.Sequential(conv, nn.InstanceNorm2d(maps)))
            previous = maps
        self.fc_mu, self.fc_var = nn.Linear(16 * previous, code), nn.Linear(16 * previous, code)

    def forward(self, references):
        count = references.shape[1]
        size = (self.size, self.size)
        x = F.interpolate(references.flatten(0, 1), size=size, mode="bilinear", align_corners=False)
        features = []
        for i in range(self.layers):
            x = getattr(self, f"layer{i}")(x)
            features.append(x)
        code = self.fc_mu(leaky(x).flatten(1))

        def gather(values):
            values = values.reshape(-1, count, *values.shape[1:])
            return values.amax(1) if self.reduce == "max" else values.mean(1)

        return gather(code), [gather(f) for f in features]


class Critic(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.model0 = nn.Sequential(nn.Conv2d(inputs, width, 4, 2, 2), nn.LeakyReLU(0.2))
        for i in (1, 2, 3):
            a, b = width * 2 ** (i - 1), width * 2**i
            conv = spectral_norm(nn.Conv2d(a, b, 4, 2 if i < 3 else 1, 2, bias=False))
            setattr(self, f"model{i}", nn.Sequential(nn.Sequential(conv, nn.InstanceNorm2d(b)), nn.LeakyReLU(0.2)))
        self.model4 = nn.Sequential(nn.Conv2d(width * 8, 1, 4, 1, 2))

    def forward(self, x):
        features = []
        for i in range(5):
            x = getattr(self, f"model{i}")(x)
            features.append(x)
        return features


class Discriminator(nn.Module):
    """One-hot masks and images to the features of two scales, logits last."""

    def __init__(self, width=64, labels=4, channels=1):
        super().__init__()
        self.discriminator_0 = Critic(labels + channels, width)
        self.discriminator_1 = Critic(labels + channels, width)

    def forward(self, mask, image):
        x = torch.cat([mask, image], dim=1)
        half = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return [self.discriminator_0(x), self.discriminator_1(half)]


class TorchSeg2Eye:
    """The released training step, fp32 or bf16 autocast.

    order: "released": generator and encoder first, then the discriminator on a second forward pass of the
        generator; "shared": the discriminator first, both updates on one forward pass, as ours.
    compiled: the three networks through torch.compile.
    """

    def __init__(self, width, size, batch, references, order, compiled, bfloat16, device):
        self.order, self.device, self.bfloat16 = order, device, bfloat16
        layout = {"memory_format": torch.channels_last}
        self.G, self.E, self.D = (net(width=width).to(device, **layout) for net in (Generator, Encoder, Discriminator))
        kinds = {"fused": True} if device == "cuda" else {}
        painter = [*self.G.parameters(), *self.E.parameters()]
        self.painter_optimiser = torch.optim.Adam(painter, 1e-4, betas=(0.0, 0.9), **kinds)
        self.discriminator_optimiser = torch.optim.Adam(self.D.parameters(), 4e-4, betas=(0.0, 0.9), **kinds)
        if compiled:
            self.G, self.E, self.D = (torch.compile(net) for net in (self.G, self.E, self.D))
        height, width = size
        labels = torch.randint(0, 4, (batch, height // 8, width // 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
        self.mask = F.one_hot(labels, 4).permute(0, 3, 1, 2).float().to(device).contiguous(**layout)
        self.target = (torch.rand(batch, 1, height, width) * 2 - 1).to(device).contiguous(**layout)
        self.references = (torch.rand(batch, references, 1, height, width) * 2 - 1).to(device)
        self.style = torch.randn(batch, 16, device=device)

    def _cast(self):
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16)

    def forward(self):
        """The generator alone, as it is used."""
        with torch.no_grad(), self._cast():
            return self.G(self.mask, self.style)

    def step(self):
        """One update of all three networks."""
        if self.order == "released":
            with self._cast():
                style, features = self.E(self.references)
                fake = self.G(self.mask, style)
            self._update_painter(fake, style, features)
            with torch.no_grad(), self._cast():
                fake = self.G(self.mask, self.E(self.references)[0])
            self._update_discriminator(fake)
        else:
            with self._cast():
                style, features = self.E(self.references)
                fake = self.G(self.mask, style)
            self._update_discriminator(fake.detach())
            self._update_painter(fake, style, features)

    def _judge(self, fake):
        both = self.D(torch.cat([self.mask, self.mask]), torch.cat([fake, self.target]))
        return [[f.float().chunk(2) for f in scale] for scale in both]

    def _update_discriminator(self, fake):
        self.discriminator_optimiser.zero_grad(set_to_none=True)
        with self._cast():
            scales = self._judge(fake)
            loss = sum(F.relu(1 - r).mean() + F.relu(1 + f).mean() for f, r in (s[-1] for s in scales)) / 2
        loss.backward()
        self.discriminator_optimiser.step()

    def _update_painter(self, fake, style, features):
        self.painter_optimiser.zero_grad(set_to_none=True)
        for parameter in self.D.parameters():
            parameter.requires_grad_(False)
        with self._cast():
            scales = self._judge(fake)
            loss = sum(-scale[-1][0].mean() for scale in scales) / 2
            loss = loss + 5 * sum((f - r.detach()).abs().mean() for scale in scales for f, r in scale[:-1])
            loss = loss + 15 * F.mse_loss(fake.float(), self.target)
            own, own_features = self.E(fake[:, None])
            loss = loss + 0.5 * F.mse_loss(own.float(), style.detach().float())
        for a, b in zip(own_features, features, strict=True):
            a, b = a.float(), b.detach().float()
            loss = loss + 1e-3 * F.mse_loss(a, b) + 1e4 * F.mse_loss(gram(a), gram(b))
        loss.backward()
        for parameter in self.D.parameters():
            parameter.requires_grad_(True)
        self.painter_optimiser.step()

    def synchronise(self):
        if self.device == "cuda":
            torch.cuda.synchronize()


def gram(features):
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()
