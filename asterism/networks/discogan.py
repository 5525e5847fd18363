"""The networks of DiscoGAN (arXiv:1703.05192, Section 2.2), for pictures of 64 x 64 pixels.

Parameter names and shapes are those of the authors' released code. No convolution has a bias. Weights start as PyTorch's layers
draw them, as there.

Shapes: N batch, C picture channels, W width (channels after the first convolution).
"""

from __future__ import annotations

from torch import Tensor, nn

from asterism.networks.layers import BatchNorm2d, Conv2d
from asterism.networks.sizes import SizeError
from asterism.networks.transposed import ConvTranspose2d

SLOPE = 0.2
"""Negative slope of the leaky ReLUs."""


class Generator(nn.Module):
    """Translate pictures: four halvings, perhaps a bottleneck of one pixel, and four doublings; no skips.

    Args:
        channels: C.
        width: W; the paper's is 64.
        bottleneck: channels of the single pixel between encoder and decoder; 0: there is none.
    """

    def __init__(self, channels: int, width: int = 64, bottleneck: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(SLOPE)]  # [N, W, 32, 32]
        for depth in range(3):  # [N, 8 W, 4, 4] in the end.
            layers += _down(width << depth, width << depth + 1, 2, 1)
        if bottleneck:
            layers += [*_down(width * 8, bottleneck, 1, 0), *_up(bottleneck, width * 8, 1, 0)]
        for depth in (3, 2, 1):
            layers += _up(width << depth, width << depth - 1, 2, 1)
        self.main = nn.Sequential(*layers, ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Return pictures [N, C, 64, 64] in (-1, 1) of pictures [N, C, 64, 64] in [-1, 1]; within, both are in [0, 1]."""
        return 2 * self.main((x + 1) / 2) - 1


class Discriminator(nn.Module):
    """Tell real pictures from translations.

    Args:
        channels: C.
        width: W; the paper's is 64.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        self.conv1 = Conv2d(channels, width, 4, 2, 1, bias=False)
        self.conv2 = Conv2d(width, width * 2, 4, 2, 1, bias=False)
        self.bn2 = BatchNorm2d(width * 2)
        self.conv3 = Conv2d(width * 2, width * 4, 4, 2, 1, bias=False)
        self.bn3 = BatchNorm2d(width * 4)
        self.conv4 = Conv2d(width * 4, width * 8, 4, 2, 1, bias=False)
        self.bn4 = BatchNorm2d(width * 8)
        self.conv5 = Conv2d(width * 8, 1, 4, 1, 0, bias=False)
        self.relu = nn.LeakyReLU(SLOPE)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Judge pictures [N, C, 64, 64] in [-1, 1].

        Returns:
            Logits [N], raw, and the features [N, 2 W, 16, 16], [N, 4 W, 8, 8], [N, 8 W, 4, 4] behind norm and activation.
        """
        h = self.relu(self.conv1((x + 1) / 2))
        features = []
        for convolution, norm in ((self.conv2, self.bn2), (self.conv3, self.bn3), (self.conv4, self.bn4)):
            h = self.relu(norm(convolution(h)))
            features.append(h)
        return self.conv5(h).flatten(), features


def _down(narrow: int, wide: int, stride: int, padding: int) -> list[nn.Module]:
    return [Conv2d(narrow, wide, 4, stride, padding, bias=False), BatchNorm2d(wide), nn.LeakyReLU(SLOPE)]


def _up(wide: int, narrow: int, stride: int, padding: int) -> list[nn.Module]:
    return [ConvTranspose2d(wide, narrow, 4, stride, padding, bias=False), BatchNorm2d(narrow), nn.ReLU()]


def check_size(size: tuple[int, int]) -> None:
    """Refuse pictures that are not 64 x 64.

    Raises:
        SizeError: with that size.
    """
    if tuple(size) != (64, 64):
        raise SizeError(
            f"data.size {size[0]}x{size[1]}: DiscoGAN's discriminator scores pictures of 64x64 as a whole and takes no others: "
            "say --data.size 64"
        )
