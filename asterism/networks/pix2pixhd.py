"""The networks of pix2pixHD (arXiv:1711.11585, Section 3 and Appendix), and what it does with instances.

Parameter names and shapes are those of the authors' released checkpoints. The norms have neither scale, shift nor running
statistics; the biases in front of them have no effect on any output and are there since the checkpoints have them.

Shapes: N batch, C channels, W width (channels after the first convolution), F channels of features, K classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.machine import at_least_float32
from asterism.networks.layers import Conv2d, InstanceNorm2d
from asterism.networks.sizes import SizeError
from asterism.networks.transposed import ConvTranspose2d

SLOPE = 0.2
"""Negative slope of the discriminators' leaky ReLUs."""

MOST = 512
"""Channels of the discriminators' widest layers."""

LEAST = 2
"""Pixels of the smallest map: a norm needs more than one value, a reflected border a neighbour."""


def halve(x: Tensor) -> Tensor:
    """Return maps [N, C, H / 2, W / 2]: means over 3 x 3 pixels, at the border over those that are there."""
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


class Generator(nn.Module):
    """The global generator G1: halve, transform, double. Without blocks, and narrow, it is the feature encoder E.

    Args:
        channels: that come in.
        made: channels that go out.
        width: W; the paper's is 64.
        halvings: n; the paper's number is 4.
        blocks: residual blocks at the smallest size; the paper's number is 9.
    """

    passes = ("forward", "features")  # What activations are computed twice by.

    def __init__(self, channels: int, made: int, width: int = 64, halvings: int = 4, blocks: int = 9) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), *_block(Conv2d(channels, width, 7))]  # [N, W, H, W]
        for depth in range(halvings):
            layers += _block(Conv2d(width << depth, width << depth + 1, 3, 2, 1))  # [N, 2 W, H / 2, W / 2], ...
        layers += [ResidualBlock(width << halvings) for _ in range(blocks)]
        for depth in range(halvings, 0, -1):
            layers += _block(ConvTranspose2d(width << depth, width << depth - 1, 3, 2, 1, output_padding=1))
        layers += [nn.ReflectionPad2d(3), Conv2d(width, made, 7)]  # [N, made, H, W]
        self.model = nn.Sequential(*layers)
        initialize(self)

    def features(self, x: Tensor) -> Tensor:
        """Return what stands before the last convolution, [N, W, H, W], which an enhancer goes on from."""
        return self.model[:-2](x)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps [N, made, H, W] in (-1, 1) of x [N, C, H, W]; sides are multiples of 2**n."""
        return torch.tanh(self.model(x))


class Enhancer(nn.Module):
    """The local enhancers G2, each of which doubles the size of what the network before it makes.

    Args:
        channels: that come in.
        made: channels that go out.
        width: of the network before the first, whose features it takes; each has half the width of the one before.
        stages: enhancers, one or more; the paper has one.
        blocks: residual blocks of each; the paper's number is 3.
    """

    def __init__(self, channels: int, made: int, width: int = 64, stages: int = 1, blocks: int = 3) -> None:
        super().__init__()
        self.stages = stages
        for stage in range(1, stages + 1):
            wide, own = width >> stage - 1, width >> stage
            down = [nn.ReflectionPad2d(3), *_block(Conv2d(channels, own, 7)), *_block(Conv2d(own, wide, 3, 2, 1))]
            up: list[nn.Module] = [ResidualBlock(wide) for _ in range(blocks)]
            up += _block(ConvTranspose2d(wide, own, 3, 2, 1, output_padding=1))
            if stage == stages:
                up += [nn.ReflectionPad2d(3), Conv2d(own, made, 7)]
            self.add_module(f"model{stage}_1", nn.Sequential(*down))
            self.add_module(f"model{stage}_2", nn.Sequential(*up))
        initialize(self)

    def forward(self, features: Tensor, inputs: list[Tensor]) -> Tensor:
        """Return pictures [N, made, H, W] in (-1, 1).

        Args:
            features: of G1, [N, W, H / 2**stages, W / 2**stages].
            inputs: [N, C, H, W], then the same halved once, twice, ...; the largest first, of all sizes that are made.
        """
        x = features
        for stage, own in zip(range(1, self.stages + 1), reversed(inputs[: self.stages]), strict=True):
            down, up = (self.get_submodule(f"model{stage}_{part}") for part in (1, 2))
            x = up(down(own) + x)
        return torch.tanh(x)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norm, added to the input; no activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = Conv2d(channels, channels, 3), Conv2d(channels, channels, 3)
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), *_block(first), nn.ReflectionPad2d(1), second, InstanceNorm2d(channels, affine=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, channels, H, W] to the same shape."""
        return x + self.conv_block(x)


class Discriminator(nn.Module):
    """PatchGANs of one kind, each for pictures of half the size that the one before it sees (Section 3.1).

    `scale0` sees the smallest pictures, the one with the highest number those in full size, as in released checkpoints.

    Args:
        channels: of a pair, condition and picture.
        width: W; the paper's is 64.
        layers: halving convolutions; the paper's number is 3, by which a logit sees 70 x 70 pixels.
        scales: how many; the paper's number is 2 at 1024 x 512 and 3 at 2048 x 1024.
    """

    def __init__(self, channels: int, width: int = 64, layers: int = 3, scales: int = 2) -> None:
        super().__init__()
        self.layers, self.scales = layers, scales
        widths = [channels, *(min(width << depth, MOST) for depth in range(layers + 1)), 1]
        for scale in range(scales):
            for layer in range(layers + 2):
                convolution = Conv2d(widths[layer], widths[layer + 1], 4, 2 if layer < layers else 1, 2)
                own: tuple[nn.Module, ...] = _block(convolution, SLOPE)
                if layer == 0:
                    own = convolution, nn.LeakyReLU(SLOPE)
                self.add_module(f"scale{scale}_layer{layer}", nn.Sequential(*(own if layer <= layers else own[:1])))
        initialize(self)

    def forward(self, condition: Tensor, x: Tensor, scales: int | None = None) -> list[list[Tensor]]:
        """Return what every layer of every discriminator makes of pairs, [N, C_j, h_ij, w_ij]: at [i][-1] the logits, raw.

        Args:
            condition: [N, C, H, W], what the picture is made from.
            x: pictures [N, C', H, W] in [-1, 1].
            scales: how many discriminators are asked, those of the smaller pictures; none: all.
        """
        pair, found = torch.cat([condition, x.to(condition.dtype)], 1), []
        for scale in reversed(range(self.scales if scales is None else scales)):
            made = [pair]
            for layer in range(self.layers + 2):
                made.append(self.get_submodule(f"scale{scale}_layer{layer}")(made[-1]))
            found.append(made[1:])
            pair = halve(pair) if scale else pair
        return found


class Centres(nn.Module):
    """Of each class, the centres of its features: how things of that class look (Section 3.3).

    Args:
        classes: K.
        centres: of each class; the paper's number is 10.
        features: F.
    """

    def __init__(self, classes: int, centres: int, features: int) -> None:
        super().__init__()
        self.at = nn.Parameter(0.1 * torch.randn(classes, centres, features))

    def forward(self, means: Tensor, classes: Tensor) -> Tensor:
        """Return the squared distances [N, R, M] of the features of R regions from the M centres of their classes.

        Args:
            means: [N, F, R].
            classes: int64 [N, R].
        """
        # An index would have its gradients added by threads in any order.
        own = F.embedding(classes, self.at.flatten(1)).unflatten(2, self.at.shape[1:])  # [N, R, M, F]
        return (means.transpose(1, 2)[:, :, None] - own).square().sum(3)

    def choose(self, z: Tensor) -> Tensor:
        """Return of each class one of its centres, all as likely, [N, K, F], by standard normal numbers z [N, K]."""
        count = self.at.shape[1]
        which = (torch.special.ndtr(z) * count).long().clamp(0, count - 1)  # [N, K]
        return self.at[torch.arange(len(self.at), device=z.device), which]


def regions(ids: Tensor) -> Tensor:
    """Number the regions of each picture, those of pixels with one id, from 0 on in the order of the ids.

    Args:
        ids: [N, 1, H, W], any numbers.

    Returns:
        int64 [N, H W].
    """
    flat, order = ids.flatten(1).sort(1)
    rises = F.pad((flat[:, 1:] != flat[:, :-1]).long().cumsum(1), (1, 0))
    return torch.empty_like(order).scatter_(1, order, rises)


def means_of(x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of x in each region of its picture, [N, F, H W], zero beyond the last; and the regions' pixels, [N, H W].

    Both are at least float32: counted in bfloat16, no region would have more than 256 pixels.

    Args:
        x: [N, F, H, W].
        places: of `regions`.
    """
    flat = at_least_float32(x).flatten(2)
    counts = torch.zeros_like(flat[:, 0]).scatter_add(1, places, torch.ones_like(flat[:, 0]))
    sums = torch.zeros_like(flat).scatter_add(2, places[:, None].expand_as(flat), flat)
    return sums / counts.clamp(min=1)[:, None], counts


def _block(convolution: nn.Conv2d | nn.ConvTranspose2d, slope: float = 0.0) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Convolution, and instance norm with its activation; the last holds the index that the published activation has."""
    return convolution, InstanceNorm2d(convolution.out_channels, slope, affine=False), nn.Identity()


def initialize(network: nn.Module) -> None:
    """Draw the weights of all convolutions from N(0, 0.02); biases keep PyTorch's own distribution, as published."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)


def check_size(size: tuple[int, int], halvings: int, scales: int, keys: str) -> None:
    """Refuse pictures that the networks cannot take.

    Args:
        size: height and width.
        halvings: of the generator and its enhancers together, or of the encoder where it halves more often.
        scales: discriminators.
        keys: the configuration that `halvings` and `scales` follow from, for the message.

    Raises:
        SizeError: with the nearest valid size.
    """
    multiple = 1 << halvings
    least = max(LEAST << halvings, -(-LEAST << scales - 1))
    valid = tuple(max(least, round(side / multiple) * multiple) for side in size)
    if valid != tuple(size):
        raise SizeError(
            f"data.size {size[0]}x{size[1]}: sides must be multiples of {multiple} and at least {least} ({keys}); the nearest "
            f"is {valid[0]}x{valid[1]}"
        )
