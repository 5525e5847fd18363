"""What strokes ask of a picture: colours, edges, and a patch that is to be elsewhere (iGAN, arXiv:1609.03552, Section 5).

Shapes: C channels, h x w pixels of the model; pictures [1, C, h, w] in [-1, 1], masks [1, 1, h, w] in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.manifold.hog import cells_of, hog

EDGE_WEIGHT = 0.2
"""Of edges beside colours, as in iGAN."""
WARP_WIDTH = 0.375
"""Side of the patch that a warp moves, as a share of the picture's: iGAN's 24 of 64 pixels."""


@dataclass(frozen=True)
class Wishes:
    """What a picture is to look like, and where.

    Args:
        colour, colour_mask: pixels that are wanted, and how much each counts.
        edges, edge_mask: a picture whose edges are wanted, and where.
    """

    colour: Tensor
    colour_mask: Tensor
    edges: Tensor
    edge_mask: Tensor

    @classmethod
    def none(cls, like: Tensor) -> Wishes:
        """Return no wishes, of the size of pictures [N, C, h, w]."""
        picture, mask = torch.zeros_like(like[:1]), torch.zeros_like(like[:1, :1])
        return cls(picture, mask, picture, mask)

    def and_then(self, other: Wishes) -> Wishes:
        """Return these wishes and others, which win where both have one."""
        over, lines = other.colour_mask > 0, other.edge_mask > 0
        return Wishes(
            torch.where(over, other.colour, self.colour),
            torch.where(over, other.colour_mask, self.colour_mask),
            torch.where(lines, other.edges, self.edges),
            torch.where(lines, other.edge_mask, self.edge_mask),
        )

    @property
    def empty(self) -> bool:
        """Whether nothing is wanted."""
        return not bool((self.colour_mask > 0).any() or (self.edge_mask > 0).any())


def painted(colour: Tensor, mask: Tensor) -> Wishes:
    """Return the wishes of a colour brush: these colours where the mask is."""
    nothing = Wishes.none(colour)
    return Wishes(colour, mask, nothing.edges, nothing.edge_mask)


def sketched(lines: Tensor, mask: Tensor) -> Wishes:
    """Return the wishes of a sketch brush: edges such as those of `lines`, where the mask is."""
    nothing = Wishes.none(lines)
    return Wishes(nothing.colour, nothing.colour_mask, lines, mask)


def warped(y: Tensor, start: tuple[int, int], end: tuple[int, int], width: int | None = None) -> Wishes:
    """Return the wishes of a warp brush: a square patch of the picture y, with its colours and edges, in another place.

    Args:
        y: [1, C, h, w], the present result.
        start, end: row and column of the patch's centre, where it is and where it is to be.
        width: pixels of its side; none takes `WARP_WIDTH`.

    Raises:
        ConfigError: a place beyond the picture, or no pixel left of the patch.
    """
    height, across = y.shape[2:]
    width = max(2, round(WARP_WIDTH * min(height, across))) if width is None else width
    for row, column in (start, end):
        if not (0 <= row < height and 0 <= column < across):
            raise ConfigError(
                f"a warp goes to row {row}, column {column}; the model's pictures have {height} x {across} pixels"
            )
    if width < 1:
        raise ConfigError(f"the patch of a warp is {width} pixels wide; expected at least 1")
    wishes = Wishes.none(y)
    moved, mask = wishes.colour.clone(), wishes.colour_mask.clone()
    first, second = -(width // 2), width - width // 2
    rows = range(max(first, -start[0], -end[0]), min(second, height - start[0], height - end[0]))
    columns = range(max(first, -start[1], -end[1]), min(second, across - start[1], across - end[1]))
    to = (slice(end[0] + rows.start, end[0] + rows.stop), slice(end[1] + columns.start, end[1] + columns.stop))
    of = (slice(start[0] + rows.start, start[0] + rows.stop), slice(start[1] + columns.start, start[1] + columns.stop))
    moved[:, :, to[0], to[1]] = y[:, :, of[0], of[1]]
    mask[:, :, to[0], to[1]] = 1
    return Wishes(moved, mask, moved, mask)


def granted(y: Tensor, wishes: Wishes, edge_weight: float = EDGE_WEIGHT) -> Tensor:
    """Return how far pictures y [N, C, h, w] are from wishes: [N].

    mean(m (y - c)^2) / (mean(m) + 1e-5) + 0.2 mean(M (H(y) - H(e))^2) / (mean(M) + 1e-5), H the histograms of oriented
    gradients and M their cells that the mask touches; means run over channels, or orientations, and places.
    """
    m = wishes.colour_mask
    value = (m * (y - wishes.colour).square()).flatten(1).mean(1) / (m.mean() + 1e-5)
    if bool((wishes.edge_mask > 0).any()):
        cells = cells_of(wishes.edge_mask)
        apart = (cells * (hog(y) - hog(wishes.edges)).square()).flatten(1).mean(1)
        value = value + edge_weight * apart / (cells.mean() + 1e-5)
    return value
