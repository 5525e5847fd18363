"""The networks of CycleGAN (arXiv:1703.10593, Section 7.2).

Parameter names and shapes are those of the authors' released PyTorch checkpoints. The norms have neither scale, shift nor
running statistics. Biases in front of them have no effect on any output; they are there since the checkpoints have them.

Shapes: N batch, C picture channels, W width (channels after the first convolution).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asterism.networks.layers import Conv2d, InstanceNorm2d
from asterism.networks.reflection import ReflectedConv2d
from asterism.networks.sizes import check_multiples_of_4
from asterism.networks.transposed import ConvTranspose2d

SLOPE = 0.2
"""Negative slope of the discriminator's leaky ReLUs."""

MOST = 8
"""The discriminator's layers have at most as many times its first one's channels."""


class Generator(nn.Module):
    """Translate pictures to one domain: the network of arXiv:1603.08155 with instance norms.

    Padding reflects the picture: zeros would show as artefacts along the edges (Section 7.2). It is a part of the
    convolutions here; where the published layer stood, nothing does.

    Args:
        channels: C.
        width: W; the paper's is 64.
        blocks: residual blocks; the paper's number is 9 for pictures of 256 pixels and more, 6 for 128.
    """

    def __init__(self, channels: int, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Identity(), *_block(ReflectedConv2d(channels, width, 7))]  # [N, W, H, W]
        for depth in range(2):
            layers += _block(Conv2d(width << depth, width << depth + 1, 3, 2, 1))  # [N, 2 W, H / 2, W / 2], then a quarter
        layers += [ResidualBlock(width * 4) for _ in range(blocks)]  # [N, 4 W, H / 4, W / 4]
        for depth in (2, 1):
            layers += _block(ConvTranspose2d(width << depth, width << depth - 1, 3, 2, 1, output_padding=1))
        layers += [nn.Identity(), ReflectedConv2d(width, channels, 7)]  # [N, C, H, W]
        self.model = nn.Sequential(*layers)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return pictures [N, C, H, W] in (-1, 1) of pictures [N, C, H, W] in [-1, 1]; H and W are multiples of 4."""
        return torch.tanh(self.model(x))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norm, added to the input; no activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (ReflectedConv2d(channels, channels, 3) for _ in range(2))
        self.conv_block = nn.Sequential(
            nn.Identity(), *_block(first), nn.Identity(), second, InstanceNorm2d(channels, affine=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, channels, H, W] to the same shape."""
        return x + self.conv_block(x)


class Discriminator(nn.Module):
    """Tell real from fake patch by patch (PatchGAN): each logit sees 70 x 70 pixels with the paper's three layers.

    Args:
        channels: C.
        width: W; the paper's is 64.
        layers: halving convolutions; the paper's number is 3.
    """

    def __init__(self, channels: int, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        widths = [width * min(1 << depth, MOST) for depth in range(layers + 1)]
        trunk: list[nn.Module] = [Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]  # [N, W, H / 2, W / 2]
        for depth in range(1, layers + 1):
            stride = 2 if depth < layers else 1
            trunk += _block(Conv2d(widths[depth - 1], widths[depth], 4, stride, 1), SLOPE)
        self.model = nn.Sequential(*trunk, Conv2d(widths[-1], 1, 4, 1, 1))  # [N, 1, H / 2**layers - 2, W / 2**layers - 2]
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return patch logits [N, P], raw, of pictures [N, C, H, W] in [-1, 1]."""
        return self.model(x).flatten(1)


def _block(convolution: nn.Conv2d | nn.ConvTranspose2d, slope: float = 0.0) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Convolution, and instance norm with its activation; the last holds the index that the published activation has."""
    return convolution, InstanceNorm2d(convolution.out_channels, slope, affine=False), nn.Identity()


def initialize(network: nn.Module) -> None:
    """Draw the weights of all convolutions from N(0, 0.02), and set their biases to zero (Section 7.1)."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def check_size(size: tuple[int, int], layers: int) -> None:
    """Refuse pictures that the networks cannot take.

    Args:
        size: height and width; the generator takes multiples of 4, the discriminator at least 3 * 2**layers.
        layers: halving convolutions of the discriminator.

    Raises:
        SizeError: with the nearest valid size.
    """
    check_multiples_of_4(size, max(8, 3 << layers), layers)
