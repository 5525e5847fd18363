"""Convert pictures of any kind and size for a model, and convert results back.

A caller's picture may be a path, a PIL image, an array or a tensor; what comes back is of the same kind and size:

    path, PIL image, bytes or  PIL image; an array [H, W, C] where Pillow cannot hold it (16-bit colour, > 4 channels)
    an open file of a picture
    uint8 or uint16 array      the same type, [H, W], [H, W, C] or [N, H, W, C]
    float array, in [-1, 1]    the same type, [C, H, W] or [N, C, H, W]
    tensor                     as an array, on the device it came from
    label map (models of these) array or tensor of ids, whole numbers [H, W], or [H, W, 2] with instances; or floats [C, H, W]
    features (models of these) the same type, [F, T] or [C, F, T], in their own range; a path gives such an array, float32
    list or tuple of these     list
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from asterism.config import ConfigError
from asterism.data import transforms
from asterism.data.arrays import as_features
from asterism.data.label_maps import as_made, ids_of, joined, read_ids, read_map
from asterism.data.pictures import (
    PictureError,
    PictureFormat,
    convert,
    explaining,
    from_pil,
    is_wide,
    read,
    read_wide,
    to_depth,
    to_float,
    to_pil,
    to_stored,
)
from asterism.inference import fitting
from asterism.inference.kept import Kept, kept_of, kept_of_file

FITS = ("letterbox", "crop", "full")
"""Ways to fit a picture of another size or shape: all of it with padded edges, its centre, or its own resolution in tiles."""

DARK = 2**14
"""16-bit pictures below this maximum are treated as 12- or 14-bit ones that were not scaled to the full range."""


@dataclass(frozen=True)
class Picture:
    """One picture at its own size.

    Args:
        x: [C, H, W], stored values (uint8 or uint16 in the model's depth, of features float32) or float32 in [-1, 1]; of a
            label map ids.
        rebuild: makes what the caller gets from the translation, float32 [C, H, W] in [-1, 1].
        labels: what is known of it: label index -> value.
        fitted: what `fit_in` returns, where it was brought to the model's size already.
        masks: of the picture's own size, float32 [2, H, W] in [0, 1], for models that carry edges over by masks; none leaves
            them to the model.
    """

    x: Tensor
    rebuild: Callable[[Tensor], Any]
    labels: Mapping[int, float] = field(default_factory=dict)
    fitted: tuple[Tensor, Callable[[Tensor], Tensor]] | None = None
    masks: Tensor | None = None


def split(images: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Take a caller's pictures apart: single pictures, and the function that puts their results together again."""
    if isinstance(images, (list, tuple)):
        parts = [split(part) for part in images]

        def gather(results: list[Any]) -> list[Any]:
            remaining = iter(results)
            return [join([next(remaining) for _ in singles]) for singles, join in parts]

        return [single for singles, _ in parts for single in singles], gather
    if isinstance(images, (np.ndarray, Tensor)) and images.ndim == 4:
        stack: Callable[..., Any] = torch.stack if isinstance(images, Tensor) else np.stack
        return list(images), lambda results: stack(results) if results else images
    return [images], lambda results: results[0]


def open_image(image: Any, picture: PictureFormat, instances: Any = None) -> Picture:
    """Open one picture as the model takes it; files and PIL images are converted to its channel count.

    Args:
        picture: what the model makes, and takes.
        instances: the instance map of a label map, of which it is not a channel: a file's name, PIL image or array [H, W].

    Raises:
        PictureError: it cannot be read, or is no picture as the head of this file describes them.
    """
    if isinstance(image, (str, os.PathLike)):
        if os.path.isdir(image):
            raise PictureError(f"{os.fspath(image)} is a folder; translate_folder and `asterism translate` take folders")
        try:
            opened = open_file(image, picture, instances)
            return opened if picture.taken.classes else _keeping(opened, kept_of_file(Path(image)))
        except PictureError as error:
            raise PictureError(f"{os.fspath(image)}: {error}") from error
    if isinstance(image, (bytes, bytearray, memoryview)) or hasattr(image, "read"):
        return _open_bytes(image.read() if hasattr(image, "read") else bytes(image), picture, instances)
    if isinstance(image, Image.Image):
        taken, beside = picture.taken, _ids(instances)
        opened = _from_file(joined(ids_of(image), beside, taken) if taken.classes else from_pil(image, taken.channels), picture)
        return opened if taken.classes else _keeping(opened, kept_of(image))
    if instances is not None and isinstance(image, (np.ndarray, Tensor)) and image.ndim == 2:
        image = np.stack([np.asarray(image), np.asarray(_ids(instances))], 2)
    if picture.depth == 32 and isinstance(image, (np.ndarray, Tensor)):
        return _open_features(image, picture)
    if isinstance(image, np.ndarray) and image.dtype.kind == "f":
        x = torch.from_numpy(np.array(image, dtype=np.float32, order="C"))
        return Picture(_checked(x, picture.taken), lambda y: y.cpu().numpy().astype(image.dtype))
    if isinstance(image, Tensor) and image.is_floating_point():
        return Picture(_checked(image.detach().to(torch.float32), picture.taken), lambda y: y.to(image.device, image.dtype))
    whole = picture.taken.classes > 0  # Ids may be whole numbers of any type.
    if isinstance(image, np.ndarray) and (image.dtype in (np.uint8, np.uint16) or (whole and image.dtype.kind in "iu")):
        return _open_stored(image, picture)
    if isinstance(image, Tensor) and (image.dtype in (torch.uint8, torch.uint16) or whole):
        opened = _open_stored(image.cpu().numpy(), picture)
        return Picture(opened.x, lambda y: torch.from_numpy(opened.rebuild(y)).to(image.device))
    kind = f"{type(image).__name__}{f' of {image.dtype}' if hasattr(image, 'dtype') else ''}"
    raise PictureError(
        f"cannot take {kind} as a picture; give a path, bytes, a PIL image, or an array or tensor of uint8 or float"
    )


def _open_bytes(data: bytes, picture: PictureFormat, instances: Any) -> Picture:
    """Open the content of a file that Pillow reads."""
    with explaining(None), Image.open(io.BytesIO(data)) as image:
        if not picture.taken.classes and is_wide(image):
            return _from_file(convert(read_wide(io.BytesIO(data)), picture.taken.channels, alpha=True), picture)
        image.load()
        return open_image(image, picture, instances)


def _keeping(opened: Picture, kept: Kept) -> Picture:
    return replace(opened, rebuild=lambda y: kept.onto(opened.rebuild(y)))


def _ids(given: Any) -> np.ndarray | None:
    """Return the ids of an instance map, whole numbers [H, W], or none."""
    if given is None or isinstance(given, Image.Image):
        return None if given is None else ids_of(given)
    return read_ids(given)[0] if isinstance(given, (str, os.PathLike)) else np.asarray(given)


def open_all(
    images: Sequence[Any], picture: PictureFormat, known: Sequence[Mapping[int, float]], instances: Any = None
) -> Iterator[Picture]:
    """Open pictures as they are needed, with what is known of their labels and, beside label maps, their instance maps.

    Raises:
        ConfigError: another number of instance maps than of label maps.
    """
    beside = [None] * len(images) if instances is None else split(instances)[0]
    if len(beside) != len(images):
        raise ConfigError(f"{len(images)} label maps come with {len(beside)} instance maps; give one for each")
    pairs = zip(images, beside, known, strict=True)
    return (replace(open_image(image, picture, ids), labels=labels) for image, ids, labels in pairs)


def open_file(path: str | os.PathLike[str], picture: PictureFormat, instances: Any = None) -> Picture:
    """Open a picture file as the model takes it; `instances` as for `open_image`.

    Raises:
        PictureError: it cannot be read or converted; the reason, without the file's name.
    """
    taken = picture.taken
    return _from_file(read_map(path, _ids(instances), taken) if taken.classes else read(path, taken.channels), picture)


def as_stored(array: np.ndarray, picture: PictureFormat) -> np.ndarray:
    """Return a picture [H, W, C] as stored values in the model's depth, full scale as full scale; features as they are.

    Raises:
        PictureError: another depth than the model's where full scale means something else, as far as that can be seen; features
            for a model of pictures, the reverse, or features of another number of rows.
    """
    if picture.classes:
        return joined(array[:, :, 0], array[:, :, 1] if array.shape[2] == 2 else None, picture)
    if picture.depth == 32 or array.dtype == np.float32:
        return _check_features(array, picture)
    held = 8 * array.itemsize
    if held != picture.depth and (picture.low, picture.high) != (0, 2**picture.depth - 1):
        raise PictureError(
            f"it has {held} bits, and this model takes values from {picture.low:g} to {picture.high:g} in {picture.depth} "
            "bits; convert it"
        )
    if held > picture.depth and 0 < (top := int(array.max())) < DARK:
        raise PictureError(
            f"its 16-bit values reach {top:,} of 65,535, nearly black for this model of 8-bit pictures: scale them to the full "
            "range, or to 8 bits"
        )
    return to_depth(array, picture.depth)


def open_masks(paths: Sequence[str | os.PathLike[str]], size: Sequence[int]) -> Tensor:
    """Read a picture's masks: white where edges are carried over, black where not.

    Args:
        paths: one file for both masks, or that of the coarsest skip and that of the others.
        size: height and width of the picture; masks of another size are resized.

    Returns:
        float32 [2, H, W] in [0, 1].

    Raises:
        PictureError: a mask that cannot be read; the reason, with the file's name.
    """
    masks = []
    for path in paths:
        try:
            stored = to_depth(read(path, 1), 16)
        except PictureError as error:
            raise PictureError(f"mask {os.fspath(path)}: {error}") from error
        x = torch.from_numpy(stored.astype(np.float32) / 65535).permute(2, 0, 1)[None]
        masks.append(transforms.resize(x, size[0], size[1])[0])
    return torch.cat([masks[0], masks[-1]]).clamp(0, 1)


def fit_masks(masks: Tensor, picture: PictureFormat, fit: str, device: torch.device) -> Tensor:
    """Bring masks [2, H, W] to the device and the model's size, the way that `fit_in` takes the picture; [1, 2, h, w]."""
    x = masks[None].to(device)
    if x.shape[2:] == (picture.height, picture.width):
        return x
    fitted = transforms.fit(x, picture) if fit == "crop" else fitting.letterbox(x, picture.height, picture.width)[0]
    return fitted.clamp(0, 1)


def to_array(y: Tensor, picture: PictureFormat) -> np.ndarray:
    """Return a translation, float32 [C, H, W] in [-1, 1], as stored values [H, W, C] of the model's depth."""
    return to_stored(y[None], picture)[0].permute(1, 2, 0).cpu().numpy()


def fit_in(
    image: Picture, picture: PictureFormat, fit: str, device: torch.device, keep: bool = False
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Bring a picture to the device and to the model's size.

    Args:
        fit: `letterbox`: all of it, padded by its edges to the model's shape; `crop`: the centre that training saw,
            pasted back later; `full`: it stays as it is, and whoever translates it takes it in tiles (`inference.tiles`). A
            picture that has the model's size is left as it is. Features are never resized: they are padded where they have
            fewer columns, and of more only the centre can be translated, or tiles.
        keep: a larger picture is given back with its own detail, for recipes that keep their source: what the translation
            changes is enlarged and added to it, Y = X + up(y - x). Else the translation is enlarged.

    Returns:
        x float32 [1, C, h, w], and the way back, which is affine: from a translation of that size to one of the picture's own.

    Raises:
        ConfigError: another word for `fit`.
        PictureError: features of more columns than the model's, all of which are to be translated.
    """
    taken = picture.taken

    def opened() -> Tensor:  # Held as stored values, since many wait at once and floats take four times as much.
        x = image.x[None].to(device)
        return x if x.is_floating_point() and taken.depth < 32 else to_float(x, taken)

    x = opened()
    height, width = x.shape[2:]
    if fit not in FITS:
        raise ConfigError(f"fit is {fit!r}; expected one of {', '.join(FITS)}")
    if picture.depth == 32 and width > picture.width and fit == "letterbox":
        raise PictureError(
            f"it has {width} columns, and this model takes {picture.width}: translate all of them with fit full, or its centre "
            "with fit crop"
        )
    if picture.depth == 32 and width < picture.width and fit == "crop":
        fit = "letterbox"
    if fit == "full" or (height, width) == (picture.height, picture.width):
        return x, lambda y: y
    if fit == "crop":
        fitted, area = transforms.fit(x, taken), transforms.crop_box(height, width, picture)
        if keep and enlarged(height, width, picture, fit):
            return fitted, lambda y: opened() + fitting.paste(y.new_zeros(1, *image.x.shape), y - fitted, area)
        whole = as_made(x, picture)
        return fitted, lambda y: fitting.paste(whole, y, area)
    fitted, box = fitting.letterbox(x, picture.height, picture.width, nearest=taken.classes > 0)
    if keep and enlarged(height, width, picture, fit):
        return fitted, lambda y: fitting.unletterbox(y - fitted, box, height, width).add_(opened())
    return fitted, lambda y: fitting.unletterbox(y, box, height, width)


def enlarged(height: int, width: int, picture: PictureFormat, fit: str) -> bool:
    """Say whether a picture of this size is brought to fewer pixels for the model, so that results have to be enlarged."""
    area = transforms.crop_box(height, width, picture) if fit == "crop" else transforms.Box(0, 0, height, width)
    return fit != "full" and picture.depth < 32 and (area.height > picture.height or area.width > picture.width)


def attention_back(back: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the way back of an attention, [1, C, h, w] in [0, 1], to a picture's own size: 0 where the model saw nothing.

    Ways back are linear, and what they add to zeros is the source around the part that was translated.
    """
    return lambda y: back(y) - back(torch.zeros_like(y))


def _open_stored(array: np.ndarray, picture: PictureFormat) -> Picture:
    """Open stored values [H, W] or [H, W, C]."""
    taken = picture.taken
    if array.ndim == 2 and taken.channels == 1:
        opened = _open_stored(array[:, :, None], picture)
        return Picture(opened.x, lambda y: made[:, :, 0] if (made := opened.rebuild(y)).shape[2] == 1 else made)
    if array.ndim != 3 or array.shape[2] != taken.channels or 0 in array.shape:
        what = "label maps with instances" if taken.classes and taken.channels == 2 else f"{array.dtype} pictures"
        raise PictureError(f"{what} are [H, W, {taken.channels}] for this model; this one is {list(array.shape)}")
    depth = picture.depth if picture.source else 8 * array.itemsize
    return Picture(_to_tensor(array, taken), lambda y: to_depth(to_array(y, picture), depth))


def _open_features(given: Any, picture: PictureFormat) -> Picture:
    """Open features [F, T] or [C, F, T], array or tensor, in their own range."""
    flat, tensor = given.ndim == 2, isinstance(given, Tensor)
    array = given.detach().cpu().numpy() if tensor else given
    if array.dtype.kind != "f" or array.ndim not in (2, 3):
        raise PictureError(f"this model takes features, floats [F, T] or [C, F, T]; this is {given.dtype} {list(given.shape)}")
    x = _check_features(np.asarray(array[None] if flat else array, np.float32).transpose(1, 2, 0), picture)

    def rebuild(y: Tensor) -> Any:
        made = to_stored(y, picture)[0] if flat else to_stored(y, picture)
        return made.to(given.device, given.dtype) if tensor else made.cpu().numpy().astype(given.dtype)

    return Picture(torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))), rebuild)


def _check_features(array: np.ndarray, picture: PictureFormat) -> np.ndarray:
    """Return [F, T, C] if it is what the model takes."""
    shape = f"[{picture.channels}, {picture.height}, T]"
    if array.dtype != np.float32 or picture.depth != 32:
        wanted = f"features, floats {shape} in a .npy file" if picture.depth == 32 else f"pictures of {picture.depth} bits"
        raise PictureError(f"it holds {array.dtype}; this model takes {wanted}")
    if array.shape[2] != picture.channels or array.shape[0] != picture.height or 0 in array.shape:
        found = [array.shape[2], *array.shape[:2]]
        raise PictureError(f"it holds features {found}; this model takes {shape}, and never resizes them")
    if not np.isfinite(array).all():
        raise PictureError("it holds values that are infinite or not numbers (NaN)")
    return array


def _from_file(array: np.ndarray, picture: PictureFormat) -> Picture:
    return Picture(_to_tensor(array, picture.taken), lambda y: rebuilt(y, picture))


def _checked(x: Tensor, picture: PictureFormat) -> Tensor:
    """Return a float picture [C, H, W] if it is one."""
    if x.ndim != 3 or x.shape[0] != picture.channels or 0 in x.shape:
        raise PictureError(f"float pictures are [{picture.channels}, H, W] for this model; this one is {list(x.shape)}")
    low, high = float(x.min()), float(x.max())
    if picture.classes:
        if not torch.equal(x, x.round()) or low < 0 or x[0].max() >= picture.classes:
            raise PictureError(
                f"the ids of a label map are whole numbers from 0 to {picture.classes - 1}; correct these floats"
            )
        return x
    if not (low >= -1.01 and high <= 1.01):  # Not a number, too.
        raise PictureError(f"float pictures lie in [-1, 1]; this one in [{low:g}, {high:g}]: scale it, or give uint8")
    return x


def _to_tensor(array: np.ndarray, picture: PictureFormat) -> Tensor:
    return torch.from_numpy(np.array(as_stored(array, picture).transpose(2, 0, 1), order="C"))


def rebuilt(y: Tensor, picture: PictureFormat) -> Image.Image | np.ndarray:
    """Return a result, float32 [C, H, W] in [-1, 1], as a PIL image; as an array [H, W, C] where Pillow cannot hold it.

    Features come as they are written.
    """
    array = to_array(y, picture)
    if array.dtype == np.float32:
        return as_features(array)
    wide = array.dtype == np.uint16 and array.shape[2] > 1
    return array if wide or array.shape[2] > 4 else to_pil(array)
