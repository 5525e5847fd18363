"""Bring pictures of any shape to a model's, and results back to theirs: padded by their edges, or pasted into the whole."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from asterism.data.transforms import Box, resize


def paste(x: Tensor, y: Tensor, box: Box) -> Tensor:
    """Return x [N, C, H, W] with y [N, C, h, w], resized, in the area `box`: the way back from `fit`."""
    result = x.clone()
    rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
    result[:, :, rows, columns] = resize(y, box.height, box.width)
    return result


def letterbox(x: Tensor, height: int, width: int, nearest: bool = False) -> tuple[Tensor, Box]:
    """Pad x [N, C, H, W] by its edges to the shape of `height` x `width`, then resize it to that size.

    Returns:
        The pictures [N, C, height, width] and the padded area in pixels of x, which `unletterbox` takes.
    """
    held_height, held_width = x.shape[2:]
    scale = max(held_height / height, held_width / width)
    padded_height = max(held_height, math.ceil(height * scale - 1e-6))
    padded_width = max(held_width, math.ceil(width * scale - 1e-6))
    top, left = (padded_height - held_height) // 2, (padded_width - held_width) // 2
    pads = (left, padded_width - held_width - left, top, padded_height - held_height - top)
    if any(pads):
        x = functional.pad(x, pads, mode="replicate")
    return resize(x, height, width, nearest), Box(-top, -left, padded_height, padded_width)


def unletterbox(y: Tensor, box: Box, height: int, width: int) -> Tensor:
    """Bring y [N, C, h, w] back to the `height` x `width` pixels of the picture that `letterbox` padded to `box`."""
    padded = resize(y, box.height, box.width)
    return padded[:, :, -box.top : -box.top + height, -box.left : -box.left + width]
