"""How a picture is translated at its own resolution: whole, or in overlapping tiles, and why.

Shapes: H x W pixels of the picture, h x w of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from asterism.config import ConfigError
from asterism.inference.memory import available, bytes_per_pixel
from asterism.inference.placed import PlacedModel
from asterism.wording import byte_size

SIDE = 512
"""Least side of tiles where the network takes any: large ones share less of their area with others and shift less."""

OVERLAP = 64
"""Least pixels that neighbours share, unless that is over half of a tile: networks see the edges of small tiles as well."""

SHARE = 0.5
"""Of the free memory, what the estimate may use: libraries need room beside what the network's tensors hold."""

UNKNOWN = 2**32
"""Bytes that are taken to be free where the system does not tell."""


@dataclass(frozen=True)
class Tiling:
    """What a user wants of tiles.

    Args:
        side: of a tile, in pixels, rounded up to what the network takes; none chooses between whole and tiles.
        overlap: of neighbours, in pixels; none takes a quarter of the side or `OVERLAP`, but no more than half of the side.
    """

    side: int | None = None
    overlap: int | None = None


@dataclass(frozen=True)
class Plan:
    """Where the tiles of a picture lie.

    Args:
        height, width: of the picture.
        tile: height and width of a tile.
        tops, lefts: rows and columns of its upper left corners; the last tiles may reach beyond the picture, where its
            edges go on.
        overlap: the least that neighbours share.
        reason: why so.
    """

    height: int
    width: int
    tile: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    overlap: int
    reason: str

    @property
    def whole(self) -> bool:
        """Whether it is one tile."""
        return len(self.tops) == len(self.lefts) == 1

    def __str__(self) -> str:
        """Say it in a line."""
        how = "whole"
        if not self.whole:
            count, (height, width) = len(self.tops) * len(self.lefts), self.tile
            how = f"in {count:,} tiles of {width:,} x {height:,} that overlap by {self.overlap:,}"
        return f"{self.width:,} x {self.height:,} pixels, {how}: {self.reason}"


def plan(placed: PlacedModel, height: int, width: int, tiling: Tiling, told: Tensor, s: Tensor | None) -> Plan:
    """Choose the tiles of a picture.

    Args:
        told, s: of one picture's target, for measuring what the network needs.

    Raises:
        ConfigError: tiles that the model does not take, or an overlap that is more than half of them.
    """
    picture, multiple = placed.model.picture, placed.recipe.abilities.side_multiple
    if tiling.side is not None and tiling.side < 1:
        raise ConfigError(f"the side of tiles is {tiling.side}; expected at least 1 pixel")
    if multiple is None:
        tile = (picture.height, picture.width)
        if tiling.side not in (None, *tile):
            raise ConfigError(
                f"this model of {placed.model.name} takes pictures of {tile[1]} x {tile[0]} only: leave out the side of tiles"
            )
        return _spread(height, width, tile, 1, tiling.overlap, "the only size that this model takes")
    large = (max(picture.height, up(height, multiple)), max(picture.width, up(width, multiple)))
    if placed.recipe.abilities.fixed_height:
        large = (picture.height, max(2 * multiple, up(width, multiple)))  # Norms need more than one column at the bottom.
    if tiling.side is not None:
        return _spread(height, width, _within(large, tiling.side, multiple), multiple, tiling.overlap, "as asked for")
    usual = _within(large, max(SIDE, picture.height, picture.width), multiple)
    if usual == large:
        return _spread(height, width, usual, multiple, tiling.overlap, "no larger than a tile")
    per_pixel, free = bytes_per_pixel(placed, told, s), available(placed.machine)
    room, of = int(SHARE * (UNKNOWN if free is None else free)), "may be used" if free is None else "free"
    needed = round(per_pixel * large[0] * large[1])
    said = f"about {byte_size(needed)} of memory, and {byte_size(free or room)} {'are' if free else 'of it'} {of}"
    if needed <= room:
        return _spread(height, width, large, multiple, tiling.overlap, f"it takes {said}")
    if per_pixel * usual[0] * usual[1] > room:
        usual = _within(large, max(picture.height, picture.width), multiple)
    return _spread(height, width, usual, multiple, tiling.overlap, f"whole it would take {said}")


def up(length: int, multiple: int) -> int:
    """Return the least multiple that is no less."""
    return -(-length // multiple) * multiple


def _within(large: tuple[int, int], side: int, multiple: int) -> tuple[int, int]:
    """Return a tile of this side, or the picture's where that is less."""
    return min(large[0], up(side, multiple)), min(large[1], up(side, multiple))


def _spread(height: int, width: int, tile: tuple[int, ...], multiple: int, overlap: int | None, reason: str) -> Plan:
    least = min([side for side, length in zip(tile, (height, width), strict=True) if length > side], default=min(tile))
    shared = up(max(OVERLAP, least // 4) if overlap is None else overlap, multiple)
    several = height > tile[0] or width > tile[1]
    if overlap is not None and (overlap < 0 or (several and overlap > least // 2)):
        raise ConfigError(f"tiles of {tile[1]} x {tile[0]} overlap by {overlap}; expected 0 to {least // 2} pixels")
    shared = min(shared, least // 2 // multiple * multiple)
    tops, lefts = (
        places(up(n, multiple) if n > t else n, t, shared, multiple) for n, t in zip((height, width), tile, strict=True)
    )
    return Plan(height, width, (tile[0], tile[1]), tops, lefts, shared, reason)


def places(length: int, side: int, overlap: int, multiple: int) -> tuple[int, ...]:
    """Return where tiles begin along a side of the picture: evenly, at multiples, and sharing no less than `overlap`.

    At multiples, since a network that halves sees another picture where it is moved by less.
    """
    if length <= side:
        return (0,)
    count = -(-(length - side) // (side - overlap)) + 1
    return tuple((length - side) // multiple * i // (count - 1) * multiple for i in range(count))
