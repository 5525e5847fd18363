"""Pictures of strokes, as paint programs save them: colours where they are opaque, nothing where they are transparent."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from asterism.data.pictures import PictureError, PictureFormat
from asterism.data.transforms import resize


def read_strokes(given: Any, picture: PictureFormat) -> tuple[Tensor, Tensor]:
    """Return the colours [1, C, h, w] in [-1, 1] and the opacity [1, 1, h, w] in [0, 1] of a picture of strokes.

    Args:
        given: a file's name, a PIL image, or an array uint8 [H, W, 4]; brought to the model's size.
        picture: what the model makes.

    Raises:
        PictureError: it cannot be read, has another shape or no transparency, or is for a model whose pictures are not grey or
            in colour.
    """
    if picture.channels not in (1, 3):
        raise PictureError(f"strokes have a colour, and this model makes pictures of {picture.channels} channels: give wishes")
    if isinstance(given, (str, os.PathLike)):
        try:
            with Image.open(given) as opened:
                given = opened.copy()
        except (OSError, UnidentifiedImageError) as error:
            raise PictureError(f"{os.fspath(given)}: it is not a readable picture of strokes") from error
    if isinstance(given, Image.Image):
        if "A" not in given.getbands() and "transparency" not in given.info:
            raise PictureError(
                f"a picture of strokes is transparent where nothing is asked for; this one ({given.mode}) has no transparency"
            )
        given = np.asarray(given.convert("RGBA"))
    if not (isinstance(given, np.ndarray) and given.dtype == np.uint8 and given.ndim == 3 and given.shape[2] == 4):
        raise PictureError("strokes are a file's name, a PIL image, or an array of uint8 [H, W, 4], the last channel opacity")
    height, width = given.shape[:2]
    if abs(height * picture.width - width * picture.height) > max(height, width, picture.height, picture.width):
        raise PictureError(
            f"the strokes have {width} x {height} pixels, the model's pictures {picture.width} x {picture.height}: expected "
            "the same shape at any size, such as that of the projection"
        )
    x = torch.from_numpy(given.astype(np.float32)).permute(2, 0, 1)[None] / 255
    colour, opacity = x[:, :3], x[:, 3:]
    if picture.channels == 1:
        colour = colour.mean(1, keepdim=True)
    small = resize(opacity, picture.height, picture.width)
    blended = resize(colour * opacity, picture.height, picture.width)  # So that hidden colours do not bleed in.
    return 2 * (blended / small.clamp(min=1e-6)).clamp(0, 1) - 1, small.clamp(0, 1)
