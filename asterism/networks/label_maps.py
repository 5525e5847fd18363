"""Label maps as networks see them: a channel for each class, and the edges of instances.

Shapes: N batch, K classes, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def planes(x: Tensor, classes: int) -> Tensor:
    """Return what networks see of the sources of a translation.

    Args:
        x: [N, 1, H, W] class ids, whole numbers from 0 to K - 1; or [N, 2, H, W], the second channel ids of instances.
        classes: K; 0: x are pictures.

    Returns:
        [N, K, H, W], 1 where a pixel is of the class and 0 elsewhere; with instances [N, K + 1, H, W], their edges last.
        Pictures as they are.
    """
    if not classes:
        return x
    ids = torch.arange(classes, device=x.device, dtype=x.dtype)[:, None, None]
    found = (x[:, :1] == ids).to(x.dtype)
    return found if x.shape[1] == 1 else torch.cat([found, edges(x[:, 1:])], 1)


def edges(ids: Tensor) -> Tensor:
    """Return where instances end: 1 where the id differs from that of the left, right, upper or lower neighbour, else 0.

    Both sides of a border are marked (pix2pixHD, arXiv:1711.11585, Section 3.3).

    Args:
        ids: [N, 1, H, W] of instances.
    """
    across = functional.pad((ids[..., 1:] != ids[..., :-1]).to(ids.dtype), (1, 1))  # Between columns: [N, 1, H, W + 1].
    down = functional.pad((ids[..., 1:, :] != ids[..., :-1, :]).to(ids.dtype), (0, 0, 1, 1))
    return torch.maximum(torch.maximum(across[..., 1:], across[..., :-1]), torch.maximum(down[..., 1:, :], down[..., :-1, :]))
