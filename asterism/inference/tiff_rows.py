"""TIFFs of any size, read and written some rows at a time, with the tags that say where on Earth they lie.

A TIFF is cut into strips or tiles, which are packed one by one: only those that rows lie in are read and unpacked. tifffile
unpacks deflate, LZMA, PackBits and, on newer Pythons, Zstandard; Pillow's libtiff unpacks LZW and JPEG.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from asterism.data.label_maps import joined
from asterism.data.pictures import FAST, PictureError, PictureFormat, convert, to_depth
from asterism.inference.images import DARK

MAX_PAGES = 1000
"""Maximum number of TIFF pages, each of which is a channel."""

GEOREFERENCE = (33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113)
"""GeoTIFF's tags (OGC 19-008r4) and GDAL's metadata and no-data value."""

TILE = 256
"""Side of the tiles of written TIFFs, in pixels."""

LARGE_SEGMENT = 2**28
"""Bytes of one strip or tile from which a TIFF cannot be read in parts."""

_LZW, _JPEG = tifffile.COMPRESSION.LZW, tifffile.COMPRESSION.JPEG
_SPECIMENS = 9  # Places of which rows tell whether a picture is nearly black.


class TiffRows:
    """A TIFF on a disk, open, as a model takes it.

    Args:
        path: the file.
        picture: the model's; what it takes has the channels and the depth to convert to, or is a label map without instances.

    Attributes:
        height, width: in pixels.
        tags: of the georeference and the resolution, as tifffile writes them.

    Raises:
        Unstreamable: it must be read whole; the message says why.
        PictureError: its channels cannot be converted to the model's, or its values mean something else.
    """

    def __init__(self, path: str | os.PathLike[str], picture: PictureFormat) -> None:
        self._file = tifffile.TiffFile(path)
        try:
            self._open(picture)
        except Exception:
            self._file.close()
            raise

    def __enter__(self) -> TiffRows:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def _open(self, picture: PictureFormat) -> None:
        series = self._file.series[0]
        page: Any = series.keyframe
        picture = picture.taken
        self._pages, self._page, self.picture = list(series.pages), page, picture
        reason = _whole_only(series, page)
        if picture.classes and (len(self._pages) * page.samplesperpixel > 1 or page.compression == _JPEG):
            reason = reason or "it cannot be a label map"
        if reason:
            raise Unstreamable(reason)
        self.height, self.width = page.imagelength, page.imagewidth
        self.alpha, self._planes = page.extrasamples == (2,), 1
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            self._planes = page.samplesperpixel
        self.tags = [
            (code, int(tag.dtype), tag.count, tag.value, True)
            for code in GEOREFERENCE
            if (tag := page.tags.get(code)) is not None
        ]
        self.resolution = (page.resolution, page.resolutionunit) if 282 in page.tags and 283 in page.tags else None
        self._plain, self._order, self._tables = _is_plain(page), page.parent.byteorder, page.tags.valueof(347)
        self._packed_by_pillow = page.compression if page.compression in (_LZW, _JPEG) else None
        if self._packed_by_pillow:
            page.compression = tifffile.COMPRESSION.NONE  # `decode` gets what Pillow has unpacked.
            page.predictor = 1 if self._packed_by_pillow == _JPEG else page.predictor
        held = 8 * page.dtype.itemsize
        if not picture.classes and held != picture.depth and (picture.low, picture.high) != (0, 2**picture.depth - 1):
            raise PictureError(
                f"it has {held} bits, and this model takes values from {picture.low:g} to {picture.high:g} in "
                f"{picture.depth} bits; convert it"
            )
        if not picture.classes and held > picture.depth:
            rows = [place * (self.height - 1) // (_SPECIMENS - 1) for place in range(_SPECIMENS)]
            if 0 < max(int(self._stored(row, row + 1).max()) for row in rows) < DARK:
                raise PictureError(
                    "its 16-bit values are nearly black for this model of 8-bit pictures: scale them to the full range, or to "
                    "8 bits"
                )
        self.read(0, 1)  # Channels that cannot be converted are found now.

    def read(self, top: int, bottom: int) -> np.ndarray:
        """Return rows as stored values [bottom - top, W, C] of the model's channels and depth.

        Raises:
            PictureError: they cannot be unpacked, or hold an id beyond the classes.
        """
        if self.picture.classes:
            return joined(self._stored(top, bottom)[:, :, 0], None, replace(self.picture, channels=1))
        return to_depth(convert(self._stored(top, bottom), self.picture.channels, alpha=self.alpha), self.picture.depth)

    def _stored(self, top: int, bottom: int) -> np.ndarray:
        """Return rows [bottom - top, W, C] as they are in the file."""
        page, contiguous = self._page, self._page.samplesperpixel // self._planes
        rows = np.empty((bottom - top, self.width, len(self._pages) * page.samplesperpixel), page.dtype)
        deep, wide = _segment(page)
        across, down = -(-self.width // wide), -(-self.height // deep)
        for number, one in enumerate(self._pages):
            for plane in range(self._planes):
                channel = number * page.samplesperpixel + plane * contiguous
                for line in range(top // deep, -(-bottom // deep)):
                    for column in range(across):
                        start, left = line * deep, column * wide
                        first, last = max(top, start), min(bottom, start + deep, self.height)
                        index = (plane * down + line) * across + column
                        part = self._rows_of(one, index, first - start, last - start)[:, : self.width - left]
                        rows[first - top : last - top, left : left + wide, channel : channel + contiguous] = part
        return rows

    def _rows_of(self, page: Any, index: int, first: int, last: int) -> np.ndarray:
        """Return some rows of a strip or tile, [last - first, w, samples]."""
        offset, count, handle = page.dataoffsets[index], page.databytecounts[index], page.parent.filehandle
        _, _, shape = self._page.decode(None, index)
        row_bytes = shape[2] * shape[3] * self._page.dtype.itemsize
        if not count:  # GDAL leaves out tiles without data.
            return np.full((last - first, *shape[2:]), self._page.nodata, self._page.dtype)
        try:
            if self._plain:
                handle.seek(offset + first * row_bytes)
                stored = np.frombuffer(handle.read((last - first) * row_bytes), self._page.dtype.newbyteorder(self._order))
                return stored.reshape(last - first, *shape[2:])
            handle.seek(offset)
            packed = handle.read(count)
            if self._packed_by_pillow:
                packed = self._unpacked(packed, shape[1], row_bytes, shape[3])
            return self._page.decode(packed, index)[0][0][first:last]
        except Exception as error:
            raise PictureError(f"strip or tile {index:,} of it cannot be unpacked: {error}") from error

    def _unpacked(self, packed: bytes, height: int, row_bytes: int, samples: int) -> bytes:
        """Unpack LZW or JPEG: Pillow opens a TIFF of this one strip, of LZW as bytes whose meaning does not matter."""
        jpeg = self._packed_by_pillow == _JPEG
        tags = ImageFileDirectory_v2()
        tags[256], tags[257], tags[278] = row_bytes // samples if jpeg else row_bytes, height, height
        tags[258], tags[277] = ((8,) * samples, samples) if jpeg else ((8,), 1)
        tags[259], tags[262] = int(self._packed_by_pillow or 1), int(self._page.photometric) if jpeg else 1
        tags[273], tags[279] = 0, len(packed)  # Pillow adds the length of the head.
        if self._tables is not None and jpeg:
            tags[347] = self._tables
        if jpeg and self._page.photometric == 6:
            tags[530] = self._page.subsampling or (2, 2)
        file = io.BytesIO()
        tags.save(file)
        file.write(packed)
        with Image.open(file, formats=("TIFF",)) as image:
            return image.tobytes()


class Unstreamable(PictureError):
    """A TIFF that cannot be read in parts."""


def _segment(page: Any) -> tuple[int, int]:
    """Return height and width of a strip or tile."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _whole_only(series: Any, page: Any) -> str:
    """Say why a TIFF must be read whole; nothing where it need not."""
    codecs = {*(int(c) for c in (_LZW, _JPEG) if page.dtype is not None), *(c for c in _BY_TIFFFILE if c in _decoders())}
    kinds = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
    converted = page.compression == _JPEG and page.photometric == tifffile.PHOTOMETRIC.YCBCR
    axes = series.axes.replace("Y", "").replace("X", "")
    name = getattr(page.compression, "name", page.compression)
    if page.dtype is None or page.dtype not in (np.uint8, np.uint16) or page.bitspersample not in (8, 16):
        return f"its values are {page.dtype}, {page.bitspersample} bits"
    if page.photometric not in kinds and not converted:
        return f"its colours are {getattr(page.photometric, 'name', page.photometric)}"
    if page.tags.valueof(274, 1) != 1:
        return "it is turned (tag Orientation)"
    if len(axes) > 1 or len(series.axes) != len(axes) + 2 or len(series.pages) > MAX_PAGES or None in list(series.pages):
        return f"its axes are {series.axes}"
    if page.photometric == tifffile.PHOTOMETRIC.RGB and page.samplesperpixel == 4 and page.extrasamples != (2,):
        return "its fourth channel is premultiplied or unnamed"
    if int(page.compression) not in codecs or (page.compression == _JPEG and page.dtype != np.uint8):
        return f"its compression is {name}"
    if not _is_plain(page) and math.prod(_segment(page)) * page.samplesperpixel * page.dtype.itemsize > LARGE_SEGMENT:
        return "it is one large strip"
    return ""


def _is_plain(page: Any) -> bool:
    """Say whether its rows lie in the file as they are, so that some of a strip can be read."""
    return page.compression == tifffile.COMPRESSION.NONE and page.predictor == 1 and page.fillorder == 1


_BY_TIFFFILE = (1, 8, 32946, 32773, 34925, 50000)  # None, deflate by two names, PackBits, LZMA, Zstandard.


def _decoders() -> Any:
    return tifffile.TIFF.DECOMPRESSORS


def write_tiff(
    path: Path, rows: Iterator[np.ndarray], shape: tuple[int, int, int], dtype: Any, like: TiffRows | None = None
) -> None:
    """Write a tiled TIFF, packed by deflate, from rows as they come; a BigTIFF where it may reach 4 GB.

    Args:
        path: the file, which is not whole before this returns.
        rows: stored values [h, W, C], from the top, of any h.
        shape: H, W, C.
        dtype: uint8 or uint16.
        like: a file whose georeference and resolution it gets.
    """
    height, width, channels = shape
    alpha = like is not None and like.alpha and channels in (2, 4)
    colour = "rgb" if channels - alpha == 3 else "minisblack"
    options: dict[str, Any] = {"extratags": like.tags} if like is not None else {}
    if like is not None and like.resolution:
        options["resolution"], options["resolutionunit"] = like.resolution
    if channels > 1:
        options["planarconfig"] = "contig"
    if alpha:
        options["extrasamples"] = ("unassalpha",)
    size = height * width * channels * np.dtype(dtype).itemsize
    with tifffile.TiffWriter(path, bigtiff=size > 2**32 - 2**25) as file:
        file.write(
            _tiles(rows, width),
            shape=(height, width) if channels == 1 else shape,
            dtype=dtype,
            tile=(TILE, TILE),
            photometric=colour,
            compression="zlib",
            compressionargs={"level": FAST},
            predictor=True,
            metadata=None,
            maxworkers=min(4, os.cpu_count() or 1),
            buffersize=2**25,
            **options,
        )


def _tiles(rows: Iterator[np.ndarray], width: int) -> Iterator[np.ndarray]:
    for block in in_blocks(rows, TILE):
        for left in range(0, width, TILE):
            part = block[:, left : left + TILE]
            tile = np.zeros((TILE, TILE, block.shape[2]), block.dtype)
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile if block.shape[2] > 1 else tile[:, :, 0]


def in_blocks(rows: Iterator[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """Yield the same rows [h, W, C] in blocks of one height; the last may have fewer."""
    held: list[np.ndarray] = []
    for part in rows:
        held.append(part)
        while sum(map(len, held)) >= height:
            rest = np.concatenate(held)
            yield rest[:height]
            held = [rest[height:]]
    if any(map(len, held)):
        yield np.concatenate(held)
