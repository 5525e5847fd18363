"""From landmark maps to the two masks that choose which edges of a face StarGAN v2's generator carries over.

Maps are smoothed blobs around points; each part of the face is shifted and sharpened in its own way, so that the masks
cover brows, lids, nostrils and lips rather than the points. Unverified, like the landmark network itself.

Shapes: N batch; maps [N, 98, h, w]; masks [N, 1, 256, 256] in [0, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asterism.machine import at_least_float32

SIDE = 256

JAW, BROWS, MOUTH = slice(8, 25), slice(33, 51), slice(76, 96)
EYES = slice(60, 76)

# Landmarks, pixels that their maps move up (at 256), exponent.
PARTS = (
    (JAW, 0, 3),
    (BROWS, -7, 2),
    (slice(52, 55), 4, 1),  # Bridge of the nose.
    (slice(55, 60), 8, 4),  # Nostrils.
    (slice(77, 82), -8, 4),  # Upper lip.
    (slice(83, 88), 8, 4),  # Lower lip.
    (slice(88, 96), -2, 3),  # Inner lip.
)
UNUSED = (slice(0, 8), slice(25, 34), slice(46, 47), slice(76, 77), slice(82, 83))


def face_masks(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mask of the coarsest skip, all of the face, and that of the others, without jaw, brows and mouth.

    Args:
        maps: landmark maps of any size, 98 in the order of WFLW.
    """
    x = F.interpolate(at_least_float32(maps), size=(SIDE, SIDE), mode="bilinear", align_corners=True)
    x = x.masked_fill(x < 0.1, 0.0)
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    x = (x - low) / (high - low + 1e-6)
    parts = x.clone()
    for where, up, exponent in PARTS:
        parts[:, where] = _raised(x[:, where], up) ** exponent
    parts[:, EYES] = _raised(x[:, EYES], -8) ** 3 + _raised(x[:, EYES], -24)
    for where in UNUSED:
        parts[:, where] = 0.0
    face = parts.sum(1, keepdim=True)
    for where in (JAW, BROWS, MOUTH):
        parts[:, where] = 0.0
    core = parts.sum(1, keepdim=True)
    return face.nan_to_num(0.0).clamp(0, 1), core.nan_to_num(0.0).clamp(0, 1)


def _raised(x: Tensor, pixels: int) -> Tensor:
    """Move the content of x [N, K, H, W] up; what leaves at the top comes back at the bottom, as published."""
    return torch.roll(x, -pixels, dims=2)
