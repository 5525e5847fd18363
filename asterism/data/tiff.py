"""Read TIFFs that Pillow cannot hold (colour above 8 bits, or more than 4 channels) with tifffile."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError


def pillow_holds(file: str | os.PathLike[str] | io.BytesIO) -> bool:
    """Say whether Pillow reads all of a TIFF: one page, and no more than 8 bits unless it is grey."""
    try:
        with Image.open(file, formats=("TIFF",) if isinstance(file, io.BytesIO) else None) as image:
            bits = getattr(image, "tag_v2", {}).get(258, (8,))
            return (len(bits) == 1 or max(bits) <= 8) and not _has_second_page(image)
    except UnidentifiedImageError:
        return False


def read_tiff(
    file: str | os.PathLike[str] | io.BytesIO, header: bool, check: Callable[[tifffile.TiffFile], None] | None = None
) -> tuple[np.ndarray, bool]:
    """Return the pixels [H, W] or [H, W, C] and whether the last channel is opacity.

    Args:
        header: the pixels are zeros that take no memory.
        check: told the opened file before its pixels are read; no other file is opened then, as some formats ask for.

    Raises:
        ValueError: not one picture.
    """
    formats: dict[str, Any] = {f"is_{name}": False for name in tifffile.TIFF.FILE_FLAGS} if check else {}
    with tifffile.TiffFile(file, **formats) as opened:
        if check:
            check(opened)
        series = opened.series[0]
        channels = series.axes.replace("Y", "").replace("X", "")
        if channels and "I" in channels and (pages := len(series.pages)) > 1:
            raise ValueError(f"it has {pages:,} pages, and one is expected: save each as a file of its own")
        if len(channels) > 1 or len(series.axes) != len(channels) + 2:
            raise ValueError(f"its axes are {series.axes}; expected Y, X and at most one more for the channels")
        pixels = np.broadcast_to(np.zeros((), series.dtype), series.shape) if header else series.asarray()
        if channels:
            pixels = np.moveaxis(pixels, series.axes.index(channels), -1)
        return pixels, bool({1, 2} & set(opened.pages.first.extrasamples))  # 1 and 2 are the two kinds of opacity.


def _has_second_page(image: Image.Image) -> bool:
    """Say so without a walk through all pages, of which a file may have a hundred thousand."""
    if image.format != "TIFF":
        return getattr(image, "n_frames", 1) > 1
    try:
        image.seek(1)
    except EOFError:
        return False
    return True
