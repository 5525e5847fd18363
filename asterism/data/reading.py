"""Read pictures by row from files or packs, and replace those that cannot be decoded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from asterism.data.arrays import STORED, Array, window
from asterism.data.dataset import PictureSet
from asterism.data.halves import read_row
from asterism.data.label_maps import as_made, read_ids, read_map
from asterism.data.listing import DataError
from asterism.data.pictures import PictureError, PictureFormat, to_depth, to_float, to_stored
from asterism.data.transforms import fit_stored


def load_rows(pictures: PictureSet, rows: Sequence[int], picture: PictureFormat) -> Tensor:
    """Load some pictures of a set for previews and evaluation, fitted: stored values [len(rows), C, height, width].

    A picture that cannot be decoded is replaced as in training.
    """
    x = np.empty((len(rows), picture.channels, picture.height, picture.width), STORED[picture.depth])
    for place, row in enumerate(rows):
        x[place] = read_or_replace(pictures, row, picture, fitted=True, broken=[])
    return torch.from_numpy(x)


def read_or_replace(
    pictures: PictureSet,
    row: int,
    picture: PictureFormat,
    *,
    fitted: bool,
    broken: list[tuple[str, str]],
    share: float | None = None,
) -> Array:
    """Read a picture as [C, H, W]; in place of one that cannot be decoded, which is added to `broken`, the next best.

    The labels of a batch are known to every rank but its pictures are not, so a replacement must fit the labels.

    Args:
        fitted, share: as for `read_picture`.
        broken: (path, reason) of pictures that cannot be decoded.

    Raises:
        DataError: no picture with these alternatives can be decoded.
    """
    domain = [index for choice in pictures.alternatives for index in choice]
    for candidate in itertools.chain([row], _replacements(pictures, row)):
        if not torch.equal(pictures.labels[candidate, domain], pictures.labels[row, domain]):
            break  # The nearest that is left is of another domain: training would learn it under this one's name.
        try:
            return read_picture(pictures, candidate, picture, fitted, share)
        except PictureError as error:
            broken.append((str(pictures.paths[candidate]), str(error)))
    raise DataError(
        f"no picture of {pictures.name} can be decoded that has the labels of {pictures.paths[row]}; "
        f"{': '.join(broken[0])}. Repair these pictures, or leave out their label"
    )


def _replacements(pictures: PictureSet, row: int) -> Iterator[int]:
    """Yield the other rows: those with the most similar labels first, and among equals the next one first."""
    shares, known = pictures.space.shares(pictures.labels.float()), pictures.known.float()
    differs = torch.maximum((shares - shares[row]).abs(), (known - known[row]).abs())
    distance = (np.arange(len(pictures)) - row) % len(pictures)
    yield from np.lexsort((distance, differs.sum(1).numpy())).tolist()[1:]


def read_picture(pictures: PictureSet, row: int, picture: PictureFormat, fitted: bool, share: float | None = None) -> Array:
    """Read one picture of a set: uint8 or uint16 [C, H, W], cropped and resized if `fitted` or packed.

    Of features, float32, `fitted` takes the window of the format's width at a `share` of the way, or the middle. Where sources
    are of a kind of their own, one is read as that if `picture` is it, and else shown as a picture of the kind that is made.

    Raises:
        PictureError: it cannot be decoded, or is not of the size that its header said.
    """
    own = pictures.source
    if own is not None and picture != own and pictures.is_source[row]:
        x = to_float(torch.from_numpy(read_picture(pictures, row, own, fitted)[None]), own)
        return to_stored(as_made(x, replace(picture, source=own)), picture)[0].numpy()
    if picture.depth == 32:
        return _read_features(pictures, row, picture, fitted, share)
    if pictures.pack is not None:
        return pictures.pack.read(pictures.paths[row])[: picture.channels].astype(STORED[picture.depth], copy=False)
    path = pictures.paths[row]
    if picture.classes:
        beside = pictures.instances.get(path)
        array = read_map(path, read_ids(beside)[0] if beside else None, picture)
    else:
        array = to_depth(read_row(path, picture.channels), picture.depth)
    if pictures.size is not None and array.shape[:2] != pictures.size:
        raise PictureError(f"it has {array.shape[1]}x{array.shape[0]} pixels, which differs from its header")
    array = array.transpose(2, 0, 1)
    if not fitted:
        return array
    return fit_stored(torch.from_numpy(np.ascontiguousarray(array))[None], picture)[0].numpy().astype(array.dtype)


def _read_features(pictures: PictureSet, row: int, picture: PictureFormat, fitted: bool, share: float | None) -> Array:
    path = pictures.paths[row]
    whole = pictures.pack.read(path) if pictures.pack else to_depth(read_row(path, picture.channels), 32).transpose(2, 0, 1)
    if whole.shape[1] != picture.height or whole.shape[2] < picture.width:
        raise PictureError(f"it is {whole.shape[1]}x{whole.shape[2]}, which differs from its header")
    return window(whole, picture.width, share) if fitted else whole
