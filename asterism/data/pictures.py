"""Pictures as files and tensors: formats, reading, converting, writing.

A picture keeps the depth of its file, 8 or 16 bits, until it is on the device: uint8 or uint16 arrays [H, W, C] here,
tensors [N, C, H, W] in batches; `to_float` makes them float32 in [-1, 1] and `to_stored` goes back. Features, arrays of floats
in .npy files (`asterism.data.arrays`), are float32 throughout, count as 32 bits, and are never clipped.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageCms, UnidentifiedImageError

from asterism.data.arrays import STORED, as_features, open_array
from asterism.data.values import PictureFormat as PictureFormat
from asterism.data.values import to_float as to_float
from asterism.data.values import to_stored as to_stored
from asterism.errors import AsterismError, DataError
from asterism.shards import sample_of
from asterism.storage.whole import write_whole

with suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
"""The profile of the colours that pictures are converted to when they are read."""

Info = Mapping[str, bytes] | None
"""What a file holds beside pixels: `exif` and `icc_profile`."""

FAST, RLE = 1, 3
"""Level and kind of compression for PNGs on request: level 6 takes twice as long for files a fiftieth smaller."""

# How each Pillow mode is read; transparency that a palette or a chunk holds adds an A. Other modes are 32 bits or floats.
_MODES = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA", "RGBa": "RGBA"}
_MODES |= {"RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}
_UPRIGHT = {  # EXIF orientation -> how to turn the stored pixels.
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(AsterismError, ValueError):
    """A picture that cannot be read, converted or written; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Header:
    """What a file says about its picture: upright size in pixels, channels, bits (8, 16, or 32 for features).

    `alpha` says that the last channel is opacity; `values` are the lowest and highest of features. Of several `frames` the
    first is read.
    """

    width: int
    height: int
    channels: int
    depth: int
    alpha: bool = False
    values: tuple[float, float] | None = None
    frames: int = 1

    def converts_to(self, channels: int) -> bool:
        """Say whether its pixels can be converted to so many channels: grey and colour, never an opacity that it lacks."""
        wanted = (1, 2, 3, 4) if self.alpha else (1, 3)
        convertible = self.depth < 32 and self.channels - self.alpha in (1, 3) and channels in wanted
        return channels == self.channels or convertible


# -- files -------------------------------------------------------------------------------------------------------------


def probe(path: str | os.PathLike[str], file: io.BytesIO | None = None) -> Header:
    """Read the header of a picture file, not its pixels; of features all values, to find the lowest and highest.

    A palette counts as 3 channels, 4 with transparency; the size is that after the EXIF rotation. `file` is the content, where
    that is not at the path.

    Raises:
        PictureError: the file is missing, empty, no picture, of more than 16 bits, or of floats that are not all finite.
    """
    with explaining(None if file else path) as held:
        array = open_array(path, file := file or held, header=True)
        if array is not None:
            header, pixels = header_of_array(*array), array[0]
            return replace(header, values=(float(pixels.min()), float(pixels.max()))) if header.depth == 32 else header
        with Image.open(file or path) as image:
            return header_of(image)


def read(path: str | os.PathLike[str], channels: int | None = None) -> np.ndarray:
    """Read a picture upright as [H, W, C], uint8 or uint16 as in the file; features as float32 [F, T, C].

    Args:
        channels: what to convert to: transparency is laid on white, or kept, and never made up; grey and colour are
            converted into each other; none keeps the file's.

    Raises:
        PictureError: the file cannot be decoded (truncated, no picture, ...) or not converted to `channels`.
    """
    with explaining(path) as file:
        array = open_array(path, file)
        if array is not None:
            return convert(np.ascontiguousarray(array[0]), channels, alpha=array[1])
        with Image.open(file or path) as image:
            if not is_wide(image):
                return from_pil(image, channels)
        return convert(read_wide(file or path), channels, alpha=True)


def write(path: str | os.PathLike[str], array: np.ndarray, quality: int = 95, compression: int = 6, info: Info = None) -> None:
    """Write a picture [H, W, C], uint8 or uint16; the suffix chooses the format. A reader never sees half a file.

    .jpg and .webp hold 8 bits, .png also 16-bit grey, .tif and .npy any number of channels. Features, float32 [F, T, C], are
    written as .npy: [F, T], or of several channels [C, F, T].

    Args:
        quality: of .jpg and .webp, 1..100.
        compression: of .png, which loses nothing by it: 0 to 9, from fast to small.
        info: of .jpg, .png and .webp.

    Raises:
        PictureError: a format that does not hold such a picture, or an unknown suffix.
    """
    path = Path(path)
    write_whole(path, encode(array, path.suffix, quality, compression, info))


def encode(array: np.ndarray, suffix: str, quality: int = 95, compression: int = 6, info: Info = None) -> bytes:
    """Return the file that `write` writes for a picture [H, W, C], uint8 or uint16, or for features.

    Args:
        compression: of .png, 1 fast .. 9 small.

    Raises:
        PictureError: as `write`.
    """
    suffix, file = suffix.lower(), io.BytesIO()
    formats = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": None, ".tiff": None, ".npy": None}
    if suffix not in formats:
        raise PictureError(f"cannot write {suffix or 'a name without suffix'}; use one of {' '.join(formats)}")
    if array.dtype == np.float32 and suffix != ".npy":
        raise PictureError(f"{suffix} does not hold floats; write .npy")
    if formats[suffix] and array.dtype == np.uint16 and (suffix != ".png" or array.shape[2] != 1):
        raise PictureError(f"{suffix} does not hold 16 bits with {array.shape[2]} channels; write .tif or .npy")
    if formats[suffix] == "JPEG" and array.shape[2] in (2, 4):
        array = convert(array, array.shape[2] - 1, alpha=True)
    if formats[suffix]:
        options = {"compress_level": compression, "compress_type": RLE if compression == FAST else -1, **(info or {})}
        try:
            to_pil(array).save(file, formats[suffix], quality=quality, **options)
        except (OSError, ValueError) as error:  # As of sides or EXIF beyond what the format holds.
            raise PictureError(f"{suffix} does not hold {'x'.join(map(str, array.shape[1::-1]))}: {error}") from error
    elif suffix == ".npy":
        np.save(file, as_features(array) if array.dtype == np.float32 else array)
    else:
        grey, kind = array.shape[2] == 1, "rgb" if array.shape[2] == 3 else "minisblack"
        tifffile.imwrite(file, array[:, :, 0] if grey else array, photometric=kind, planarconfig=None if grey else "contig")
    return file.getvalue()


# -- Pillow ------------------------------------------------------------------------------------------------------------


def from_pil(image: Image.Image, channels: int | None = None) -> np.ndarray:
    """Return a Pillow picture upright (EXIF) as [H, W, C], uint8 or, for 16-bit grey, uint16.

    Raises:
        PictureError: 32-bit or float pixels, or a conversion to `channels` that does not exist.
    """
    mode, turn = _mode(image), _UPRIGHT.get(_orientation(image))
    profile = image.info.get("icc_profile") or b""
    if profile and image.mode == "CMYK" and (conversion := _to_srgb(profile, "CMYK")):
        image = conversion.apply(image)
    if mode != "I;16" and image.mode != mode:
        image = image.convert(mode)
    if profile and mode in ("RGB", "RGBA") and (conversion := _to_srgb(profile, "RGB")):
        bands = image.split()
        image = Image.merge(mode, (*conversion.apply(Image.merge("RGB", bands[:3])).split(), *bands[3:]))
    if turn is not None:
        image = image.transpose(turn)
    array = np.array(image)
    if mode == "I;16":
        array = array.astype(np.uint16)  # From either byte order.
    return convert(array.reshape(*array.shape[:2], -1), channels, alpha=True)


@lru_cache(16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the conversion of colours to sRGB; none where the profile is broken, of another kind, or that of sRGB itself."""
    try:
        held = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        found = ImageCms.buildTransform(held, ImageCms.ImageCmsProfile(io.BytesIO(SRGB)), mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    if mode != "RGB":
        return found
    steps = np.linspace(0, 255, 6).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(6, -1, 3)
    made = np.asarray(found.apply(Image.fromarray(colours))).astype(int)
    return found if np.abs(made - colours).max() > 2 else None


def header_of(image: Image.Image) -> Header:
    """Return the header of a Pillow picture, upright."""
    width, height = image.size if _orientation(image) < 5 else image.size[::-1]
    mode = _mode(image)
    if mode == "I;16":
        return Header(width, height, 1, 16)
    frames = getattr(image, "n_frames", 1) if image.format in ("GIF", "PNG", "WEBP") else 1  # Told without a walk, or nearly.
    return Header(width, height, len(mode), 16 if is_wide(image) else 8, mode.endswith("A"), frames=frames)


def header_of_array(pixels: np.ndarray, alpha: bool) -> Header:
    """Return the header of stored values [H, W, C]; `alpha` says that the last of 2 or 4 channels is opacity."""
    height, width, channels = pixels.shape
    return Header(width, height, channels, 8 * pixels.dtype.itemsize, alpha and channels in (2, 4))


def to_pil(array: np.ndarray) -> Image.Image:
    """Return [H, W, C] as a Pillow picture: L, LA, RGB, RGBA, or I;16 for uint16 grey; 16-bit colour becomes 8 bits.

    Raises:
        PictureError: more than 4 channels, which Pillow does not hold.
    """
    channels = array.shape[2]
    if channels > 4 or array.dtype == np.float32:
        what = "features" if array.dtype == np.float32 else f"a picture of {channels} channels"
        raise PictureError(f"{what} is not supported by this format; write .tif or .npy")
    if array.dtype == np.uint16 and channels > 1:
        array = to_depth(array, 8)
    return Image.fromarray(array[:, :, 0] if channels == 1 else array)


def _mode(image: Image.Image) -> str:
    if image.mode.startswith("I;16"):
        return "I;16"
    if image.mode not in _MODES:
        signed = image.mode == "I" and "16" in str(getattr(image, "tile", ""))  # As I;16S or I;16BS.
        kind = "floats" if image.mode == "F" else "signed 16-bit integers" if signed else f"32 bits ({image.mode})"
        raise PictureError(
            f"its values are {kind}; shift and scale them to 8 or 16 unsigned bits, such as CT values plus 1,024"
        )
    mode = _MODES[image.mode]
    return mode + "A" if image.has_transparency_data and not mode.endswith("A") else mode


def _orientation(image: Image.Image) -> int:
    # Pillow would decode a whole PNG to look for EXIF behind its pixels.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    return image.getexif().get(0x0112, 1)


def is_wide(image: Image.Image) -> bool:
    """Say whether the file holds 16-bit colour, of which Pillow's own reading keeps 8 bits."""
    tile = getattr(image, "tile", None) if image.format == "PNG" else None
    layout = tile[0][3] if tile else None
    if layout == "LA;16B":
        raise PictureError("16-bit grey with transparency is not supported; save it without transparency")
    return layout in ("RGB;16B", "RGBA;16B")


def read_wide(path: str | os.PathLike[str] | io.BytesIO) -> np.ndarray:
    """Read a 16-bit colour PNG as uint16 [H, W, C]."""
    halves = []
    for order in ("B", "L"):  # Pillow keeps the byte that it takes for the high one: truly high, then truly low.
        with Image.open(path) as image:
            turn = _UPRIGHT.get(_orientation(image))
            image.tile = [tile._replace(args=f"{image.mode};16{order}") for tile in image.tile]
            halves.append(np.array(image.transpose(turn) if turn is not None else image, dtype=np.uint16))
    return halves[0] << 8 | halves[1]


# -- values ------------------------------------------------------------------------------------------------------------


def to_depth(array: np.ndarray, depth: int) -> np.ndarray:
    """Bring uint8 or uint16 values to `depth` bits, 8 or 16; full scale stays full scale (x257).

    Raises:
        PictureError: floats where a picture is wanted, or a picture where floats are.
    """
    if array.dtype == STORED[depth]:
        return array
    if np.float32 in (array.dtype, STORED[depth]):
        raise PictureError(f"it holds {array.dtype}; expected {np.dtype(STORED[depth])}")
    if depth == 16:
        return array.astype(np.uint16) * np.uint16(257)
    return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)


def convert(array: np.ndarray, channels: int | None, *, alpha: bool) -> np.ndarray:
    """Convert [H, W, C] to another number of channels; `alpha` says that the last of 2 or 4 channels is opacity."""
    header = header_of_array(array, alpha)
    held, opaque = header.channels, header.alpha
    if channels is None or channels == held:
        return array
    if not header.converts_to(channels):
        raise PictureError(f"it has {held} channel{'s' * (held > 1)}, which cannot be converted to {channels}")
    full = np.iinfo(array.dtype).max
    colour, opacity = array[:, :, : held - opaque], array[:, :, -1:]
    if opaque and channels in (1, 3):  # Onto white.
        shown = opacity.astype(np.float32) / full
        colour = np.rint(colour * shown + full * (1.0 - shown)).astype(array.dtype)
    wanted = channels - (channels in (2, 4))
    if colour.shape[2] > wanted:
        colour = np.rint(colour @ np.array([[0.299], [0.587], [0.114]])).astype(array.dtype)  # Rec. 601 luma.
    elif colour.shape[2] < wanted:
        colour = np.repeat(colour, 3, axis=2)
    return np.ascontiguousarray(colour if channels == wanted else np.concatenate([colour, opacity], axis=2))


@contextmanager
def explaining(path: str | os.PathLike[str] | None) -> Iterator[io.BytesIO | None]:
    """Turn whatever a decoder raises on broken bytes into a PictureError that says what is wrong with the file.

    Yields the content of a picture in shards, and nothing of other files.

    Args:
        path: the file; none where the bytes come from elsewhere.
    """
    try:
        if path is not None and os.path.exists(path) and not os.path.isfile(path):
            raise PictureError("it is no file")  # A pipe would be waited for.
        if file := sample_of(path) if path is not None else None:
            path = None
        yield file
    except (PictureError, DataError):
        raise
    except Exception as error:
        if path is not None and not os.path.isfile(path):
            reason = "there is no such file"
        elif os.fspath(path or "").lower().endswith((".heic", ".heif")) and ".heic" not in Image.registered_extensions():
            reason = "HEIC is read by pillow-heif, which is not installed: pip install 'asterism[heic]'"
        elif path is not None and os.path.getsize(path) == 0:
            reason = "the file is empty"
        elif isinstance(error, UnidentifiedImageError):
            reason = "it is not a readable picture"
        else:
            reason = str(error) or type(error).__name__
        raise PictureError(reason) from error
