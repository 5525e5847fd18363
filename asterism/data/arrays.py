"""Arrays from files: integers are pictures [H, W, C], floats are features such as spectrograms.

Features are written channels first, [F, T] or [C, F, T]: F rows that are the same for all, T columns of which training takes
a window. Here they are float32 [F, T, C], so that whatever reads pictures reads them too.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from asterism.data.tiff import pillow_holds, read_tiff

Array = np.ndarray[Any, Any]

STORED: dict[int, Any] = {8: np.uint8, 16: np.uint16, 32: np.float32}
"""Bits of a stored value -> its type."""

HEADERS = Lock()  # NumPy reads them by Python's parser, in which threads meet (a SystemError of Python 3.11, rarely).


def open_array(path: str | os.PathLike[str], file: io.BytesIO | None, header: bool = False) -> tuple[Array, bool] | None:
    """Return the pixels [H, W, C] of a .npy file or of a TIFF that Pillow cannot hold, and whether the last is opacity.

    For a `header`, the pixels of a TIFF are zeros that take no memory. Other files give none. `file` is the content, where that
    is not at the path.

    Raises:
        ValueError: as `as_picture`; and what reading a broken file raises.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        with HEADERS:
            array = np.load(file or path, mmap_mode=None if file else "r", allow_pickle=False)
        return as_picture(array), False
    if suffix in (".tif", ".tiff") and not pillow_holds(file or path):
        pixels, alpha = read_tiff(io.BytesIO(file.getvalue()) if file else path, header)
        return as_picture(pixels), alpha
    return None


def as_picture(array: Array) -> Array:
    """Return the array of a file as [H, W, C], uint8, uint16 or, of any floats, float32.

    Raises:
        ValueError: it is neither a picture nor features; what it is and what was expected.
    """
    if array.dtype.kind == "f":
        return _features(array)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.dtype not in (np.uint8, np.uint16) or 0 in array.shape:
        raise ValueError(f"it holds {array.dtype} {[*array.shape]}; expected uint8 or uint16 [H, W(, C)], floats [(C,) F, T]")
    if array.shape[0] <= 16 < array.shape[2] and array.shape[0] < array.shape[1]:
        raise ValueError(f"it holds {list(array.shape)}, which looks like [C, H, W]; save it as [H, W, C]")
    return array


def _features(array: Array) -> Array:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"it holds {array.dtype} {list(array.shape)}; floats are features [F, T] or [C, F, T]")
    if array.ndim == 3 and array.shape[2] <= 4 < array.shape[0]:
        raise ValueError(f"it holds {list(array.shape)}, which looks like [F, T, C]; save features as [C, F, T]")
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are infinite or not numbers (NaN)")
    return values[:, :, None] if array.ndim == 2 else values.transpose(1, 2, 0)


def as_features(picture: Array) -> Array:
    """Return float32 [F, T, C] as features are written: [F, T], or of several channels [C, F, T]."""
    return np.ascontiguousarray(picture[:, :, 0] if picture.shape[2] == 1 else picture.transpose(2, 0, 1))


def window(features: Array, width: int, share: float | None = None) -> Array:
    """Return `width` columns of features [C, F, T].

    Args:
        share: where, in [0, 1): from the first columns to the last; none takes the middle.
    """
    spare = features.shape[2] - width
    start = spare // 2 if share is None else int(share * (spare + 1))
    return np.ascontiguousarray(features[:, :, start : start + width])
