"""A PNG that grows from the top, so that a sheet of any length is written without being held in memory."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from types import TracebackType

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"


class PngRows:
    """Writes an 8-bit RGB PNG in bands; the file is there, whole, once the block is left without an error.

    Args:
        path: the file to write or replace.
        width: in pixels; all bands have it.
    """

    def __init__(self, path: str | os.PathLike[str], width: int) -> None:
        self.path, self.width, self.height = Path(path), width, 0
        self.temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")

    def __enter__(self) -> PngRows:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(self.temporary, "wb")  # noqa: SIM115 - closed by __exit__.
        self.file.write(SIGNATURE)
        self._chunk(b"IHDR", self._header())
        self.compressor = zlib.compressobj(6)
        self.above = np.zeros((1, self.width, 3), np.uint8)
        return self

    def append(self, band: np.ndarray) -> None:
        """Add a band, uint8 [h, width, 3], below the last."""
        assert band.shape[1:] == (self.width, 3) and band.dtype == np.uint8, (band.shape, band.dtype)
        rows = np.concatenate([self.above, band])
        filtered = np.full((len(band), 1 + self.width * 3), 2, np.uint8)  # 2: each row minus the one above it.
        filtered[:, 1:] = (rows[1:] - rows[:-1]).reshape(len(band), -1)
        self.above, self.height = rows[-1:], self.height + len(band)
        if data := self.compressor.compress(filtered.tobytes()):
            self._chunk(b"IDAT", data)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._chunk(b"IDAT", self.compressor.flush())
                self._chunk(b"IEND", b"")
                self.file.seek(len(SIGNATURE))
                self._chunk(b"IHDR", self._header())  # The height is known now.
                self.file.flush()
                os.fsync(self.file.fileno())
                self.file.close()
                os.replace(self.temporary, self.path)
        finally:
            self.file.close()
            self.temporary.unlink(missing_ok=True)

    def _header(self) -> bytes:
        return struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self.file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
