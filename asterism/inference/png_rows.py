"""Write a PNG row by row, so that a sheet of any length needs little memory."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from asterism.storage.whole import writing

SIGNATURE = b"\x89PNG\r\n\x1a\n"


@contextmanager
def png_rows(path: str | os.PathLike[str], width: int) -> Iterator[Callable[[np.ndarray], None]]:
    """Write an 8-bit RGB PNG in bands; the file is there, whole, once the block is left without an error.

    Args:
        path: the file to write or replace.
        width: in pixels; all bands have it.

    Yields:
        A function that adds a band, uint8 [h, width, 3], below the last.
    """
    with writing(Path(path), sync=True) as partial, open(partial, "wb") as file:
        compressor, above, height = zlib.compressobj(6), np.zeros((1, width, 3), np.uint8), 0

        def chunk(kind: bytes, data: bytes) -> None:
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))

        def head() -> None:
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))

        def append(band: np.ndarray) -> None:
            nonlocal above, height
            assert band.shape[1:] == (width, 3) and band.dtype == np.uint8, (band.shape, band.dtype)
            rows = np.concatenate([above, band])
            filtered = np.full((len(band), 1 + width * 3), 2, np.uint8)  # 2: each row minus the one above it.
            filtered[:, 1:] = (rows[1:] - rows[:-1]).reshape(len(band), -1)
            above, height = rows[-1:], height + len(band)
            if data := compressor.compress(filtered.tobytes()):
                chunk(b"IDAT", data)

        file.write(SIGNATURE)
        head()
        yield append
        chunk(b"IDAT", compressor.flush())
        chunk(b"IEND", b"")
        file.seek(len(SIGNATURE))
        head()  # The height is known now.
