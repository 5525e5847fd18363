"""The networks of InfoGAN (arXiv:1606.03657), with the kernels and widths of its PyTorch descendant.

`plain` ones are those for SVHN's 32 px; other sides are powers of two, with as many doublings as they need, and widths that
go on doubling towards the smallest map. `full` ones are those for MNIST's 28 px: a full layer at the inner end of each network,
and pictures as values from 0 to 1.

Shapes: N batch, C picture channels, S side of the pictures, Z length of what the generator takes, D channels of what the
discriminator sees in a picture, k side of its map: 4, or 1 of full networks; q outputs of the recogniser.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from asterism.networks.dcgan import initialize
from asterism.networks.layers import BatchNorm2d, Conv2d
from asterism.networks.sizes import SizeError, check_square
from asterism.networks.transposed import ConvTranspose2d

SLOPE = 0.1
"""Negative slope of the leaky ReLUs."""

WIDEST = 448
"""Channels at most of the generator's maps; the published widths are 448, 256, 128, 64."""


class Generator(nn.Module):
    """Make pictures of noise and codes.

    Args:
        channels: C of the pictures.
        size: S.
        inputs: Z.
        widths: channels of the maps between the layers, the smallest map first.
        full: with a full layer.
    """

    def __init__(self, channels: int, size: int, inputs: int, widths: Sequence[int], *, full: bool = False) -> None:
        super().__init__()
        self.full = full
        first = [ConvTranspose2d(inputs, widths[0], 1 if full else 2, bias=False)]
        if full:
            first.append(ConvTranspose2d(widths[0], widths[1], size // 4, bias=False))
        layers: list[nn.Module] = []
        for place, convolution in enumerate([*first, *_doublings(widths[len(first) - 1 :])]):
            normed = full or place < len(widths) - 2
            layers += [convolution, *([BatchNorm2d(convolution.out_channels)] if normed else []), nn.ReLU()]
        last = ConvTranspose2d(widths[-1], channels, 4, 2, 1, bias=False)
        self.main = nn.Sequential(*layers, last, nn.Sigmoid() if full else nn.Tanh())
        self.apply(initialize)

    def forward(self, z: Tensor) -> Tensor:
        """Return pictures [N, C, S, S] in (-1, 1) of noise and codes [N, Z]."""
        y: Tensor = self.main(z[:, :, None, None])
        return 2 * y - 1 if self.full else y


class Discriminator(nn.Module):
    """Tell real pictures from generated ones, and hand on what it sees in them.

    Args:
        channels: C of the pictures.
        size: S.
        widths: channels after each convolution.
        full: with a full layer.
    """

    def __init__(self, channels: int, size: int, widths: Sequence[int], *, full: bool = False) -> None:
        super().__init__()
        self.full = full
        layers: list[nn.Module] = [Conv2d(channels, widths[0], 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for place, (narrow, wide) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            whole = full and place == len(widths) - 2
            convolution = Conv2d(narrow, wide, size // 4, bias=False) if whole else Conv2d(narrow, wide, 4, 2, 1, bias=False)
            layers += [convolution, BatchNorm2d(wide), nn.LeakyReLU(SLOPE)]
        self.trunk = nn.Sequential(*layers)
        self.head = Conv2d(widths[-1], 1, 1 if full else 4)
        self.apply(initialize)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return raw logits [N] of pictures [N, C, S, S] in [-1, 1], and what is seen in them, [N, D, k, k]."""
        h = self.trunk((x + 1) / 2 if self.full else x)
        return self.head(h).flatten(), h


class Recogniser(nn.Module):
    """Read codes from what the discriminator sees in a picture: Q(c | x), the auxiliary distribution of Section 5.

    Args:
        seen: D.
        side: k.
        outputs: q.
        width: channels of the layer between; the published is 128.
    """

    def __init__(self, seen: int, side: int, outputs: int, width: int = 128) -> None:
        super().__init__()
        self.main = nn.Sequential(
            Conv2d(seen, width, side, bias=False), BatchNorm2d(width), nn.LeakyReLU(SLOPE), Conv2d(width, outputs, 1)
        )
        self.apply(initialize)

    def forward(self, h: Tensor) -> Tensor:
        """Return [N, q] of what is seen, [N, D, k, k]."""
        return self.main(h).flatten(1)


def generator_widths(size: int, width: int, *, full: bool) -> list[int]:
    """Return the generator's widths for pictures of a size, of which `width` is the last."""
    if full:
        return [16 * width, 2 * width, width]
    return [min(width << depth, WIDEST * width // 64) for depth in reversed(range(size.bit_length() - 2))]


def discriminator_widths(size: int, width: int, *, full: bool) -> list[int]:
    """Return the discriminator's widths for pictures of a size, of which `width` is the first."""
    return [width, 2 * width, 16 * width] if full else [width << depth for depth in range(size.bit_length() - 3)]


def check_size(size: tuple[int, int], *, full: bool) -> None:
    """Refuse pictures that the networks cannot make.

    Raises:
        SizeError: with the nearest valid size.
    """
    if not full:
        check_square(size, 16, 256, "InfoGAN's plain networks make")
    elif size[0] != size[1] or size[0] % 4 or not 12 <= size[0] <= 64:
        nearest = min(max(round(max(size) / 4) * 4, 12), 64)
        raise SizeError(
            f"data.size {size[0]}x{size[1]}: InfoGAN's full networks make squares whose side is a multiple of 4 from 12 to 64; "
            f"the nearest is {nearest}x{nearest}"
        )


def _doublings(widths: Sequence[int]) -> list[nn.ConvTranspose2d]:
    return [ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False) for wide, narrow in zip(widths[:-1], widths[1:], strict=True)]
