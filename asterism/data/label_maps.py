"""Label maps: pictures whose values are ids of classes, with ids of instances beside them where a file holds these.

Ids are read as they stand in a palette or grey picture, and are never averaged: crops keep them, resizing takes the nearest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from asterism.data.arrays import STORED, open_array
from asterism.data.collection import Collection
from asterism.data.halves import divided
from asterism.data.listing import DataError, some
from asterism.data.pictures import PictureError, PictureFormat, explaining

FEW = 64
"""Pictures of fewer different values than these may be label maps where that is not said: see `label_format`."""

MOST = 2**16
"""Class ids are below this."""

_HOLDS_IDS = "a label map holds one id per pixel, in a palette or grey picture"
_SINGLE = ("L", "P", "I", "I;16", "I;16B", "I;16L", "1")


class NoIdsError(PictureError):
    """A picture whose values cannot be ids, whoever drew it."""


def read_ids(path: str | os.PathLike[str]) -> tuple[np.ndarray, bytes]:
    """Return the ids that a palette or grey picture holds, whole numbers [H, W], and the palette, empty if there is none.

    Raises:
        PictureError: it cannot be read.
        NoIdsError: it can, and its values are no ids: several channels, transparency, JPEG.
    """
    file, half = divided(path)
    with explaining(file) as content:
        if half is not None:
            raise NoIdsError(f"it is half of a picture; {_HOLDS_IDS} of its own")
        array = open_array(file, content)
        if array is None:
            with Image.open(content or file) as image:
                return ids_of(image), bytes(image.getpalette() or ()) if image.mode == "P" else b""
        if array[0].shape[2] > 1 or array[0].dtype.kind == "f":
            raise NoIdsError(f"it holds {array[0].dtype} of {array[0].shape[2]} channels; {_HOLDS_IDS}")
        return np.array(array[0][:, :, 0]), b""


def ids_of(image: Image.Image) -> np.ndarray:
    """Return the ids of an opened picture, as `read_ids` does."""
    if image.format == "JPEG" or image.info.get("compression") == "jpeg":  # A TIFF's.
        raise NoIdsError("it is a JPEG, which blends ids where classes meet into ids of other classes; save it as PNG")
    if image.has_transparency_data:
        raise NoIdsError("it has transparency (alpha), which no class has; save it without")
    if image.mode not in _SINGLE:
        raise NoIdsError(f"it has {len(image.getbands())} channels ({image.mode}); {_HOLDS_IDS}")
    ids = np.array(image).astype(np.uint8 if image.mode in ("L", "P", "1") else np.int64)
    if ids.min() < 0:
        raise PictureError(f"it holds {ids.min()}; ids are whole numbers from 0 on")
    return ids


def read_map(path: str | os.PathLike[str], instances: np.ndarray | None, picture: PictureFormat) -> np.ndarray:
    """Return a label map as stored values [H, W, 1], or with the ids of instances [H, W, 2].

    Args:
        instances: these, [H, W], for formats of two channels; none where the file holds both.

    Raises:
        PictureError: it cannot be read, an id is beyond the classes, or the instance map is missing or of another size.
    """
    with explaining(path) as content:
        both = open_array(path, content) if picture.channels == 2 and instances is None else None
    if both is not None and both[0].shape[2] == 2:
        return joined(both[0][:, :, 0], both[0][:, :, 1], picture)
    return joined(read_ids(path)[0], instances, picture)


def joined(ids: np.ndarray, instances: np.ndarray | None, picture: PictureFormat) -> np.ndarray:
    """Return class ids [H, W], and ids of instances where the format has them, as stored values; as `read_map`."""
    if (highest := int(ids.max())) >= picture.classes or (highest := int(ids.min())) < 0:
        raise PictureError(
            f"it holds the id {highest}; expected 0 to {picture.classes - 1}, the ids of {picture.classes} classes"
        )
    if picture.channels == 1:
        return ids[:, :, None].astype(STORED[picture.depth])
    if instances is None:
        raise PictureError("it has no instance map; expected one of the same name and size")
    if instances.shape != ids.shape:
        theirs, own = ("x".join(map(str, array.shape[::-1])) for array in (instances, ids))
        raise PictureError(f"its instance map is {theirs}; expected {own} pixels, as it is")
    if instances.max() > np.iinfo(np.uint16).max:  # Any numbers will do that tell them apart.
        instances = np.unique(instances, return_inverse=True)[1].reshape(ids.shape)
    return np.stack([ids, instances], 2).astype(np.uint16)


def label_format(
    collection: Collection, wanted: int | None, size: tuple[int, int], crop: int
) -> tuple[PictureFormat, str] | None:
    """Return the format of a collection's pictures as label maps, and a note; none where they are no label maps.

    Where that is not said, by the option, by maps of instances or by a domain `label`, they are if they have three values or
    more, fewer than `FEW`, and either palettes that are alike, or grey values that all are below `FEW`. All of them are read.

    Args:
        wanted: `--data.classes`.

    Raises:
        DataError: they are said to be label maps and one is none, has an id beyond the classes, or no instance map.
    """
    if wanted == 0:
        return None
    beside = {file: found for file in collection.files if (found := collection.instances.get(file))}
    if lacking := [file for file in collection.files if beside and file not in beside]:
        raise DataError(f"{collection.root}: {some(lacking, 'label maps without an instance map of the same name')}; add these")
    said = bool(wanted or beside or collection.groups[0].labels[0].lower() == "label")
    used, alike, broken = np.zeros(0, bool), None, ""
    for file, held in _surveyed(collection):
        if isinstance(held, PictureError):
            if not said and isinstance(held, NoIdsError):
                return None
            broken = broken or f"{collection.root / file} cannot be a label map: {held}; --data.classes 0 reads pictures"
            continue
        here, palette = held
        alike = palette if alike is None else alike
        shared = min(len(alike), len(palette))
        used = np.pad(used, (0, max(0, len(here) - len(used))))
        used[: len(here)] |= here
        few = used.sum() < FEW and (shared > 0 or len(used) < FEW) and alike[:shared] == palette[:shared]
        if not said and not few:
            return None
        if wanted is not None and len(used) > wanted:
            raise DataError(
                f"{collection.root / file} holds the id {len(used) - 1}; expected 0 to {wanted - 1}, by "
                f"--data.classes {wanted}: correct it, or give more classes"
            )
    if not said and used.sum() < 3:  # A drawing in black and white, more likely.
        return None
    if broken:
        raise DataError(broken)
    classes = len(used) if wanted is None else wanted
    depth = 16 if classes > 256 or beside else 8
    picture = PictureFormat(2 if beside else 1, *size, 0.0, classes - 1.0, depth, crop, classes)
    how = "as said" if wanted else "found; --data.classes 0 reads them as pictures"
    more = ", with maps of instances" if beside else ""
    return picture, f"label maps of {classes} classes{more}, of which {int(used.sum())} occur ({how})"


def _surveyed(collection: Collection) -> Iterator[tuple[str, tuple[np.ndarray, bytes] | PictureError]]:
    """Yield each file with which ids it holds, bool [highest + 1], and its palette; or why it is no label map."""

    def survey(file: str) -> tuple[np.ndarray, bytes] | PictureError:
        try:
            ids, palette = read_ids(collection.root / file)
            highest = int(ids.max())
            if beside := collection.instances.get(file):
                whole = PictureFormat(2, 1, 1, classes=highest + 1)
                joined(ids, read_ids(collection.root / beside)[0], whole)
        except PictureError as error:
            return error
        if highest >= MOST:
            return PictureError(f"it holds the id {highest:,}; class ids are below {MOST:,}")
        return np.bincount(ids.ravel()) > 0, palette

    with ThreadPoolExecutor(4) as pool:
        try:
            yield from zip(collection.files, pool.map(survey, collection.files), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def colours(classes: int) -> Tensor:
    """Return colours that tell classes apart, float32 [K, 3] in [-1, 1]: those of PASCAL VOC, whose class 0 is black."""
    ids = torch.arange(classes)
    bits = [sum(((ids >> (3 * k + channel)) & 1) << (7 - k) for k in range(6)) for channel in range(3)]
    return torch.stack([torch.as_tensor(b) for b in bits], 1).clamp(max=255) / 127.5 - 1


def as_made(x: Tensor, picture: PictureFormat) -> Tensor:
    """Show sources as pictures of the kind that is made, to stand beside these: label maps in colours, grey as colour.

    Args:
        x: float [N, C, H, W] of `picture.taken`.

    Returns:
        float [N, picture.channels, H, W] in [-1, 1]; x itself where both kinds are the same.
    """
    if picture.source is None:
        return x
    if picture.source.classes:
        x = colours(picture.source.classes).to(x)[x[:, 0].long()].permute(0, 3, 1, 2)
    if x.shape[1] > picture.channels == 3:
        return x[:, :3]
    return x if x.shape[1] == picture.channels else x.mean(1, keepdim=True).expand(-1, picture.channels, -1, -1)
