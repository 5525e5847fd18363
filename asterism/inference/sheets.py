"""Small versions of pictures of any size and kind, and rows of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from asterism.data.label_maps import colours
from asterism.data.pictures import PictureFormat

MARGIN = 4
"""White pixels around each cell."""


def to_shown(stored: np.ndarray, picture: PictureFormat) -> np.ndarray:
    """Return stored values [H, W, C] as a person is to see them, uint8 [H, W, 1 or 3]: `low` to `high` become 0 to 255.

    Of two channels the first is shown, of more than three the first three; the classes of a label map have colours.
    """
    if picture.classes:
        return ((colours(picture.classes)[stored[:, :, 0].astype(np.int64)] + 1) * 127.5).round().to(torch.uint8).numpy()
    stored = np.ascontiguousarray(stored[:, :, : 3 if stored.shape[2] > 2 else 1])
    if (picture.low, picture.high, picture.depth) == (0, 255, 8):
        return stored
    return np.rint(np.clip((stored - np.float32(picture.low)) * (255 / (picture.high - picture.low)), 0, 255)).astype(np.uint8)


def thumbnail(stored: np.ndarray, picture: PictureFormat, side: int | None = None) -> Image.Image:
    """Return stored values [H, W, C] as `to_shown` shows them, in RGB, the longest side scaled to `side` if that is given."""
    array = to_shown(stored, picture)
    image = Image.fromarray(array if array.shape[2] == 3 else np.repeat(array, 3, axis=2))
    scale = (side or max(image.size)) / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS)


def row(cells: Sequence[Image.Image | None], side: int) -> np.ndarray:
    """Draw cells side by side, each in the middle of its square: uint8 [h, w, 3], as high as the highest."""
    step = side + 2 * MARGIN
    height = max(cell.height for cell in cells if cell is not None) + 2 * MARGIN
    band = Image.new("RGB", (len(cells) * step, height), "white")
    for k, cell in enumerate(cells):
        if cell is not None:
            band.paste(cell, (k * step + (step - cell.width) // 2, (height - cell.height) // 2))
    return np.asarray(band)
