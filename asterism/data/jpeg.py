"""JPEG files decoded by simplejpeg, 1.5 times as fast as by Pillow, where it is installed and gives the same values.

Both are built on libjpeg-turbo, but each brings its own; a picture must not depend on which of them a machine has. So a few
JPEGs are decoded by both at first use, and simplejpeg is taken only if every value is equal.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

Decode = Callable[..., np.ndarray[Any, Any]]
SPACES = {"RGB": "RGB", "L": "GRAY"}
"""Pillow's modes that simplejpeg decodes alike, and its words for them."""


def decode(path: str, mode: str) -> np.ndarray[Any, Any] | None:
    """Return the pixels uint8 [H, W, C] of a JPEG file whose mode Pillow says, or none where Pillow has to decode it.

    None, too, for what simplejpeg refuses: Pillow then says what is wrong with the file, or reads it all the same.
    """
    decoder = same_decoder() if mode in SPACES else None
    if decoder is None:
        return None
    with open(path, "rb") as file:
        data = file.read()
    try:
        return decoder(data, SPACES[mode])
    except ValueError:
        return None


@cache
def same_decoder() -> Decode | None:
    """Return simplejpeg's decoder if it is installed and decodes like this machine's Pillow."""
    try:
        from simplejpeg import decode_jpeg
    except Exception:  # Not installed, or it cannot be loaded here: Pillow does without.
        return None
    rows, columns = np.mgrid[:45, :59]
    waves = [np.sin(rows / (3 + i)) * np.cos(columns / (2 + i) + i) for i in range(3)]
    pattern = np.stack([(127.5 + 127.5 * wave).astype(np.uint8) for wave in waves], axis=2)
    for mode, options in (
        ("RGB", {"quality": 75, "subsampling": 2}),
        ("RGB", {"quality": 95, "subsampling": 0}),
        ("RGB", {"quality": 60, "subsampling": 1, "progressive": True}),
        ("L", {"quality": 80}),
    ):
        file = io.BytesIO()
        Image.fromarray(pattern).convert(mode).save(file, "JPEG", **options)
        with Image.open(file) as image:
            expected = np.array(image).reshape(45, 59, -1)
        if not np.array_equal(decode_jpeg(file.getvalue(), SPACES[mode]), expected):
            return None
    return decode_jpeg
