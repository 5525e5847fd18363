"""Pictures as arrays and as files."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def noise(width: int = 32, height: int = 32, seed: int = 0, channels: int = 3) -> np.ndarray:
    """A smooth random picture [H, W, C], uint8, so that JPEG keeps it well."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, channels), dtype=np.uint8)
    planes = [Image.fromarray(coarse[:, :, c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def coded(array: np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture's file."""
    file = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(file, format, **options)
    return file.getvalue()


def deflated_tiff(array: np.ndarray, packed: bytes | None = None, pages: int = 1, compression: int = 8) -> bytes:
    """A TIFF of 16-bit colour [H, W, C] as one deflated strip, or of `packed` in its place, on as many equal pages."""
    height, width, channels = array.shape
    strip = zlib.compress(array.astype("<u2").tobytes()) if packed is None else packed
    bits = struct.pack(f"<{channels}H", *[16] * channels)
    entries = {256: (4, 1, width), 257: (4, 1, height), 258: (3, channels, 8), 259: (3, 1, compression), 262: (3, 1, 2)}
    entries |= {273: (4, 1, 8 + len(bits)), 277: (3, 1, channels), 278: (4, 1, height), 279: (4, 1, len(strip))}
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, *e) for tag, e in entries.items())
    first = 8 + len(bits) + len(strip)
    after = [first + (i + 1) * (len(directory) + 4) for i in range(pages - 1)] + [0]
    head = b"II*\0" + struct.pack("<I", first) + bits + strip
    return head + b"".join(directory + struct.pack("<I", at) for at in after)


def opened(content: bytes) -> np.ndarray:
    """The pixels [H, W, C] of a picture's file."""
    array = np.asarray(Image.open(io.BytesIO(content)))
    return array if array.ndim == 3 else array[:, :, None]
