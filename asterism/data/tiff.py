"""Read TIFFs that Pillow cannot hold (colour above 8 bits, or more than 4 channels) with tifffile.

A TIFF in memory came over a network. Of it, tifffile is to open no other file, as some microscopes' formats ask it to, and
to unpack no more than the picture has: its decoders would otherwise make gigabytes of a few kilobytes.
"""

from __future__ import annotations

import io
import math
import os
import zlib
from typing import Any

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

MAX_PAGES = 1000
"""Maximum number of TIFF pages, each of which is a channel."""

_PLAIN = tifffile.COMPRESSION.NONE
_DEFLATE = (tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE)
_LARGE_CHUNK = 2**26  # Bytes of a tile or strip that any picture may have, however small.


def pillow_holds(file: str | os.PathLike[str] | bytes) -> bool:
    """Say whether Pillow reads all of a TIFF: one page, and no more than 8 bits unless it is grey."""
    given, formats = (io.BytesIO(file), ("TIFF",)) if isinstance(file, bytes) else (file, None)
    try:
        with Image.open(given, formats=formats) as image:
            bits = getattr(image, "tag_v2", {}).get(258, (8,))
            return (len(bits) == 1 or max(bits) <= 8) and not _has_second_page(image)
    except UnidentifiedImageError:
        return False


def read_tiff(file: str | os.PathLike[str] | bytes, header: bool) -> tuple[np.ndarray, bool]:
    """Return the pixels [H, W] or [H, W, C] and whether the last channel is opacity.

    Args:
        file: its name, or its bytes, which are not trusted.
        header: the pixels are zeros that take no memory.

    Raises:
        ValueError: not one picture; in memory also, a kind of compression whose size cannot be foretold.
    """
    inside = isinstance(file, bytes)
    formats: dict[str, Any] = {f"is_{name}": False for name in tifffile.TIFF.FILE_FLAGS} if inside else {}
    with tifffile.TiffFile(io.BytesIO(file) if isinstance(file, bytes) else file, **formats) as opened:
        if inside and len(opened.pages) > MAX_PAGES:
            raise ValueError(f"it has {len(opened.pages):,} pages; at most {MAX_PAGES:,} are accepted as channels")
        series = opened.series[0]
        channels = series.axes.replace("Y", "").replace("X", "")
        if len(channels) > 1 or len(series.axes) != len(channels) + 2:
            raise ValueError(f"its axes are {series.axes}; expected Y, X and at most one more for the channels")
        if isinstance(file, bytes) and not header:
            _check_segments(file, series)
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


def _check_segments(data: bytes, series: tifffile.TiffPageSeries) -> None:
    """Raise unless the parts of a picture unpack to no more than they are for, and share no bytes."""
    stored = 0
    for page in series.pages:
        if page is None or page.dtype is None:
            raise ValueError("a part of it is missing, or has an unknown number type")
        chunk = math.prod(page.chunks) * page.dtype.itemsize
        if chunk > max(_LARGE_CHUNK, 2 * series.nbytes):
            raise ValueError("its tiles are far larger than the picture")
        if page.compression != _PLAIN and page.compression not in _DEFLATE:
            name = getattr(page.compression, "name", page.compression)
            raise ValueError(f"its compression, {name}, is not supported; save it uncompressed or with deflate")
        stored += sum(page.databytecounts)
        if stored > len(data):
            raise ValueError("its parts overlap, or lie outside the file")
        if page.compression in _DEFLATE:
            for start, count in zip(page.dataoffsets, page.databytecounts, strict=False):
                if _unpacks_to_more(data[start : start + count], chunk):
                    raise ValueError("it unpacks to more than its size")


def _unpacks_to_more(packed: bytes, bound: int) -> bool:
    unpacker = zlib.decompressobj()
    return len(unpacker.decompress(packed, bound + 1)) > bound
