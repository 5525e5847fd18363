"""Transform pictures on the device: crop, resize, zoom, mirror.

Shapes: N batch, C channels, H x W pixels. Pictures are float32 [N, C, H, W].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from asterism.data.pictures import PictureFormat


class Box(NamedTuple):
    """An area in a picture's pixels; it may reach beyond the picture (negative `top`, `left`)."""

    top: int
    left: int
    height: int
    width: int


def crop_box(height: int, width: int, picture: PictureFormat) -> Box:
    """Return the centred area of a `height` x `width` picture that `fit` keeps.

    It has the shape of `picture`; its longer side is `picture.crop`, or as long as the picture allows when that is 0 or
    too much.
    """
    scale = min(height / picture.height, width / picture.width)
    if picture.crop:
        scale = min(scale, picture.crop / max(picture.height, picture.width))
    kept_height = max(1, min(height, round(picture.height * scale)))
    kept_width = max(1, min(width, round(picture.width * scale)))
    return Box(round((height - kept_height) / 2), round((width - kept_width) / 2), kept_height, kept_width)


def fit(x: Tensor, picture: PictureFormat) -> Tensor:
    """Crop x [N, C, H, W] to `crop_box` and resize it to [N, C, picture.height, picture.width]; a label map to nearest ids."""
    top, left, height, width = crop_box(x.shape[2], x.shape[3], picture)
    return resize(x[:, :, top : top + height, left : left + width], picture.height, picture.width, bool(picture.classes))


def fit_stored(stored: Tensor, picture: PictureFormat) -> Tensor:
    """Crop and resize stored values, uint8 or uint16 [N, C, H, W], to whole values again, float32 where they changed.

    Rounded, so that a picture is the same whether it is fitted on its way into a pack, for a preview or for a step.
    """
    if stored.shape[2:] == (picture.height, picture.width):
        return stored
    return fit(stored.to(torch.float32), picture).round_()


def resize(x: Tensor, height: int, width: int, nearest: bool = False) -> Tensor:
    """Resize x [N, C, H, W] to [N, C, height, width], bilinear and antialiased, or to the nearest values, such as ids.

    x itself is returned when it has that size.
    """
    if x.shape[2:] == (height, width):
        return x
    if nearest:
        return functional.interpolate(x, size=(height, width), mode="nearest-exact")
    return functional.interpolate(x, size=(height, width), mode="bilinear", antialias=True, align_corners=False)


def zoom(x: Tensor, window: Tensor, nearest: bool = False) -> Tensor:
    """Enlarge a window of each picture of x [N, C, H, W] to the whole, bilinear or to the nearest values.

    Args:
        window: float32 [N, 4], centre (y, x) and height and width as shares of the picture; (0.5, 0.5, 1, 1) is all of it.
    """
    y, across, height, width = window.unbind(1)
    theta = x.new_zeros(len(x), 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = width, 2 * across - 1
    theta[:, 1, 1], theta[:, 1, 2] = height, 2 * y - 1
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(
        x, grid, mode="nearest" if nearest else "bilinear", padding_mode="border", align_corners=False
    )


def mirror(x: Tensor, flags: Tensor) -> Tensor:
    """Mirror those pictures of x [N, C, H, W] left to right whose flag, bool [N], is set."""
    return torch.where(flags[:, None, None, None], x.flip(-1), x)
