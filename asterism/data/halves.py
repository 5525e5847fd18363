"""Files that hold two pictures side by side, as published pairs do: `#left` or `#right` after a file's name says which half.

No picture's file ends so, and every place that knows a picture by its name, such as a pack, knows a half by its own.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from asterism.data.pictures import Header, PictureError, probe, read

HALVES = ("#left", "#right")


class HalvesError(PictureError):
    """A picture that does not divide into two halves."""


def divided(path: str | os.PathLike[str]) -> tuple[str, int | None]:
    """Return the file that a name is of, and which half of its picture: 0 left, 1 right, none for the whole."""
    name = os.fspath(path)
    half = next((place for place, mark in enumerate(HALVES) if name.endswith(mark)), None)
    return name if half is None else name.removesuffix(HALVES[half]), half


def probe_row(path: str | os.PathLike[str]) -> Header:
    """Read the header of a whole or half picture, as `probe` does.

    Raises:
        HalvesError: half of an odd width.
        PictureError: as `probe`.
    """
    file, half = divided(path)
    header = probe(file)
    if half is not None and header.width % 2:
        raise HalvesError(f"it is {header.width} pixels wide, which does not divide into two halves side by side")
    return header if half is None else replace(header, width=header.width // 2)


def read_row(path: str | os.PathLike[str], channels: int | None = None) -> np.ndarray:
    """Read a whole or half picture as [H, W, C], as `read` does.

    Raises:
        PictureError: as `read`.
    """
    file, half = divided(path)
    pixels = read(file, channels)
    width = pixels.shape[1] // 2
    return pixels if half is None else np.ascontiguousarray(pixels[:, half * width : (half + 1) * width])
