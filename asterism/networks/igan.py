"""The network of iGAN (arXiv:1609.03552) that reads a code from a picture: its discriminator with as many outputs as a code.

Shapes: N batch, C picture channels, S side of the pictures, Z latent size.
"""

from __future__ import annotations

from torch import Tensor, nn

from asterism.networks.dcgan import initialize
from asterism.networks.layers import BatchNorm2d, Conv2d
from asterism.networks.sizes import check_square

SLOPE = 0.2
"""Negative slope of the leaky ReLUs."""


class Projector(nn.Module):
    """Read codes from pictures: convolutions that halve down to 4 x 4, then one full layer.

    Args:
        channels: C of the pictures.
        size: S.
        outputs: Z.
        width: channels after the first convolution, which double with every further one; the paper's is 128.
    """

    def __init__(self, channels: int, size: int, outputs: int, width: int = 64) -> None:
        super().__init__()
        widths = [width << depth for depth in range(size.bit_length() - 3)]
        layers: list[nn.Module] = [Conv2d(channels, width, 5, 2, 2, bias=False), nn.LeakyReLU(SLOPE)]
        for narrow, wide in zip(widths[:-1], widths[1:], strict=True):
            layers += [Conv2d(narrow, wide, 5, 2, 2, bias=False), BatchNorm2d(wide), nn.LeakyReLU(SLOPE)]
        self.main = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * widths[-1], outputs, bias=False))
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, Z] of pictures [N, C, S, S] in [-1, 1]; iGAN, whose latents are uniform, takes the tanh of it."""
        return self.main(x)


def check_size(size: tuple[int, int]) -> None:
    """Refuse pictures that are not squares of a power of two from 16 to 256 pixels.

    Raises:
        SizeError: with the nearest valid size.
    """
    check_square(size, 16, 256, "a projector reads")
