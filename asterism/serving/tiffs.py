"""What is checked of an uploaded TIFF before its pixels are read.

It came over a network: it is to unpack to no more than the picture has, of which decoders would otherwise make gigabytes of a
few kilobytes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import tifffile

from asterism.inference.tiff_rows import MAX_PAGES

_PLAIN = tifffile.COMPRESSION.NONE
_DEFLATE = (tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE)
_LARGE_CHUNK = 2**26  # Bytes of a tile or strip that any picture may have, however small.


def checking(data: bytes, header: bool) -> Callable[[tifffile.TiffFile], None]:
    """Return what raises ValueError of a file that is not to be read.

    Args:
        data: the bytes of the file.
        header: its pixels are not read.
    """

    def check(opened: tifffile.TiffFile) -> None:
        if len(opened.pages) > MAX_PAGES:
            raise ValueError(f"it has {len(opened.pages):,} pages; at most {MAX_PAGES:,} are accepted as channels")
        if not header:
            _check_segments(data, opened.series[0])

    return check


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
