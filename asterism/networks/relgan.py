"""The networks of RelGAN (arXiv:1908.07269).

Parameter names and shapes are those of the authors' PyTorch port; in their Keras code the same layers have other names.

Shapes: N batch, C picture channels, L labels, P patches; v [N, L] relative labels, target minus source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from asterism.networks.layers import Conv2d, moved
from asterism.networks.sizes import check_multiples_of_4
from asterism.networks.stargan import with_code
from asterism.networks.transposed import ConvTranspose2d

SLOPE = 0.01
"""Negative slope of the discriminator's leaky ReLUs."""
EPSILON, MOMENTUM = 1e-5, 0.1
"""Of the norm: added to the variance; share of a batch in the running statistics."""


class SwitchableNorm2d(nn.Module):
    """A learnt mixture of instance, layer and batch norm (arXiv:1806.10779).

    Args:
        channels: of the maps.
        batch: the third part's statistics are the batch's, in use their running averages; else the constants mean 1 and
            variance 0, in training as in use, which is what the authors' Keras code computed.
        unbiased: instance variances are divided by pixels - 1.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, batch: bool = True, unbiased: bool = False) -> None:
        super().__init__()
        self.batch, self.unbiased = batch, unbiased
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.mean_weight = nn.Parameter(torch.ones(3))
        self.var_weight = nn.Parameter(torch.ones(3))
        self.register_buffer("running_mean", torch.full((1, channels, 1), 0.0 if batch else 1.0))
        self.register_buffer("running_var", torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape; the arithmetic is at least float32."""
        wide = x.to(self.weight.dtype)
        var, mean = torch.var_mean(wide, (2, 3), correction=int(self.unbiased))  # [N, C]
        square = var + mean.square()
        mean_layer = mean.mean(1, keepdim=True)  # [N, 1]
        var_layer = square.mean(1, keepdim=True) - mean_layer.square()
        if self.training and self.batch:
            mean_batch = mean.mean(0, keepdim=True)  # [1, C]
            var_batch = square.mean(0, keepdim=True) - mean_batch.square()
            moved(self.running_mean, mean_batch[:, :, None], MOMENTUM, self.weight)
            moved(self.running_var, var_batch[:, :, None], MOMENTUM, self.weight)
        else:
            mean_batch, var_batch = self.running_mean[:, :, 0], self.running_var[:, :, 0]
        a, b = self.mean_weight.softmax(0), self.var_weight.softmax(0)
        mean = a[0] * mean + a[1] * mean_layer + a[2] * mean_batch
        var = b[0] * var + b[1] * var_layer + b[2] * var_batch
        scale = self.weight * (var + EPSILON).rsqrt()[:, :, None, None]  # [N, C, 1, 1]
        return (wide * scale + (self.bias - mean[:, :, None, None] * scale)).to(x.dtype)


class Generator(nn.Module):
    """Change a picture by as much of each label as v says: StarGAN's shape with biases and switchable norms.

    Args:
        channels: C.
        labels: L.
        width: channels after the first convolution; the paper's is 64.
        blocks: residual blocks; the paper's number is 6.
        batch, unbiased: of the norms.
    """

    def __init__(
        self, channels: int, labels: int, width: int = 64, blocks: int = 6, batch: bool = True, unbiased: bool = False
    ) -> None:
        super().__init__()

        def block(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
            return nn.Sequential(layer, SwitchableNorm2d(layer.out_channels, batch, unbiased), nn.ReLU())

        self.conv_in = block(Conv2d(channels + labels, width, 7, 1, 3))
        self.down1 = block(Conv2d(width, 2 * width, 4, 2, 1))
        self.down2 = block(Conv2d(2 * width, 4 * width, 4, 2, 1))
        self.resb = nn.Sequential(*(ResidualBlock(4 * width, batch, unbiased) for _ in range(blocks)))
        self.up2 = block(ConvTranspose2d(4 * width, 2 * width, 4, 2, 1))
        self.up1 = block(ConvTranspose2d(2 * width, width, 4, 2, 1))
        self.conv_out = nn.Sequential(Conv2d(width, channels, 7, 1, 3))
        initialise(self, he=2.0)

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        """Return pictures [N, C, H, W] in (-1, 1) from pictures [N, C, H, W] in [-1, 1]; H and W are multiples of 4."""
        h = self.down2(self.down1(self.conv_in(with_code(x, v))))
        return self.conv_out(self.up1(self.up2(self.resb(h)))).tanh()

    def orthogonality(self) -> Tensor:
        """Return how far from orthogonal the kernels larger than 1 x 1 are, a scalar >= 0.

        The sum over kernel positions of the squared off-diagonal elements of W^T W (arXiv:1809.11096, Eq. 3, as the port
        computes it).
        """
        found = []
        with torch.autocast(next(self.parameters()).device.type, enabled=False):  # In the weights' own type.
            for kernel in (p for p in self.parameters() if p.ndim == 4 and p.shape[3] > 1):
                w = kernel.flatten(2).permute(2, 0, 1)  # [positions, rows, columns]
                product = w.transpose(1, 2) @ w
                found.append((product - torch.diag_embed(product.diagonal(dim1=1, dim2=2))).square().sum())
            return torch.stack(found).sum()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with switchable norms, added to the input; no activation after the sum."""

    def __init__(self, channels: int, batch: bool, unbiased: bool) -> None:
        super().__init__()
        first, second = (Conv2d(channels, channels, 3, 1, 1) for _ in range(2))
        norms = [SwitchableNorm2d(channels, batch, unbiased) for _ in range(2)]
        self.f = nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1])

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, channels, H, W] to the same shape."""
        return x + self.f(x)


class Discriminator(nn.Module):
    """Features of a picture, and three heads on them: real, match, and the degree of interpolation.

    Convolutions and leaky ReLUs only, so that the gradient of a score can be written out (`gradient`).

    Args:
        channels: C.
        labels: L.
        widths: channels after each halving convolution; the paper's are 64, 128, 256, 512, 1024, 2048.
        degrees: channels that the degree of interpolation is the mean of.
        pooled: the degree is one number for a picture, the mean of all patches; else one for each patch.
    """

    def __init__(self, channels: int, labels: int, widths: Sequence[int], degrees: int = 64, pooled: bool = False) -> None:
        super().__init__()
        trunk: list[nn.Module] = []
        for before, width in zip((channels, *widths), widths, strict=False):
            trunk += [Conv2d(before, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        top, self.pooled = widths[-1], pooled
        self.convs = nn.Sequential(*trunk)
        self.conv_adv = nn.Conv2d(top, 1, 1)
        self.conv_int = nn.Conv2d(top, degrees, 1)
        self.convs_cls = nn.Sequential(nn.Conv2d(2 * top + labels, top, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(top, 1, 1))
        initialise(self.convs, he=2.0)
        for head in (self.conv_adv, self.conv_int, self.convs_cls):
            initialise(head, he=1.0)

    def features(self, x: Tensor) -> Tensor:
        """Return features [N, F, h, w] of pictures [N, C, H, W] in [-1, 1]; every halving halves H and W."""
        return self.convs(x)

    def real(self, h: Tensor) -> Tensor:
        """Return how real each patch is, raw [N, P], of features."""
        return self.conv_adv(h).flatten(1)

    def match(self, h: Tensor, h_other: Tensor, v: Tensor) -> Tensor:
        """Return whether v leads from one picture to the other, raw [N, P], of the features of both."""
        planes = v[:, :, None, None].expand(-1, -1, *h.shape[2:]).to(h.dtype)
        return self.convs_cls(torch.cat([h, h_other, planes], 1)).flatten(1)

    def degree(self, h: Tensor) -> Tensor:
        """Return the degree of interpolation, raw [N, P], or [N, 1] where it is pooled, of features."""
        degrees = self.conv_int(h).mean(1).flatten(1)
        return degrees.mean(1, keepdim=True) if self.pooled else degrees

    def gradient(self, x: Tensor, head: Tensor) -> Tensor:
        """Return the gradient with respect to x, [N, C, H, W], of a head's sum over patches, as a function of the weights.

        Args:
            head: the head's weight [1, F, 1, 1]; biases have no part in it.
        """
        convolutions = []
        with torch.no_grad():
            h = x
            for layer in self.convs:
                size, h = h.shape[2:], layer(h)
                if isinstance(layer, Conv2d):
                    convolutions.append((layer, torch.where(h > 0, h.new_ones(()), h.new_full((), SLOPE)), size))
        g = head.to(h.dtype).expand_as(h).contiguous(memory_format=torch.channels_last)
        for convolution, gain, size in reversed(convolutions):
            g = convolution.transpose(g * gain, size)
        return g

    def real_gradient(self, x: Tensor) -> Tensor:
        """Return the gradient of `real`, summed over patches."""
        return self.gradient(x, self.conv_adv.weight)

    def degree_gradient(self, x: Tensor) -> Tensor:
        """Return the gradient of the degree of interpolation, summed over patches."""
        return self.gradient(x, self.conv_int.weight.mean(0, keepdim=True))


def initialise(module: nn.Module, he: float) -> None:
    """Draw kernels as the Keras code: normal, cut off at two deviations, of variance `he` / fan-in; biases are 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            deviation = math.sqrt(he / layer.weight[0].numel()) / 0.87962566  # What cutting off leaves of it.
            nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


def check_size(size: tuple[int, int], layers: int) -> None:
    """Refuse pictures that the two networks cannot take: sides are multiples of 4, and at least 2**layers.

    Raises:
        SizeError: with the nearest valid size.
    """
    check_multiples_of_4(size, max(4, 1 << layers), layers)
