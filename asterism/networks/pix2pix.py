"""The networks of pix2pix (arXiv:1611.07004, Sections 3.2 and 6.1).

Parameter names and shapes are those of the authors' released PyTorch checkpoints. Convolutions in front of a norm have no bias.

Shapes: N batch, C picture channels, W width (channels after the first convolution), n halvings.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asterism.networks.layers import BatchNorm2d, Conv2d, instance_norm
from asterism.networks.sizes import SizeError, check_multiples_of_4
from asterism.networks.transposed import ConvTranspose2d

SLOPE = 0.2
"""Negative slope of the leaky ReLUs."""

MOST = 8
"""Layers have at most as many times the first one's channels."""

OUTER = 4
"""Levels of the U-Net without dropout, from the outside: those whose channels lessen on the way back."""


class PictureNorm2d(BatchNorm2d):
    """Batch norm that in use normalises each picture by its own statistics, as in a batch of one in training.

    Args:
        channels: C.
        running: in use, normalise by the statistics gathered in training, as batch norms usually do.
    """

    def __init__(self, channels: int, running: bool) -> None:
        super().__init__(channels)
        self.running = running

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        if self.training or self.running:
            return super().forward(x)
        return instance_norm(x, self.weight, self.bias)


class Generator(nn.Module):
    """Translate pictures: a U-Net, which halves to the bottom, doubles back, and has a skip at every size.

    Args:
        taken, made: channels of sources and of translations.
        size: height and width in training, multiples of 2**halvings; what the dropout masks are made for.
        halvings: n, 2 or more; the published networks for 256 and 128 pixels have 8 and 7.
        width: W; the paper's is 64.
        dropout: the levels between the four outer ones and the innermost one have dropout: 3 of 8, 2 of 7, as in the published
            networks; of 3 to 5, where those have none, the one around the innermost.
        running: in use, norms take the statistics of training, not the picture's own.
    """

    def __init__(
        self,
        taken: int,
        made: int,
        size: tuple[int, int],
        halvings: int = 8,
        width: int = 64,
        dropout: bool = True,
        running: bool = False,
    ) -> None:
        super().__init__()
        widths = [taken, *(width * min(1 << depth, MOST) for depth in range(halvings))]  # At depth 0, 1, ... n.
        level: Level | None = None
        for depth in reversed(range(halvings)):
            level = Level(widths[depth], widths[depth + 1], level, made=0 if depth else made, running=running)
        self.model = level
        # Of each level with dropout, from the outer to the inner one: the maps that the mask is multiplied with.
        levels = range(min(OUTER, max(1, halvings - 2)), halvings - 1) if dropout else range(0)
        self.outer = min(levels, default=0)
        self.masks = [(widths[depth], size[0] >> depth, size[1] >> depth) for depth in levels]
        self.noise = sum(c * h * w for c, h, w in self.masks)
        self.apply(initialize)

    def forward(self, x: Tensor, s: Tensor | None = None) -> Tensor:
        """Return pictures [N, made, H, W] in (-1, 1).

        Args:
            x: [N, taken, H, W]; without s of any sides that are multiples of 2**halvings.
            s: [N, noise] what dropout multiplies activations with, 0 or 2. None: no dropout.
        """
        masks: list[Tensor | None] = [None] * self.outer
        if s is not None and self.noise:
            parts = s.split([c * h * w for c, h, w in self.masks], 1)
            masks += [part.unflatten(1, shape) for part, shape in zip(parts, self.masks, strict=True)]
        assert self.model is not None
        return torch.tanh(self.model(x, masks))


class Level(nn.Module):
    """One size of the U-Net: halve, the levels within, double; and what came in beside it.

    Args:
        outer: channels that come in, and that the way back up makes unless it is the outermost.
        inner: channels at half the size.
        within: the next level; none: this is the innermost one.
        made: channels that the outermost level makes, which has no norms and nothing beside the result; 0 for the others.
        running: as for the generator.
    """

    def __init__(self, outer: int, inner: int, within: Level | None, made: int, running: bool) -> None:
        super().__init__()
        outermost = made > 0
        down: list[nn.Module] = [Conv2d(outer, inner, 4, 2, 1, bias=False)]
        if not outermost:
            down.insert(0, nn.LeakyReLU(SLOPE))
        if within is not None and not outermost:  # No norm at the bottom, which may be one pixel.
            down.append(PictureNorm2d(inner, running))
        back = inner if within is None else 2 * inner
        up: list[nn.Module] = [nn.ReLU(), ConvTranspose2d(back, made or outer, 4, 2, 1, bias=outermost)]
        if not outermost:
            up.append(PictureNorm2d(outer, running))
        self.model = nn.Sequential(*down, *([] if within is None else [within]), *up)
        self.outermost = outermost

    def forward(self, x: Tensor, masks: list[Tensor | None]) -> Tensor:
        """Return [N, 2 outer, H, W] of x [N, outer, H, W]: x, then what the inner levels made of it; the outermost that alone.

        Args:
            masks: of this level and those within: [N, outer, H, W], or none.
        """
        y = x
        for layer in self.model:
            y = layer(y, masks[1:]) if isinstance(layer, Level) else layer(y)
        if masks and masks[0] is not None:
            y = y * masks[0].to(y.dtype)
        return y if self.outermost else torch.cat([x, y], 1)


class Discriminator(nn.Module):
    """Tell real from fake pairs patch by patch (PatchGAN): a logit sees 70 x 70 pixels with the paper's three layers.

    With 1 layer it sees 16 x 16, with 5 layers 286 x 286, with none a single pixel (Section 6.1.2).

    Args:
        channels: of a pair.
        width: W; the paper's is 64.
        layers: halving convolutions.
    """

    def __init__(self, channels: int, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        if layers:
            widths = [width * min(1 << depth, MOST) for depth in range(layers + 1)]
            trunk: list[nn.Module] = [Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]  # [N, W, H / 2, W / 2]
            for depth in range(1, layers + 1):
                stride = 2 if depth < layers else 1
                trunk += _block(Conv2d(widths[depth - 1], widths[depth], 4, stride, 1, bias=False))
            self.model = nn.Sequential(*trunk, Conv2d(widths[-1], 1, 4, 1, 1))  # [N, 1, H / 2**n - 2, W / 2**n - 2]
        else:
            second = _block(Conv2d(width, 2 * width, 1, bias=False))
            self.net = nn.Sequential(
                Conv2d(channels, width, 1), nn.LeakyReLU(SLOPE), *second, Conv2d(2 * width, 1, 1, bias=False)
            )
        self.layers = layers
        self.apply(initialize)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return patch logits [N, P], raw, of pairs: sources x [N, taken, H, W] and translations y [N, made, H, W]."""
        pair = torch.cat([x, y.to(x.dtype)], 1)
        return (self.model if self.layers else self.net)(pair).flatten(1)


def _block(convolution: nn.Conv2d) -> tuple[nn.Module, nn.Module, nn.Module]:
    return convolution, BatchNorm2d(convolution.out_channels), nn.LeakyReLU(SLOPE)


def initialize(module: nn.Module) -> None:
    """Draw weights of convolutions from N(0, 0.02), gains of norms from N(1, 0.02); biases are zero (Section 6.2)."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def halvings_of(size: tuple[int, int]) -> int:
    """Return how often both sides can be halved: 8 for 256 x 256 and 512 x 256, 6 for 64 x 64."""
    return min((side & -side).bit_length() - 1 for side in size)


def check_size(size: tuple[int, int], halvings: int, layers: int) -> None:
    """Refuse pictures that the networks cannot take.

    Args:
        size: height and width.
        halvings: of the generator, whose sides are multiples of 2**halvings; 0: as many as the size allows.
        layers: of the discriminator, which takes at least 3 * 2**layers.

    Raises:
        SizeError: with the nearest valid size.
    """
    check_multiples_of_4(size, max(8, 3 << layers), layers)
    valid = tuple(max(1, round(side / (1 << halvings))) << halvings for side in size)
    if valid != tuple(size):
        raise SizeError(
            f"data.size {size[0]}x{size[1]}: sides must be multiples of {1 << halvings} (recipe.num_downs {halvings}); the "
            f"nearest is {valid[0]}x{valid[1]}"
        )
