"""The networks of SemiStarGAN (ACCV 2018): how StarGAN's generator starts, and the Y model, a discriminator of two branches.

Shapes: N batch, C picture channels, L labels, P patches, K passes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asterism.networks.layers import BatchNorm2d, Conv2d
from asterism.networks.noise import hashed, noisy
from asterism.networks.sizes import check_multiples_of_4

SLOPE = 0.2
"""Negative slope of the Y model's leaky ReLUs."""

NOISE = 0.15
"""Standard deviation of the noise that a pass of the Y model adds to its input."""

RATE = 0.5
"""Share of the activations that a dropout of the Y model clears."""

SMALLEST = 64
"""Of the sides: the classifier halves six times."""


class YModel(nn.Module):
    """Tell real from fake patch by patch, and classify the picture, in two branches behind two convolutions.

    The branch of patches has no norm, so that the gradient of its score can be written out (`score_gradient`); that of the
    classes has batch norm and dropout.

    Args:
        channels: C of the pictures.
        num_labels: L.
        width: channels after the first convolution; the paper's is 64.
        deep: the branch of patches halves four times and not twice, as published for five labels.
    """

    def __init__(self, channels: int, num_labels: int, width: int = 64, deep: bool = False) -> None:
        super().__init__()
        self.shared = nn.Sequential(*_halving(channels, width), *_halving(width, 2 * width))  # [N, 2 width, H / 4, W / 4]
        wide, wider = 4 * width, 8 * width
        widths = [2 * width, *((wide, wide, wider, wider) if deep else (wide, wider))]
        layers = [layer for sizes in zip(widths[:-1], widths[1:], strict=True) for layer in _halving(*sizes)]
        self.patches = nn.Sequential(*layers, Conv2d(wider, 1, 3, 1, 1, bias=False))  # [N, 1, H / 16, W / 16], deep H / 64
        self.classes = nn.ModuleList(
            nn.Sequential(*(_normed(*sizes, kernel) for sizes in pairs))
            for kernel, pairs in (
                (4, ((2 * width, wide), (wide, wide))),
                (4, ((wide, wider), (wider, wider))),
                (1, ((wider, wide), (wide, 2 * width))),
            )
        )
        self.head = Conv2d(2 * width, num_labels, 1, bias=False)
        self.apply(initialize)

    def forward(self, x: Tensor, seed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return patch logits [N, P] and class logits [N, L], both raw, of pictures [N, C, H, W] in [-1, 1].

        Args:
            seed: int64 [N], of each picture's noise and dropout in this pass; none: no noise and no dropout.
        """
        h = self.shared(noisy(x, seed, NOISE))
        return self.patches(h).flatten(1), self._classes(h, seed)

    def classify(self, x: Tensor, seed: Tensor | None = None) -> Tensor:
        """Return the class logits [N, L] alone."""
        return self._classes(self.shared(noisy(x, seed, NOISE)), seed)

    def _classes(self, h: Tensor, seed: Tensor | None) -> Tensor:
        for number, layers in enumerate(self.classes, start=1):
            if seed is not None:
                h = h * (hashed(seed, number, h[0].numel()).view_as(h) >= RATE).to(h.dtype) / (1 - RATE)
            h = layers(h)
        return self.head(h.mean((2, 3), keepdim=True)).flatten(1)

    def score_gradient(self, x: Tensor, seed: Tensor | None = None) -> Tensor:
        """Return the gradient of the sum over patches of the logits with respect to x, [N, C, H, W].

        Written out as StarGAN's (`asterism.networks.stargan`): an ordinary differentiable function of the weights, equal to
        `torch.autograd.grad(logits.sum(), x, create_graph=True)`. Arguments as for `forward`.
        """
        convolutions = []
        with torch.no_grad():
            h = noisy(x, seed, NOISE)
            for layer in (*self.shared, *list(self.patches)[:-1]):
                size, h = h.shape[2:], layer(h)
                if isinstance(layer, Conv2d):
                    convolutions.append((layer, torch.where(h > 0, h.new_ones(()), h.new_full((), SLOPE)), size))
        head = self.patches[-1]
        assert isinstance(head, Conv2d)
        g = head.transpose(torch.ones_like(h[:, :1]), h.shape[2:])
        for convolution, gain, size in reversed(convolutions):
            g = convolution.transpose(g * gain, size)
        return g


def initialize(module: nn.Module) -> None:
    """Draw kernels from N(0, 0.02), cut at two deviations, and gains of instance norms from N(1, 0.02)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.trunc_normal_(module.weight, 0.0, 0.02, -0.04, 0.04)
    elif isinstance(module, nn.InstanceNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def check_size(size: tuple[int, int]) -> None:
    """Refuse pictures that the two networks cannot take: sides are multiples of 4 and at least 64.

    Raises:
        SizeError: with the nearest valid size.
    """
    check_multiples_of_4(size, SMALLEST, 6)


def _halving(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.LeakyReLU(SLOPE)


def _normed(inputs: int, outputs: int, kernel: int) -> nn.Module:
    convolution = Conv2d(inputs, outputs, kernel, 2 if kernel == 4 else 1, 1 if kernel == 4 else 0, bias=False)
    return nn.Sequential(convolution, BatchNorm2d(outputs), nn.LeakyReLU(SLOPE))
