"""The networks of IcGAN (arXiv:1611.06355): a conditional DCGAN and two encoders, as published for 64 pixels.

Other sides have as many middle layers as they have powers of two beyond 8.

Shapes: N batch, C picture channels, S side of the pictures, Z latent size, n length of what is told.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asterism.networks.dcgan import initialize
from asterism.networks.layers import BatchNorm2d, Conv2d
from asterism.networks.sizes import check_square
from asterism.networks.transposed import ConvTranspose2d

SLOPE = 0.2
"""Negative slope of the discriminator's leaky ReLUs."""


class Generator(nn.Module):
    """Make pictures of latents and labels.

    Args:
        channels: C of the pictures.
        size: S.
        latent_dim: Z.
        told: n.
        width: channels before the last convolution; the paper's is 64.
    """

    def __init__(self, channels: int, size: int, latent_dim: int, told: int, width: int = 64) -> None:
        super().__init__()
        widths = [width << depth for depth in reversed(range(size.bit_length() - 3))]
        layers = _normed(ConvTranspose2d(latent_dim + told, widths[0], 4))
        for wide, narrow in zip(widths[:-1], widths[1:], strict=True):
            layers += _normed(ConvTranspose2d(wide, narrow, 4, 2, 1))
        self.main = nn.Sequential(*layers, ConvTranspose2d(width, channels, 4, 2, 1), nn.Tanh())
        self.apply(initialize)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Return pictures [N, C, S, S] in (-1, 1) of latents [N, Z] and labels [N, n]."""
        return self.main(torch.cat([z, y.to(z.dtype)], 1)[:, :, None, None])


class Discriminator(nn.Module):
    """Tell real pictures with their own labels from others; the labels join behind the first convolution.

    Args:
        channels: C of the pictures.
        size: S.
        told: n.
        width: channels after the first convolution; the paper's is 64.
    """

    def __init__(self, channels: int, size: int, told: int, width: int = 64) -> None:
        super().__init__()
        widths = [width << depth for depth in range(size.bit_length() - 3)]
        self.first = nn.Sequential(Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(SLOPE))
        layers: list[nn.Module] = []
        for place, (narrow, wide) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            inputs = narrow if place else narrow + told
            layers += [Conv2d(inputs, wide, 4, 2, 1), BatchNorm2d(wide), nn.LeakyReLU(SLOPE)]
        self.main = nn.Sequential(*layers, Conv2d(widths[-1], 1, 4))
        self.apply(initialize)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return raw logits [N] of pictures [N, C, S, S] in [-1, 1] with labels [N, n]."""
        h = self.first(x)
        planes = y.to(h.dtype)[:, :, None, None].expand(-1, -1, *h.shape[2:])
        return self.main(torch.cat([h, planes], 1)).flatten()


class Encoder(nn.Module):
    """Read a vector from pictures: four halvings, then two full layers.

    Args:
        channels: C of the pictures.
        size: S, at least 16.
        outputs: length of the vector.
        hidden: of the first full layer; the paper's is 4096 for latents, 512 for labels.
        width: channels after the first convolution; the paper's is 32.
    """

    def __init__(self, channels: int, size: int, outputs: int, hidden: int, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for depth in range(4):
            layers += _normed(Conv2d(width << depth - 1 if depth else channels, width << depth, 5, 2, 2))
        self.main = nn.Sequential(*layers, *_normed(Conv2d(width << 3, hidden, size >> 4)), Conv2d(hidden, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, outputs] of pictures [N, C, S, S] in [-1, 1]."""
        return self.main(x).flatten(1)


def check_size(size: tuple[int, int]) -> None:
    """Refuse pictures that are not squares of a power of two from 16 to 256 pixels.

    Raises:
        SizeError: with the nearest valid size.
    """
    check_square(size, 16, 256, "IcGAN makes")


def _normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [convolution, BatchNorm2d(convolution.out_channels), nn.ReLU()]
