"""The networks of DCGAN (arXiv:1511.06434), with the kernels, names and shapes of its PyTorch descendants, WGAN's too.

DCGAN's take pictures of 64 px. Other sizes have as many blocks as the side has powers of two beyond 4, and widths that go on
doubling towards the smallest map.

Shapes: N batch, C picture channels, Z latent size, S side of the pictures, n = log2(S / 4) doublings.
"""

from __future__ import annotations

from torch import Tensor, nn

from asterism.networks.layers import BatchNorm2d, Conv2d
from asterism.networks.sizes import check_square
from asterism.networks.transposed import ConvTranspose2d

SLOPE = 0.2
"""Negative slope of the discriminator's leaky ReLUs."""


class Generator(nn.Module):
    """Make pictures of latents.

    Args:
        channels: C of the pictures.
        size: S.
        latent_dim: Z.
        width: channels before the last convolution; they double towards the smallest map, which has width * 2**(n - 1).
        extra: further convolutions, 3 x 3, before the last one.
        norm: with batch norms.
    """

    def __init__(
        self, channels: int, size: int, latent_dim: int = 100, width: int = 64, extra: int = 0, *, norm: bool = True
    ) -> None:
        super().__init__()
        widths = [width << depth for depth in reversed(range(_doublings(size)))]
        convolutions: list[nn.ConvTranspose2d | nn.Conv2d] = [ConvTranspose2d(latent_dim, widths[0], 4, 1, 0, bias=False)]
        for wide, narrow in zip(widths[:-1], widths[1:], strict=True):
            convolutions.append(ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False))
        convolutions += [Conv2d(width, width, 3, 1, 1, bias=False) for _ in range(extra)]
        layers: list[nn.Module] = []
        for convolution in convolutions:
            layers += [convolution, *([BatchNorm2d(convolution.out_channels)] if norm else []), nn.ReLU()]
        self.main = nn.Sequential(*layers, ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())
        self.apply(initialize)

    def forward(self, z: Tensor) -> Tensor:
        """Return pictures [N, C, S, S] in (-1, 1) of latents [N, Z], standard normal."""
        return self.main(z[:, :, None, None])  # [N, Z, 1, 1], then 4 x 4, 8 x 8, ... S x S.


class Discriminator(nn.Module):
    """Tell real pictures from generated ones.

    Args:
        channels: C of the pictures.
        size: S.
        width: channels after the first convolution; they double with every halving, up to width * 2**(n - 1).
        extra: further convolutions, 3 x 3, after the first one.
    """

    def __init__(self, channels: int, size: int, width: int = 64, extra: int = 0) -> None:
        super().__init__()
        widths = [width << depth for depth in range(_doublings(size))]
        layers: list[nn.Module] = [Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(SLOPE)]
        for _ in range(extra):
            layers += [Conv2d(width, width, 3, 1, 1, bias=False), BatchNorm2d(width), nn.LeakyReLU(SLOPE)]
        for narrow, wide in zip(widths[:-1], widths[1:], strict=True):
            layers += [Conv2d(narrow, wide, 4, 2, 1, bias=False), BatchNorm2d(wide), nn.LeakyReLU(SLOPE)]
        self.main = nn.Sequential(*layers, Conv2d(widths[-1], 1, 4, 1, 0, bias=False))
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        """Return raw logits, or a critic's scores, [N] of pictures [N, C, S, S] in [-1, 1]."""
        return self.main(x).flatten()  # [N, 1, 1, 1] before.


def initialize(module: nn.Module) -> None:
    """Draw weights of convolutions from N(0, 0.02) and gains of batch norms from N(1, 0.02), as Section 4 says."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def check_size(size: tuple[int, int]) -> None:
    """Refuse pictures that are not squares of a power of two from 16 to 256 pixels.

    Raises:
        SizeError: with the nearest valid size.
    """
    check_square(size, 16, 256, "DCGAN makes")


def _doublings(size: int) -> int:
    return size.bit_length() - 3
