"""The published networks of StarGAN and StarGAN v2, transcribed plainly in our own words; see `published_step`.

Nothing here is shared with asterism's networks, whose arithmetic is under test. Parameter names and shapes are the
published ones, which are asterism's too.

Shapes: as in `asterism.networks.stargan` and `asterism.networks.stargan_v2`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# -- StarGAN -----------------------------------------------------------------------------------------------------------


def normalised(convolution: nn.Module, channels: int) -> list[nn.Module]:
    """A convolution, the published instance norm (with running statistics) and ReLU."""
    return [convolution, nn.InstanceNorm2d(channels, affine=True, track_running_stats=True), nn.ReLU(inplace=True)]


class Residual(nn.Module):
    """Two 3x3 convolutions with norms, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, 1, 1, bias=False) for _ in range(2))
        self.main = nn.Sequential(*normalised(first, channels), *normalised(second, channels)[:2])

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to the same."""
        return x + self.main(x)


class StarGANGenerator(nn.Module):
    """Label planes beside the picture, two halvings, residual blocks, two doublings, tanh."""

    def __init__(self, channels: int, codes: int, width: int, blocks: int) -> None:
        super().__init__()
        layers = normalised(nn.Conv2d(channels + codes, width, 7, 1, 3, bias=False), width)
        for _ in range(2):
            layers += normalised(nn.Conv2d(width, width * 2, 4, 2, 1, bias=False), width * 2)
            width *= 2
        layers += [Residual(width) for _ in range(blocks)]
        for _ in range(2):
            layers += normalised(nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), width // 2)
            width //= 2
        self.main = nn.Sequential(*layers, nn.Conv2d(width, channels, 7, 1, 3, bias=False), nn.Tanh())

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Pictures [N, C, H, W] and codes [N, n] to pictures."""
        planes = c.view(*c.shape, 1, 1).repeat(1, 1, *x.shape[2:])
        return self.main(torch.cat([x, planes], dim=1))


class StarGANDiscriminator(nn.Module):
    """Halving convolutions, then a map of patch logits and one logit per label."""

    def __init__(self, channels: int, labels: int, size: int, width: int, layers: int) -> None:
        super().__init__()
        trunk: list[nn.Module] = []
        for _ in range(layers):
            trunk += [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.01)]
            channels, width = width, width * 2
        self.main = nn.Sequential(*trunk)
        self.conv1 = nn.Conv2d(channels, 1, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, labels, size >> layers, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Patch logits [N, 1, h, w] and class logits [N, L]."""
        h = self.main(x)
        return self.conv1(h), self.conv2(h).flatten(1)


# -- StarGAN v2 --------------------------------------------------------------------------------------------------------


class EncodingBlock(nn.Module):
    """Pre-activation residual block: [norm] act conv [pool] [norm] act conv, and a shortcut; over sqrt 2."""

    def __init__(self, inputs: int, outputs: int, norm: bool = False, pool: bool = False) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(inputs, inputs, 3, 1, 1), nn.Conv2d(inputs, outputs, 3, 1, 1)
        if norm:
            self.norm1, self.norm2 = nn.InstanceNorm2d(inputs, affine=True), nn.InstanceNorm2d(inputs, affine=True)
        if inputs != outputs:
            self.conv1x1 = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm, self.pool, self.learned = norm, pool, inputs != outputs

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W], halved if it pools."""
        h = self.conv1(F.leaky_relu(self.norm1(x) if self.norm else x, 0.2))
        h = F.avg_pool2d(h, 2) if self.pool else h
        h = self.conv2(F.leaky_relu(self.norm2(h) if self.norm else h, 0.2))
        side = self.conv1x1(x) if self.learned else x
        side = F.avg_pool2d(side, 2) if self.pool else side
        return (side + h) / math.sqrt(2)


class StyleNorm(nn.Module):
    """Instance norm, scaled and shifted by a linear function of the style."""

    def __init__(self, style: int, channels: int) -> None:
        super().__init__()
        self.norm, self.fc = nn.InstanceNorm2d(channels), nn.Linear(style, channels * 2)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """[N, channels, H, W] and [N, S] to [N, channels, H, W]."""
        gamma, beta = self.fc(s).view(len(s), -1, 1, 1).chunk(2, dim=1)
        return (1 + gamma) * self.norm(x) + beta


class DecodingBlock(nn.Module):
    """Styled residual block: norm act [upsample] conv norm act conv, and a shortcut; over sqrt 2."""

    def __init__(self, inputs: int, outputs: int, style: int, up: bool = False) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, 1, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.norm1, self.norm2 = StyleNorm(style, inputs), StyleNorm(style, outputs)
        if inputs != outputs:
            self.conv1x1 = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.up, self.learned = up, inputs != outputs

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """[N, inputs, H, W] and [N, S] to [N, outputs, H, W], doubled if it upsamples."""
        h = F.leaky_relu(self.norm1(x, s), 0.2)
        h = F.interpolate(h, scale_factor=2, mode="nearest") if self.up else h
        h = self.conv2(F.leaky_relu(self.norm2(self.conv1(h), s), 0.2))
        side = F.interpolate(x, scale_factor=2, mode="nearest") if self.up else x
        side = self.conv1x1(side) if self.learned else side
        return (h + side) / math.sqrt(2)


class StarGANv2Generator(nn.Module):
    """Encoder with norms down to 16 x 16, decoder in the style; without high-pass skips."""

    def __init__(self, size: int, style: int, capacity: int, widest: int) -> None:
        super().__init__()
        width = capacity // size
        self.from_rgb = nn.Conv2d(3, width, 3, 1, 1)
        encode: list[nn.Module] = []
        decode: list[nn.Module] = []
        first = width
        for _ in range(int(math.log2(size)) - 4):
            wider = min(width * 2, widest)
            encode.append(EncodingBlock(width, wider, norm=True, pool=True))
            decode.insert(0, DecodingBlock(wider, width, style, up=True))
            width = wider
        for _ in range(2):
            encode.append(EncodingBlock(width, width, norm=True))
            decode.insert(0, DecodingBlock(width, width, style))
        self.encode, self.decode = nn.ModuleList(encode), nn.ModuleList(decode)
        self.to_rgb = nn.Sequential(nn.InstanceNorm2d(first, affine=True), nn.LeakyReLU(0.2), nn.Conv2d(first, 3, 1))

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] and styles [N, S] to pictures."""
        h = self.from_rgb(x)
        for block in self.encode:
            h = block(h)
        for block in self.decode:
            h = block(h, s)
        return self.to_rgb(h)


class StyleMapping(nn.Module):
    """Latents to styles: four shared layers, then a branch per domain, all of them computed."""

    def __init__(self, domains: int, latent: int, style: int, width: int) -> None:
        super().__init__()
        sides = [latent, width, width, width, width]
        self.shared = nn.Sequential(*(m for a, b in zip(sides, sides[1:], strict=False) for m in (nn.Linear(a, b), nn.ReLU())))
        branches = [[m for _ in range(3) for m in (nn.Linear(width, width), nn.ReLU())] for _ in range(domains)]
        self.unshared = nn.ModuleList(nn.Sequential(*branch, nn.Linear(width, style)) for branch in branches)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Latents [N, Z] and domains [N] to styles [N, S]."""
        h = self.shared(z)
        return torch.stack([branch(h) for branch in self.unshared], dim=1)[torch.arange(len(y), device=y.device), y]


def trunk(size: int, capacity: int, widest: int) -> tuple[list[nn.Module], int]:
    """What style encoder and discriminator share: pooling blocks without norms down to 4 x 4, then one 4 x 4 convolution."""
    width = capacity // size
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1)]
    for _ in range(int(math.log2(size)) - 2):
        wider = min(width * 2, widest)
        layers.append(EncodingBlock(width, wider, pool=True))
        width = wider
    return [*layers, nn.LeakyReLU(0.2), nn.Conv2d(width, width, 4), nn.LeakyReLU(0.2)], width


class StarGANv2StyleEncoder(nn.Module):
    """Pictures to styles, a head per domain, all of them computed."""

    def __init__(self, size: int, domains: int, style: int, capacity: int, widest: int) -> None:
        super().__init__()
        layers, width = trunk(size, capacity, widest)
        self.shared = nn.Sequential(*layers)
        self.unshared = nn.ModuleList(nn.Linear(width, style) for _ in range(domains))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] and domains [N] to styles [N, S]."""
        h = self.shared(x).flatten(1)
        return torch.stack([head(h) for head in self.unshared], dim=1)[torch.arange(len(y), device=y.device), y]


class StarGANv2Discriminator(nn.Module):
    """One logit per domain, that of the sample's domain selected."""

    def __init__(self, size: int, domains: int, capacity: int, widest: int) -> None:
        super().__init__()
        layers, width = trunk(size, capacity, widest)
        self.main = nn.Sequential(*layers, nn.Conv2d(width, domains, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] and domains [N] to logits [N]."""
        return self.main(x).flatten(1)[torch.arange(len(y), device=y.device), y]
