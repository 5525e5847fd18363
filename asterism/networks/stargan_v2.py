"""The four networks of StarGAN v2 (arXiv:1912.01865, Appendix: network architecture).

Parameter names and shapes are those of the authors' released checkpoints. What those hold and nothing uses (the shortcut
convolutions of the high-pass generator's decoder, the constant filter) is not built; import and export see to it.

Shapes: N batch, C picture channels, K domains, Z latent size, S style size; y int64 [N] in [0, K).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.networks.halving import HalvingConv2d
from asterism.networks.layers import Conv2d, DoublingConv2d, InstanceNorm2d, instance_norm
from asterism.networks.sizes import check_square

SLOPE = 0.2
"""Negative slope of every leaky ReLU."""

HALF = 1 / math.sqrt(2)
"""Keeps the variance where a shortcut and a residual are added."""


class ResidualBlock(nn.Module):
    """Pre-activation residual block of the encoder, the style encoder and the discriminator.

    Args:
        inputs, outputs: channels.
        normalize: instance norm before the activations (`norm1` and `norm2` are norm and activation).
        downsample: average pooling by 2, after the first convolution (folded in) and after the shortcut's (before it).
    """

    def __init__(self, inputs: int, outputs: int, normalize: bool = False, downsample: bool = False) -> None:
        super().__init__()
        self.conv1 = HalvingConv2d(inputs, inputs) if downsample else Conv2d(inputs, inputs, 3, 1, 1)
        self.conv2 = Conv2d(inputs, outputs, 3, 1, 1)
        self.norm1 = InstanceNorm2d(inputs, SLOPE) if normalize else nn.LeakyReLU(SLOPE)
        self.norm2 = InstanceNorm2d(inputs, SLOPE) if normalize else nn.LeakyReLU(SLOPE)
        self.conv1x1 = Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H, W], or half that height and width."""
        h = self.conv1(self.norm1(x))  # [N, inputs, H, W], or half
        return (self._shortcut(x) + self.conv2(self.norm2(h))) * HALF

    def gains(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the block's output and the slopes of its two activations at x; without norms only."""
        h = self.conv1(F.leaky_relu(x, SLOPE))
        return (self._shortcut(x) + self.conv2(F.leaky_relu(h, SLOPE))) * HALF, slopes(x), slopes(h)

    def input_gradient(self, g: Tensor, gain1: Tensor, gain2: Tensor) -> Tensor:
        """Return the gradient with respect to the input, from that with respect to the output and the slopes."""
        g = g * HALF
        residual = self.conv2.transpose(g, g.shape[2:]) * gain2
        shortcut = self.conv1x1.transpose(g, g.shape[2:]) if isinstance(self.conv1x1, Conv2d) else g
        shortcut = spread(shortcut) if self.downsample else shortcut
        return shortcut + self.conv1.transpose(residual, gain1.shape[2:]) * gain1

    def _shortcut(self, x: Tensor) -> Tensor:
        """A 1x1 convolution commutes with average pooling: it is done on the small side."""
        return self.conv1x1(F.avg_pool2d(x, 2) if self.downsample else x)


class AdaIN(nn.Module):
    """Instance norm whose scale and shift come from the style, and the leaky ReLU that follows (arXiv:1703.06868).

    Args:
        style_dim: S.
        channels: of the maps.
        slope: of the leaky ReLU; none: no activation follows.
    """

    def __init__(self, style_dim: int, channels: int, slope: float | None = SLOPE) -> None:
        super().__init__()
        self.fc = nn.Linear(style_dim, channels * 2)
        self.slope = slope

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """Return act((1 + gamma(s)) IN(x) + beta(s)) of maps [N, channels, H, W] and styles [N, S]."""
        gamma, beta = self.fc(s).chunk(2, dim=1)  # [N, channels] each
        return instance_norm(x, 1 + gamma, beta, self.slope)


class StyledBlock(nn.Module):
    """Residual block of the decoder, normalised by the style.

    Args:
        inputs, outputs: channels.
        style_dim: S.
        upsample: nearest upsampling by 2, before the first convolution (folded in) and before the shortcut's (after it).
        shortcut: without it the block is its residual path alone, as published for the high-pass generator.
    """

    def __init__(self, inputs: int, outputs: int, style_dim: int, upsample: bool = False, shortcut: bool = True) -> None:
        super().__init__()
        self.conv1 = DoublingConv2d(inputs, outputs) if upsample else Conv2d(inputs, outputs, 3, 1, 1)
        self.conv2 = Conv2d(outputs, outputs, 3, 1, 1)
        self.norm1 = AdaIN(style_dim, inputs)
        self.norm2 = AdaIN(style_dim, outputs)
        self.conv1x1 = Conv2d(inputs, outputs, 1, bias=False) if shortcut and inputs != outputs else nn.Identity()
        self.upsample, self.shortcut = upsample, shortcut

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """Map [N, inputs, H, W] and styles [N, S] to [N, outputs, H, W], or twice that height and width."""
        h = self.conv2(self.norm2(self.conv1(self.norm1(x, s)), s))  # [N, outputs, H, W], or twice
        if not self.shortcut:
            return h
        x = self.conv1x1(x)  # A 1x1 convolution commutes with nearest upsampling: done on the small side.
        if self.upsample:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return (h + x) * HALF


class Generator(nn.Module):
    """Render a picture in a style.

    Args:
        channels: C.
        size: side of the square pictures, a power of two.
        style_dim: S.
        capacity: channels at full resolution are capacity // size; published: 2**14.
        max_width: channels of the deepest layers; published: 512.
        high_pass: 0, or the divisor of the high-pass filter whose output, masked, is carried over to the decoder
            (a larger value weakens it); published for faces: 1.
        skip_sizes: spatial sizes at which that happens, smallest first; the first uses the first mask, the others the
            second. None takes an eighth, a quarter and half of the side; published: 32, 64 and 128 whatever the side.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        style_dim: int = 64,
        capacity: int = 2**14,
        max_width: int = 512,
        high_pass: float = 0.0,
        skip_sizes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        check_size((size, size))
        self.halvings = size.bit_length() - 1 - 4 + (1 if high_pass else 0)
        first = max(1, capacity // size)
        widths = [first, *(min(first << depth, max_width) for depth in range(1, self.halvings + 1))]
        self.from_rgb = Conv2d(channels, widths[0], 3, 1, 1)  # [N, capacity / size, H, W]
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        top, plain = widths[-1], not high_pass
        encode = [ResidualBlock(a, b, normalize=True, downsample=True) for a, b in pairs]
        encode += [ResidualBlock(top, top, normalize=True) for _ in range(2)]  # [N, top, 16, 16]; 8 x 8 with skips
        decode = [StyledBlock(top, top, style_dim, shortcut=plain) for _ in range(2)]
        decode += [StyledBlock(b, a, style_dim, upsample=True, shortcut=plain) for a, b in reversed(pairs)]
        self.encode, self.decode = nn.ModuleList(encode), nn.ModuleList(decode)
        # The second holds the index of the published activation, which the norm includes.
        self.to_rgb = nn.Sequential(InstanceNorm2d(widths[0], SLOPE), nn.Identity(), Conv2d(widths[0], channels, 1))
        self.high_pass, self.skip_sizes = high_pass, tuple(skip_sizes) or skips_of(size)
        kernel = torch.full((3, 3), -1.0)
        kernel[1, 1] = 8.0
        self.kernel = nn.Buffer(kernel / high_pass if high_pass else kernel, persistent=False)
        initialize(self)

    passes = ("features", "render")
    """What is called on its own, and `forward` through it."""

    def forward(self, x: Tensor, s: Tensor, masks: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return pictures [N, C, H, W], unbounded, from pictures [N, C, H, W] in [-1, 1] and styles [N, S].

        Args:
            masks: with `high_pass`, two masks [N, 1, h, w] in [0, 1] of any size.
        """
        return self.render(self.features(x), s, masks)

    def features(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Return what the encoder makes of pictures [N, C, H, W]: it does not see the style, so styles may share it.

        Returns:
            The deepest maps [N, top, h, w], and by size the maps that high-pass skips carry over.
        """
        h, kept = self.from_rgb(x), {}  # [N, widths[0], H, W]
        for block in self.encode:
            if self.high_pass and h.shape[2] in self.skip_sizes:
                kept[h.shape[2]] = h
            h = block(h)
        return h, kept

    def render(
        self, features: tuple[Tensor, dict[int, Tensor]], s: Tensor, masks: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Return pictures [N, C, H, W] from `features` and styles [N, S]; masks as for `forward`."""
        if self.high_pass and masks is None:
            raise ValueError("a generator with high-pass skips needs masks: without them it has neither skip nor shortcut")
        h, kept = features
        for block in self.decode:
            h = block(h, s)
            if masks is not None and h.shape[2] in kept:
                mask = masks[0] if h.shape[2] == self.skip_sizes[0] else masks[1]
                mask = F.interpolate(mask, size=h.shape[2:], mode="bilinear", align_corners=False)
                h = h + self._edges(mask * kept[h.shape[2]])
        return self.to_rgb(h)

    def _edges(self, x: Tensor) -> Tensor:
        """Filter each channel of x [N, D, H, W] by the 3x3 high-pass kernel, zero padding."""
        kernel = self.kernel.to(x.dtype)[None, None].expand(x.shape[1], 1, 3, 3)
        return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


def skips_of(size: int) -> tuple[int, ...]:
    """Return the sizes of the high-pass skips where none are asked for: an eighth, a quarter and half of the side.

    Those below 16 are left out: at 8 x 8 the decoder has only begun. At 256 these are the published 32, 64 and 128.
    """
    return tuple(side for side in (size // 8, size // 4, size // 2) if side >= 16)


class MappingNetwork(nn.Module):
    """Turn latents into styles, with a branch per domain.

    Args:
        num_domains: K.
        latent_dim: Z.
        style_dim: S.
        width: of the hidden layers; published: 512.
    """

    def __init__(self, num_domains: int, latent_dim: int = 16, style_dim: int = 64, width: int = 512) -> None:
        super().__init__()
        shared: list[nn.Module] = []
        for depth in range(4):
            shared += [nn.Linear(latent_dim if depth == 0 else width, width), nn.ReLU()]
        self.shared = nn.Sequential(*shared)
        self.unshared: Any = nn.ModuleList()  # Whose type does not say of what.
        for _ in range(num_domains):
            branch: list[nn.Module] = []
            for _ in range(3):
                branch += [nn.Linear(width, width), nn.ReLU()]
            self.unshared.append(nn.Sequential(*branch, nn.Linear(width, style_dim)))
        initialize(self)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Return styles [N, S] of domains y [N] from latents z [N, Z], standard normal."""
        h = self.shared(z)  # [N, width]
        for depth in (0, 2, 4):
            h = F.relu(of_domain(h, [branch[depth] for branch in self.unshared], y))
        return of_domain(h, [branch[6] for branch in self.unshared], y)

    def styles(self, z: Tensor, domain: int) -> Tensor:
        """Return styles [N, S] of one domain from any number of latents z [N, Z]."""
        return self.unshared[domain](self.shared(z))


class StyleEncoder(nn.Module):
    """Read the style of a picture, with a head per domain.

    Args: as for the generator, and num_domains: K.
    """

    def __init__(
        self, channels: int, size: int, num_domains: int, style_dim: int = 64, capacity: int = 2**14, max_width: int = 512
    ) -> None:
        super().__init__()
        trunk, top = _trunk(channels, size, capacity, max_width)
        self.shared = nn.Sequential(*trunk)
        self.unshared: Any = nn.ModuleList(nn.Linear(top, style_dim) for _ in range(num_domains))
        initialize(self)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return styles [N, S] of pictures x [N, C, H, W], read as pictures of domains y [N]."""
        return of_domain(self.shared(x).flatten(1), list(self.unshared), y)


class Discriminator(nn.Module):
    """Tell real from fake within a domain: one logit per picture, with a head per domain.

    Args: as for the style encoder.
    """

    def __init__(self, channels: int, size: int, num_domains: int, capacity: int = 2**14, max_width: int = 512) -> None:
        super().__init__()
        trunk, top = _trunk(channels, size, capacity, max_width)
        self.main: Any = nn.Sequential(*trunk, Conv2d(top, num_domains, 1))  # Whose type does not say of what.
        initialize(self)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return raw logits [N] of pictures x [N, C, H, W] as pictures of domains y [N]."""
        head = self.main[-1]
        h = self.main[:-1](x).flatten(1)  # [N, top]
        return (h * head.weight.index_select(0, y)[:, :, 0, 0]).sum(1) + head.bias.index_select(0, y)

    def score_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the gradient of each picture's logit with respect to it, [N, C, H, W].

        Written out layer by layer, an ordinary differentiable function of the weights, equal to
        `torch.autograd.grad(logits.sum(), x, create_graph=True)` (see `networks.stargan`).
        """
        first, *blocks, _, last, _, head = self.main
        with torch.no_grad():
            h, kept = first(x), []
            for block in blocks:
                h, *gains = block.gains(h)
                kept.append(gains)
            before, after = slopes(h), slopes(last(F.leaky_relu(h, SLOPE)))
        g = head.weight.index_select(0, y).to(after.dtype) * after  # [N, top, 1, 1]
        g = last.transpose(g, before.shape[2:]) * before
        for block, gains in zip(reversed(blocks), reversed(kept), strict=True):
            g = block.input_gradient(g, *gains)
        return first.transpose(g, g.shape[2:])


def _trunk(channels: int, size: int, capacity: int, max_width: int) -> tuple[list[nn.Module], int]:
    """Return what style encoder and discriminator share up to their heads, and its last width; H = W = 1 there."""
    check_size((size, size))
    width = max(1, capacity // size)
    layers: list[nn.Module] = [Conv2d(channels, width, 3, 1, 1)]
    for _ in range(size.bit_length() - 1 - 2):
        wider = min(width * 2, max_width)
        layers.append(ResidualBlock(width, wider, downsample=True))
        width = wider
    return [*layers, nn.LeakyReLU(SLOPE), Conv2d(width, width, 4), nn.LeakyReLU(SLOPE)], width


def of_domain(h: Tensor, heads: Sequence[nn.Linear], y: Tensor) -> Tensor:
    """Apply to each sample the linear layer of its domain, [N, in] -> [N, out]; the others are not computed.

    As published, where all were computed and one was selected, heads of other domains get gradients of zero, so that
    Adam's moments and weight decay treat them alike. Gradients of a CPU's `index_select` are summed in the order of the
    samples; those of `weight[y]` by threads in any order, so that two runs would differ.
    """
    weight = torch.stack([head.weight for head in heads]).index_select(0, y)  # [N, out, in]
    bias = torch.stack([head.bias for head in heads]).index_select(0, y)  # [N, out]
    return torch.baddbmm(bias[:, :, None].to(h.dtype), weight.to(h.dtype), h[:, :, None])[:, :, 0]


def slopes(x: Tensor) -> Tensor:
    """Return the derivative of the leaky ReLU at x: 1 or the slope."""
    return torch.where(x > 0, x.new_ones(()), x.new_full((), SLOPE))


def spread(g: Tensor) -> Tensor:
    """Return the transpose of average pooling by 2: a quarter of each value at its four pixels."""
    return F.interpolate(g, scale_factor=2, mode="nearest") * 0.25


def initialize(network: nn.Module) -> None:
    """Kaiming-normal weights (fan-in, ReLU gain) and zero biases for every convolution and linear layer, as published."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def check_size(size: tuple[int, int]) -> None:
    """Refuse pictures that are not squares of a power of two from 32 to 1024 pixels.

    Raises:
        SizeError: with the nearest valid size.
    """
    check_square(size, 32, 1024, "StarGAN v2 takes")
