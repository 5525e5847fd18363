"""The network that finds the class of every pixel: what goes down comes back up, with a skip at every size.

As in arXiv:1505.04597, but narrow, with instance norms and any sides.

Shapes: N batch, C channels, K classes, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.networks.layers import Conv2d, InstanceNorm2d


class PixelNetwork(nn.Module):
    """Find the class of every pixel.

    Args:
        channels: C.
        classes: K.
        width: W, of the outermost level; every level further in has twice as many channels.
        depth: halvings.
    """

    def __init__(self, channels: int, classes: int, width: int = 32, depth: int = 3) -> None:
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(_block(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True))
        self.head = Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return raw logits [N, K, H, W] of pictures [N, C, H, W] in [-1, 1]."""
        held = [self.down[0](x)]
        for block in self.down[1:]:
            held.append(block(F.max_pool2d(held[-1], 2, ceil_mode=True)))
        y = held.pop()
        for block in self.up:
            skip = held.pop()
            y = block(torch.cat([skip, F.interpolate(y, skip.shape[2:])], 1))
        return self.head(y)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers = [(Conv2d(a, outputs, 3, 1, 1, bias=False), InstanceNorm2d(outputs, 0.0)) for a in (inputs, outputs)]
    return nn.Sequential(*(layer for pair in layers for layer in pair))
