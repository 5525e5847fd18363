"""Two generators, one for each direction between two domains."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from asterism.networks.cpu import handwritten


def to_target(makers: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]], x: Tensor, y: Tensor) -> Tensor:
    """Return each picture as the generator of its target makes it; none is told where a picture comes from.

    Args:
        makers: what makes pictures of domain 0, and of domain 1, each sample's by itself.
        x: [N, C, H, W].
        y: int64 [N], the targets, 0 or 1.
    """
    if not handwritten.applies(x):  # A graph takes any targets: both directions, and of each picture the wanted one.
        return torch.where((y == 0)[:, None, None, None], makers[0](x), makers[1](x))
    rows = [(y == domain).nonzero()[:, 0] for domain in range(2)]
    made = [maker(x[own]) for maker, own in zip(makers, rows, strict=True) if len(own)]
    return torch.cat(made)[torch.cat(rows).argsort()]
