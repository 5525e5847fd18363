"""Decode uploaded pictures, after checking that their type and size are allowed.

Four decoders are named, PNG, JPEG, WebP and TIFF; no other one sees the bytes, whatever a file calls itself.
"""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
from PIL import Image

from asterism.data.arrays import as_picture
from asterism.data.label_maps import MOST, ids_of, joined
from asterism.data.pictures import (
    Header,
    PictureError,
    PictureFormat,
    convert,
    explaining,
    from_pil,
    header_of,
    header_of_array,
    is_wide,
    read_wide,
)
from asterism.data.tiff import pillow_holds, read_tiff
from asterism.inference.images import as_stored
from asterism.serving.limits import Limits, Refused
from asterism.serving.tiffs import checking

KINDS = ("PNG", "JPEG", "WEBP", "TIFF")
"""Pillow decoders that uploads may use."""

MAX_SCANS = 100
"""A progressive JPEG passes over all of its pixels once per scan; encoders write about ten."""


def read_upload(
    data: bytes, picture: PictureFormat, limits: Limits, *, letterbox: bool = True, instances: bytes | None = None
) -> np.ndarray:
    """Decode an uploaded picture as a model takes it.

    Args:
        data: the bytes of a PNG, JPEG, WebP or TIFF file that holds one picture.
        picture: of what is read: gives the channels and the depth to convert to, or the classes of a label map.
        instances: the file with the instance map of a label map that does not hold it itself.
        letterbox: the picture will be padded to the model's shape, so that the padded size counts, too.

    Returns:
        [H, W, channels], stored values in the model's depth, upright.

    Raises:
        Refused: 400 an empty file, 413 too many bytes or pixels, 415 another kind of file, 422 a broken picture, an
            animation, or one that the model cannot take.
    """
    if not data:
        raise Refused(400, "the picture is empty: 0 bytes arrived")
    if len(data) > limits.upload_bytes:
        raise Refused(413, f"the picture has {len(data):,} bytes; at most {limits.upload_bytes:,} are taken")
    kind = _kind(data)
    _check_size(*_size(data, kind), picture, limits, letterbox)
    if kind == "JPEG" and data.count(b"\xff\xda") > MAX_SCANS:
        raise Refused(422, f"the JPEG has more than {MAX_SCANS} scans; save it again as a plain JPEG or a PNG")
    try:
        array = decode(data, kind, picture)
        if instances is not None and (picture.classes == 0 or picture.channels == 1):
            raise PictureError("this model takes no instance map with it")
        if instances is not None:
            any_ids = replace(picture, channels=1, depth=16, classes=MOST)
            beside = read_upload(instances, any_ids, limits, letterbox=letterbox)
            array = joined(array[:, :, 0], beside[:, :, 0], picture)
        else:
            array = as_stored(array, picture)
    except PictureError as error:
        raise Refused(422, f"the {kind} picture cannot be used: {_pathless(str(error))}") from error
    except MemoryError as error:
        raise Refused(413, "the picture needs more memory than there is; send a smaller one") from error
    _check_size(array.shape[1], array.shape[0], picture, limits, letterbox)
    return array


def read_strokes(data: bytes, picture: PictureFormat, limits: Limits) -> np.ndarray:
    """Decode an uploaded picture of strokes, uint8 [H, W, 4].

    Args:
        picture: what the model makes, on which they are drawn.

    Raises:
        Refused: as `read_upload`; 422 for a picture without transparency.
    """
    wanted = replace(picture, channels=4, depth=8, low=0, high=255)
    try:
        return read_upload(data, wanted, limits, letterbox=False)
    except Refused as error:
        if isinstance(error.__cause__, PictureError) and not probe_bytes(data, _kind(data)).alpha:
            reason = "a picture of strokes is transparent where nothing is asked for; this one has no transparency"
            raise Refused(422, reason) from error
        raise


def probe_bytes(data: bytes, kind: str) -> Header:
    """Read the header of a picture, as `probe` does, from the bytes of a file; `kind` as for `decode`.

    Raises:
        PictureError: as `probe`.
    """
    with explaining(None):
        if kind == "TIFF" and not pillow_holds(io.BytesIO(data)):
            pixels, alpha = read_tiff(io.BytesIO(data), True, checking(data, True))
            return header_of_array(as_picture(pixels), alpha)
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            return header_of(image)


def decode(data: bytes, kind: str, picture: PictureFormat) -> np.ndarray:
    """Read a picture [H, W, C], as `read` does, or the ids of a label map, from the bytes of a file.

    Args:
        kind: PNG, JPEG, WEBP or TIFF; no decoder of another kind sees the bytes.
        picture: what is expected: gives the channels, or says that it is a label map.

    Raises:
        PictureError: as `read`.
    """
    channels = None if picture.classes else picture.channels
    with explaining(None):
        if kind == "TIFF" and not pillow_holds(io.BytesIO(data)):
            pixels, alpha = read_tiff(io.BytesIO(data), False, checking(data, False))
            return convert(np.ascontiguousarray(as_picture(pixels)), channels, alpha=alpha)
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            if picture.classes:
                return ids_of(image)[:, :, None]
            if not is_wide(image):
                return from_pil(image, channels)
        return convert(read_wide(io.BytesIO(data)), channels, alpha=True)


def _kind(data: bytes) -> str:
    """Return which of KINDS the bytes begin like."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    raise Refused(415, f"this is not a PNG, JPEG, WebP or TIFF picture{_guess(data)}; convert it to one of these")


def _guess(data: bytes) -> str:
    """Say what the bytes are instead, where that is easy to see."""
    head = data[:512].lstrip()
    known = {
        b"GIF8": "a GIF",
        b"PK\x03\x04": "a zip archive",
        b"BM": "a BMP",
        b"%PDF": "a PDF",
    }
    found = next((name for start, name in known.items() if head.startswith(start)), None)
    if data[4:8] == b"ftyp":  # The box that begins files of moving and still pictures; its brand says which.
        found = {b"avif": "an AVIF", b"avis": "an AVIF", b"heic": "a HEIC", b"mif1": "a HEIC"}.get(data[8:12], "a video")
    if found is None and (b"<svg" in head or head.startswith(b"<?xml")):
        found = "an SVG"
    return f" but {found}" if found else ""


def _size(data: bytes, kind: str) -> tuple[int, int]:
    """Return width and height from the header, without decoding; refuse animations."""
    try:
        if kind == "WEBP":  # Pillow makes room for a WebP's canvas as soon as it is opened.
            width, height, animated = _webp_header(data)
        else:
            header = probe_bytes(data, kind)
            width, height = header.width, header.height * -(-header.channels // 4)  # More channels count as more rows.
            animated = kind == "PNG" and b"acTL" in data[: data.find(b"IDAT")]
    except (PictureError, ValueError, struct.error) as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            raise Refused(413, "the picture has far more pixels than allowed; make it smaller") from error
        reason = _pathless(str(error)) if isinstance(error, PictureError) else "its header is damaged"
        raise Refused(422, f"the {kind} picture cannot be used: {reason}") from error
    if animated:
        raise Refused(422, "the file is an animation; send one of its frames as a picture")
    return width, height


def _webp_header(data: bytes) -> tuple[int, int, bool]:
    """Return width, height and whether it moves (the WebP container specification)."""
    chunk = data[12:16]
    if chunk == b"VP8X" and len(data) >= 30:
        width, height = (1 + int.from_bytes(data[i : i + 3], "little") for i in (24, 27))
        return width, height, bool(data[20] & 2)
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), False
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF, False
    raise ValueError("no picture chunk")


def _check_size(width: int, height: int, picture: PictureFormat, limits: Limits, letterbox: bool) -> None:
    if width < 1 or height < 1:
        raise Refused(422, f"the picture has {width} x {height} pixels: nothing to translate")
    if width * height > limits.pixels:
        raise Refused(
            413, f"the picture has {width:,} x {height:,} pixels; at most {limits.pixels:,} are allowed: make it smaller"
        )
    scale = max(height / picture.height, width / picture.width)
    if letterbox and scale**2 * picture.height * picture.width > 2 * limits.pixels:
        raise Refused(413, f"the picture is too long for its width, {width:,} x {height:,} pixels: crop it, or use fit=crop")


def _pathless(reason: str) -> str:
    """Return a decoder's words unless they speak of objects or files of this machine."""
    if "truncated" in reason.lower():
        return "it is truncated; send it again"
    return "it is damaged" if "<" in reason or "/" in reason or "\\" in reason else reason
