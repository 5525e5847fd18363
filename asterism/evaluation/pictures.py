"""The pictures of an evaluation: read on demand at any batch size, without broken ones, which are named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from asterism.data.dataset import PictureSet
from asterism.data.listing import DataError
from asterism.data.pictures import PictureError, PictureFormat, to_float
from asterism.data.reading import read_picture
from asterism.terminal import counting

KEPT_BYTES = 2**28
"""Number of decoded pictures that a set keeps in memory."""


class Pictures:
    """The M pictures of a set that can be decoded.

    Training takes another picture in the place of a broken one; a measurement must not count it.

    Args:
        held: the set.
        picture: what its pictures become.
        say: told of every picture that is left out, and why.

    Raises:
        DataError: none can be decoded.
    """

    def __init__(self, held: PictureSet, picture: PictureFormat, say: Callable[[str], None]) -> None:
        self.picture = picture
        self._stored: dict[int, Tensor] = {}
        self._room = KEPT_BYTES
        self.set = held
        rows, reason = list[int](), DataError(f"{held.name} holds no pictures")
        stored: dict[int, Tensor] = {}
        whole = hashlib.sha256(repr(picture).encode())
        with counting(f"reading {held.name}") as progress:
            for row in range(len(held)):
                try:
                    x = self._decode(row)
                except PictureError as error:
                    reason = DataError(f"{held.paths[row]}: {error}; no picture of {held.name} can be decoded")
                    say(f"left out: {held.paths[row]}: {error}")
                else:
                    whole.update(x.view(torch.uint8).numpy().tobytes())
                    if x.nbytes <= self._room:
                        stored[len(rows)], self._room = x, self._room - x.nbytes
                    rows.append(row)
                progress(row + 1, len(held))
        if not rows:
            raise reason
        self.set, self._stored = held.take(rows), stored
        self.labels, self.known = self.set.labels.float(), self.set.known.float()
        """Labels, and which of them are known, float32 [M, L] in {0, 1}."""
        whole.update(self.labels.numpy().tobytes() + self.known.numpy().tobytes())
        self.digest = whole.hexdigest()[:16]
        """Hash of the pixels as stored, of the format and of the labels; the same for packed pictures and for files."""

    def __len__(self) -> int:
        return len(self.set)

    def load(self, rows: Sequence[int]) -> Tensor:
        """Return pictures as float32 [len(rows), C, H, W] in [-1, 1], all of the kind that is made."""
        return to_float(torch.cat([self._decode(int(row)) for row in rows]), self.picture)

    def taken(self, rows: Sequence[int]) -> Tensor:
        """Return sources as networks take them, which may be of another kind than is made: float32 [len(rows), C, H, W]."""
        taken = self.picture.taken
        return to_float(torch.from_numpy(np.stack([read_picture(self.set, row, taken, fitted=True) for row in rows])), taken)

    def _decode(self, row: int) -> Tensor:
        if row in self._stored:
            return self._stored[row]
        return torch.from_numpy(np.array(read_picture(self.set, row, self.picture, fitted=True)))[None]


def spread(count: int, wanted: int) -> list[int]:
    """Return `wanted` of the numbers below `count`, drawn once and for all; all of them for 0 or where there are no more.

    Drawn, since numbers at even distances may all fall on the same place of a pattern that a table's rows follow.
    """
    if not wanted or wanted >= count:
        return list(range(count))
    return sorted(torch.randperm(count, generator=torch.Generator().manual_seed(0))[:wanted].tolist())
