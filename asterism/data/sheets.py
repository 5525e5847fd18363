"""Sheets: many pictures of one size as one picture, sources in rows and targets in columns."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

GAP = 2
"""White pixels between neighbours."""


def grid(rows: Tensor) -> np.ndarray:
    """Lay pictures out in rows and columns.

    Args:
        rows: float [R, K, C, H, W] in [-1, 1]; values beyond are clipped. One or three channels are shown as they are,
            of two the first, of more the first three.

    Returns:
        uint8 [R (H + gap) - gap, K (W + gap) - gap, 1 or 3].
    """
    x = rows.detach().to("cpu", torch.float32).clamp(-1, 1)
    x = x[:, :, :3] if x.shape[2] >= 3 else x[:, :, :1]
    x = torch.nn.functional.pad(x, (0, GAP, 0, GAP), value=1.0)  # [R, K, C, H + gap, W + gap]
    count, columns, channels, height, width = x.shape
    sheet = x.permute(0, 3, 1, 4, 2).reshape(count * height, columns * width, channels)[:-GAP, :-GAP]
    return ((sheet + 1) * 127.5).round().to(torch.uint8).numpy()
