"""The networks of WGAN-GP (arXiv:1704.00028): the residual ones of its experiments at 64 px, and plain ones.

The plain ones have the names and shapes of the PyTorch descendant's networks for CIFAR-10 at 32 px. Further blocks take both to
other sizes. No critic here has batch norms: the penalty is on each picture's own gradient (Section 4). Plain networks start as
PyTorch's layers do, as in the descendant, residual ones as in the official code (`initialize`).

Shapes: N batch, C picture channels, Z latent size, S side of the pictures, d width, n = log2(S / 4) doublings.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from asterism.networks.layers import BatchNorm2d, Conv2d
from asterism.networks.sizes import check_square


class PlainGenerator(nn.Module):
    """Transposed convolutions, 2 x 2.

    Args:
        channels: C.
        size: S.
        latent_dim: Z.
        width: d, channels before the last convolution; they double towards the smallest map.
    """

    def __init__(self, channels: int, size: int, latent_dim: int, width: int) -> None:
        super().__init__()
        self.blocks = doublings(size) - 1
        widths = [width << depth for depth in reversed(range(self.blocks + 1))]
        features = 16 * widths[0]
        self.preprocess = nn.Sequential(nn.Linear(latent_dim, features), BatchNorm2d(features), nn.ReLU())
        for number, (wide, narrow) in enumerate(zip(widths[:-1], widths[1:], strict=True), start=1):
            block = nn.Sequential(nn.ConvTranspose2d(wide, narrow, 2, 2), BatchNorm2d(narrow), nn.ReLU())
            self.add_module(f"block{number}", block)
        self.deconv_out = nn.ConvTranspose2d(width, channels, 2, 2)

    def forward(self, z: Tensor) -> Tensor:
        """Return pictures [N, C, S, S] in (-1, 1) of latents [N, Z], standard normal."""
        linear, norm, relu = self.preprocess
        h = relu(norm(linear(z)[:, :, None, None])).unflatten(1, (-1, 16)).flatten(2).unflatten(2, (4, 4))
        for number in range(1, self.blocks + 1):
            h = self.get_submodule(f"block{number}")(h)
        return self.deconv_out(h).tanh()


class PlainCritic(nn.Module):
    """Strided convolutions.

    Args:
        channels: C.
        size: S.
        width: d, channels after the first convolution; they double with every halving.
    """

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        widths = [channels, *(width << depth for depth in range(doublings(size)))]
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
            layers += [Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(0.01)]
        self.main = nn.Sequential(*layers)
        self.linear = nn.Linear(16 * widths[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores [N] of pictures [N, C, S, S] in [-1, 1]."""
        return self.linear(self.main(x).flatten(1))[:, 0]


class ResidualGenerator(nn.Module):
    """A residual block for each doubling; 8 d channels at most.

    Args:
        channels, size, latent_dim: as above.
        width: d, channels at the full size.
    """

    def __init__(self, channels: int, size: int, latent_dim: int, width: int) -> None:
        super().__init__()
        widths = _widths(size, width)
        self.linear = nn.Linear(latent_dim, 16 * widths[0])
        self.blocks = nn.ModuleList(_Up(wide, narrow) for wide, narrow in zip(widths[:-1], widths[1:], strict=True))
        self.norm = BatchNorm2d(width)
        self.last = Conv2d(width, channels, 3, 1, 1)
        self.apply(initialize)

    def forward(self, z: Tensor) -> Tensor:
        """Return pictures [N, C, S, S] in (-1, 1) of latents [N, Z], standard normal."""
        h = self.linear(z).unflatten(1, (-1, 4, 4))
        for block in self.blocks:
            h = block(h)
        return self.last(F.relu(self.norm(h))).tanh()


class ResidualCritic(nn.Module):
    """A residual block for each halving, with layer norms; 8 d channels at most.

    Args:
        channels, size: as above.
        width: d, channels at the full size.
    """

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        widths = _widths(size, width)[::-1]
        self.first = Conv2d(channels, width, 3, 1, 1)
        self.blocks = nn.ModuleList(_Down(narrow, wide) for narrow, wide in zip(widths[:-1], widths[1:], strict=True))
        self.linear = nn.Linear(16 * widths[-1], 1)
        self.apply(initialize)
        nn.init.xavier_uniform_(self.first.weight)  # No ReLU is before it.

    def forward(self, x: Tensor) -> Tensor:
        """Return scores [N] of pictures [N, C, S, S] in [-1, 1]."""
        h = self.first(x)
        for block in self.blocks:
            h = block(h)
        return self.linear(h.flatten(1))[:, 0]


class _Up(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = BatchNorm2d(inputs), BatchNorm2d(outputs)
        self.conv1 = Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.conv2 = Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = Conv2d(inputs, outputs, 1)

    def forward(self, h: Tensor) -> Tensor:
        """Map [N, inputs, h, w] to [N, outputs, 2 h, 2 w]."""
        made = self.conv1(_doubled(F.relu(self.norm1(h))))
        return _doubled(self.shortcut(h)) + self.conv2(F.relu(self.norm2(made)))  # 1 x 1: before doubling is the same.


class _Down(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(1, inputs), nn.GroupNorm(1, inputs)  # Layer norms over C, H and W.
        self.conv1 = Conv2d(inputs, inputs, 3, 1, 1, bias=False)
        self.conv2 = Conv2d(inputs, outputs, 3, 1, 1)
        self.shortcut = Conv2d(inputs, outputs, 1)

    def forward(self, h: Tensor) -> Tensor:
        """Map [N, inputs, h, w] to [N, outputs, h / 2, w / 2]."""
        made = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(h))))))
        return self.shortcut(F.avg_pool2d(h, 2)) + F.avg_pool2d(made, 2)


def initialize(module: nn.Module) -> None:
    """Draw weights from Xavier's uniform distribution, of twice the variance behind a ReLU (3 x 3 kernels); biases are 0."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight, 2**0.5 if module.weight.shape[2:] == (3, 3) else 1.0)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _doubled(h: Tensor) -> Tensor:
    return F.interpolate(h, scale_factor=2, mode="nearest")


def _widths(size: int, width: int) -> list[int]:
    """Channels of the maps from 4 x 4 to S x S."""
    return [width * min(8, 1 << depth) for depth in reversed(range(doublings(size) + 1))]


def check_size(size: tuple[int, int]) -> None:
    """Refuse pictures that are not squares of a power of two from 16 to 256 pixels.

    Raises:
        SizeError: with the nearest valid size.
    """
    check_square(size, 16, 256, "WGAN-GP makes")


def doublings(size: int) -> int:
    """Return how often a map of 4 x 4 is doubled to reach the side `size`."""
    return size.bit_length() - 3
