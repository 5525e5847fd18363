"""The networks of StarGAN (arXiv:1711.09020, Tables IV and V), which Fixed-Point GAN (arXiv:1908.06965) shares.

Parameter names and shapes are those of the authors' released checkpoints, without the running statistics that their
instance norms kept and that must not be used.

Shapes: N batch, C picture channels, n code length, L labels, P patches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asterism.networks.layers import Conv2d, InstanceNorm2d
from asterism.networks.sizes import check_multiples_of_4
from asterism.networks.transposed import ConvTranspose2d

SLOPE = 0.01
"""Negative slope of the discriminator's leaky ReLUs."""


class Generator(nn.Module):
    """Translate a picture to the domain that a code describes.

    All padding is zero and must stay so: instance norm removes a constant plane, so the tiled code reaches the deeper
    layers only because the zero borders break its constancy.

    Args:
        channels: C of the pictures.
        code_size: n.
        width: channels after the first convolution; the paper's is 64.
        blocks: residual blocks; the paper's number is 6.
        residual: the last convolution gives a change that is added to the input, as in Fixed-Point GAN.
    """

    def __init__(self, channels: int, code_size: int, width: int = 64, blocks: int = 6, residual: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_block(Conv2d(channels + code_size, width, 7, 1, 3, bias=False))]  # [N, width, H, W]
        for depth in range(2):
            layers += _block(Conv2d(width << depth, width << depth + 1, 4, 2, 1, bias=False))
        layers += [ResidualBlock(width * 4) for _ in range(blocks)]  # [N, 4 width, H / 4, W / 4]
        for depth in (2, 1):
            layers += _block(ConvTranspose2d(width << depth, width << depth - 1, 4, 2, 1, bias=False))
        layers.append(Conv2d(width, channels, 7, 1, 3, bias=False))  # [N, C, H, W]
        self.main = nn.Sequential(*layers)
        self.residual = residual

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Return pictures [N, C, H, W] in (-1, 1) from pictures [N, C, H, W] in [-1, 1] and codes [N, n].

        H and W are multiples of 4.
        """
        y = self.main(with_code(x, c))  # [N, C, H, W]
        return torch.tanh(x + y if self.residual else y)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norm, added to the input; no activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (Conv2d(channels, channels, 3, 1, 1, bias=False) for _ in range(2))
        self.main = nn.Sequential(*_block(first), second, InstanceNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, channels, H, W] to the same shape."""
        return x + self.main(x)


class Discriminator(nn.Module):
    """Tell real from fake patch by patch, and classify the picture.

    Convolutions and leaky ReLUs only, no normalisation, so the gradient of its score with respect to the input can be
    written out (`score_gradient`).

    Args:
        channels: C of the pictures.
        num_labels: L.
        size: height and width of the pictures, each at least 2**layers.
        width: channels after the first convolution; the paper's is 64.
        layers: halving convolutions; the paper's number is 6.
    """

    def __init__(self, channels: int, num_labels: int, size: tuple[int, int], width: int = 64, layers: int = 6) -> None:
        super().__init__()
        trunk: list[nn.Module] = []
        for depth in range(layers):
            trunk += [Conv2d(channels if depth == 0 else width << depth - 1, width << depth, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        top = width << layers - 1
        self.main = nn.Sequential(*trunk)
        self.conv1 = Conv2d(top, 1, 3, 1, 1, bias=False)  # source head: [N, 1, H / 2**layers, W / 2**layers]
        self.conv2 = Conv2d(top, num_labels, (size[0] >> layers, size[1] >> layers), bias=False)  # class head: [N, L, 1, 1]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return patch logits [N, P] and class logits [N, L], both raw, of pictures [N, C, H, W] in [-1, 1]."""
        h = self.main(x)  # [N, width 2**(layers - 1), H / 2**layers, W / 2**layers]
        return self.conv1(h).flatten(1), self.conv2(h).flatten(1)  # [N, P], [N, L]

    def score_gradient(self, x: Tensor) -> Tensor:
        """Return the gradient of the sum over patches of the logits with respect to x, [N, C, H, W].

        An ordinary differentiable function of the weights, so that a penalty on it needs one backward pass instead of
        differentiating a gradient: from the source head down, every convolution is its transpose and every leaky ReLU
        a factor of 1 or the slope. Equal to `torch.autograd.grad(logits.sum(), x, create_graph=True)`; the biases have
        no part in it.
        """
        convolutions = []
        with torch.no_grad():
            h = x
            for layer in self.main:
                size, h = h.shape[2:], layer(h)
                if isinstance(layer, Conv2d):
                    convolutions.append((layer, torch.where(h > 0, h.new_ones(()), h.new_full((), SLOPE)), size))
        g = self.conv1.transpose(torch.ones_like(h[:, :1]), h.shape[2:])  # Of the sum over patches: ones.
        for convolution, gain, size in reversed(convolutions):
            g = convolution.transpose(g * gain, size)
        return g


def with_code(x: Tensor, c: Tensor) -> Tensor:
    """Return pictures x [N, C, H, W] with the code c [N, n] at every pixel, [N, C + n, H, W], in the layout of x."""
    planes = c[:, :, None, None].expand(-1, -1, x.shape[2], x.shape[3])  # [N, n, H, W]
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    return torch.cat([x, planes.to(x.dtype)], dim=1).contiguous(memory_format=layout)


def _block(convolution: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Convolution, and instance norm without running statistics (so that train and eval agree) with its ReLU.

    The last holds the index that the published ReLU has.
    """
    return convolution, InstanceNorm2d(convolution.out_channels, slope=0.0), nn.Identity()


def check_size(size: tuple[int, int], layers: int) -> None:
    """Refuse pictures that the two networks cannot take.

    Args:
        size: height and width; the generator takes multiples of 4, the discriminator at least 2**layers.
        layers: halving convolutions of the discriminator.

    Raises:
        SizeError: with the nearest valid size.
    """
    check_multiples_of_4(size, max(4, 1 << layers), layers)
