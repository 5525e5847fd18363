"""What a result keeps of its source beside the pixels: opacity, EXIF, and that its colours are sRGB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from asterism.data.pictures import SRGB, to_depth, to_pil
from asterism.inference.fast_png import write_result
from asterism.shards import sample_of

TAGGED = (".png", ".webp", ".jpg", ".jpeg")
"""Endings of results that hold more than pixels."""

HOLDS = ("exif", "icc_profile")
"""What they hold."""

ORIENTATION = 0x0112


@dataclass(frozen=True)
class Kept:
    """What is kept of one source.

    Args:
        alpha: opacity, uint8 [H, W, 1], upright; none where all of it is opaque.
        info: `exif`, upright, and `icc_profile`, that of sRGB, as Pillow takes them when it saves.
    """

    alpha: np.ndarray[Any, Any] | None = None
    info: Mapping[str, bytes] = field(default_factory=dict)

    def with_alpha(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return a result [H, W, C] of grey or colour with its source's opacity; others as they are."""
        if self.alpha is None or array.shape[2] not in (1, 3) or array.dtype == np.float32:
            return array
        if self.alpha.shape[:2] != array.shape[:2]:
            return array
        return np.concatenate([array, to_depth(self.alpha, 8 * array.itemsize)], 2)

    def onto(self, result: Any) -> Any:
        """Return a result as a PIL image with what is kept; an array as it is."""
        if not isinstance(result, Image.Image):
            return result
        if self.alpha is not None and result.mode in ("L", "RGB"):
            array = np.asarray(result)
            result = to_pil(self.with_alpha(array.reshape(*array.shape[:2], -1)))
        result.info.update(self.info)
        return result


def kept_of(image: Image.Image) -> Kept:
    """Return what is to be kept of a PIL image."""
    exif = _exif(image) if image.format != "PNG" or "exif" in image.info else b""
    info = {"exif": exif} if exif else {}
    if image.info.get("icc_profile") and image.mode in ("RGB", "RGBA", "CMYK", "P"):
        info["icc_profile"] = SRGB
    if not image.has_transparency_data:
        return Kept(None, info)
    alpha = np.asarray(ImageOps.exif_transpose(image).convert("RGBA").getchannel("A"))[:, :, None]
    return Kept(None if alpha.min() == 255 else alpha, info)


def _exif(image: Image.Image) -> bytes:
    """Return a picture's EXIF without its orientation, since results are upright; none where it is damaged."""
    exif = Image.Exif()
    try:
        exif.load(image.getexif().tobytes())
        exif.pop(ORIENTATION, None)
        return exif.tobytes() if len(exif) else b""
    except Exception:  # Tags that Pillow reads and cannot write surface as many kinds of error.
        return b""


def kept_of_file(path: Path) -> Kept:
    """Return what is to be kept of a picture's file: nothing where Pillow does not read it, or what it says is damaged."""
    try:
        with Image.open(sample_of(path) or path) as image:
            return kept_of(image)
    except Exception:  # Damaged bytes surface as many kinds of error; the pixels were read all the same.
        return Kept()


def write_kept(path: Path, array: np.ndarray[Any, Any], kept: Kept) -> None:
    """Write a result [H, W, C] with what its kind of file holds of what is kept, fast and whole or not at all.

    Raises:
        PictureError: as `write`.
        OSError: no room on the disk, or no right to write.
    """
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff") or (suffix in (".png", ".webp") and array.dtype == np.uint8):
        array = kept.with_alpha(array)
    info = {name: kept.info[name] for name in HOLDS if suffix in TAGGED and name in kept.info}
    write_result(path, array, info)
