"""Differentiable histograms of oriented gradients: what a sketch asks of a picture's edges (iGAN, arXiv:1609.03552).

Shapes: pictures [N, C, H, W] in [-1, 1]; histograms [N, 8, h, w], a cell every 8 pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ORIENTATIONS, CELL = 8, 8
EPSILON = 1e-3
"""Under the root of the gradient's length."""


def hog(x: Tensor, cell: int = CELL) -> Tensor:
    """Return the histograms of pictures, as iGAN's code computes them.

    Of the grey picture in [0, 1] the gradient g is taken by a Sobel filter of weights 1/4 to 1/2. An edge counts for an
    orientation by max(0, (|g . direction| - a |g|) / (1 - a)), a = cos(pi / 8), so for that one and its neighbours; the votes
    are summed by a triangular window two cells wide.

    Args:
        cell: pixels from one cell to the next; iGAN's is 8, and 4 for grey pictures.
    """
    grey = (x.mean(1, keepdim=True) + 1) / 2
    across = x.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
    gradient = F.conv2d(grey, torch.stack([across, across.T])[:, None], padding=1)  # [N, 2, H, W]
    angles = torch.arange(ORIENTATIONS, dtype=x.dtype, device=x.device) * (math.pi / ORIENTATIONS)
    directions = torch.stack([angles.cos(), angles.sin()], 1)[:, :, None, None]
    along = F.conv2d(gradient, directions).abs()  # [N, 8, H, W]
    length = (gradient.square().sum(1, keepdim=True) + EPSILON).sqrt()
    least = math.cos(math.pi / ORIENTATIONS)
    votes = ((along - least * length) / (1 - least)).clamp(min=0)
    side = torch.arange(1, 2 * cell + 1, dtype=x.dtype, device=x.device)
    triangle = 1 - (side - cell - 0.5).abs() / cell
    window = torch.outer(triangle, triangle).expand(ORIENTATIONS, 1, -1, -1)
    return F.conv2d(votes, window, stride=cell, padding=cell // 2, groups=ORIENTATIONS)


def cells_of(mask: Tensor, cell: int = CELL) -> Tensor:
    """Return which cells a mask [N, 1, H, W] touches: 0 or 1, [N, 1, h, w]."""
    touched = F.conv2d(mask, mask.new_ones(1, 1, 2 * cell, 2 * cell), stride=cell, padding=cell // 2)
    return (touched > 1e-5).to(mask.dtype)
