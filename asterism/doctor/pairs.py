"""What would spoil learning from pairs: pictures of different sizes, or that do not lie on each other.

Whether the two of a pair lie on each other shows in their edges, which domains share where colours differ: the edges of a pair
correlate, those of pictures of different pairs hardly do. Calibrated on drawings: of pairs of expressions, and of one emoji in
two styles, 0.22 to 0.99 of what the correlation of strangers lacks to 1 is there; of the same pairs shifted by a tenth, or by
another amount each, -0.02 to 0.16, but the shift that all share shows as the place where they correlate best.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from asterism.data.dataset import PictureSet
from asterism.data.listing import some
from asterism.data.pictures import PictureFormat, to_float
from asterism.data.reading import load_rows

SAMPLE = 64
"""Pairs that are compared."""

FEWEST = 8
"""Of fewer pairs nothing is said."""

SIDE = 32
"""Pixels to which pictures are shrunk, so that a line need not lie on a line."""

AGREEMENT = 0.15
"""Less than this share of what the correlation of strangers lacks to 1 is no agreement."""

BETTER = 1.2
"""How much better than in place pairs must correlate elsewhere to be called shifted."""


def warnings_of(sets: Sequence[PictureSet], picture: PictureFormat) -> list[str]:
    """Return what is wrong with the pairs of one dataset, as sentences; empty where it has none.

    Args:
        sets: its splits, the training pictures first.
        picture: what the pictures become.
    """
    uneven = [pair for held in sets for pair in held.unequal]
    found = [some(uneven, "pairs of different sizes, which recipes that learn from pairs refuse")] if uneven else []
    return found + alignment(sets[0], picture)


def alignment(held: PictureSet, picture: PictureFormat) -> list[str]:
    """Say whether the pictures of pairs lie on each other, from the first two domains of each pair; nothing where they do."""
    domain = held.labels[:, list(held.alternatives[0])].argmax(1).tolist() if held.alternatives else []
    pairs = held.pairs()
    pairs = [sorted(pair, key=domain.__getitem__) for pair in pairs[:: max(1, len(pairs) // SAMPLE)][:SAMPLE]]
    if len(pairs) < FEWEST:
        return []
    others = [next(row for row in pair if domain[row] != domain[pair[0]]) for pair in pairs]
    a, b = (
        torch.cat([edges(to_float(load_rows(held, [row], picture), picture)) for row in rows])
        for rows in ([pair[0] for pair in pairs], others)
    )
    true, strange = ((a * other).mean().item() for other in (b, b.roll(1, 0)))
    everywhere = torch.fft.ifft2(torch.fft.fft2(a).conj() * torch.fft.fft2(b)).real.mean(0) / SIDE**2
    down, right = ((place + SIDE // 2) % SIDE - SIDE // 2 for place in divmod(int(everywhere.argmax()), SIDE))
    if max(abs(down), abs(right)) > 1 and everywhere.max() > max(BETTER * true, AGREEMENT):
        way = f"{abs(right) / SIDE:.0%} to the {'right' if right > 0 else 'left'} and {abs(down) / SIDE:.0%} "
        return [f"the pictures of pairs are not aligned: the second one lies about {way}{'lower' if down > 0 else 'higher'}"]
    if true - strange < AGREEMENT * (1 - strange):
        return [
            f"the edges in pictures of a pair agree hardly more than those of different pairs ({true:.2f}, {strange:.2f}; 1 is "
            "equal): recipes that learn from pairs need pictures that lie on each other"
        ]
    return []


def edges(x: Tensor) -> Tensor:
    """Return how steep each of the pictures [N, C, H, W] is, small, with mean 0 and variance 1: float32 [N, SIDE, SIDE]."""
    down, right = torch.gradient(adaptive_avg_pool2d(x.mean(1), SIDE), dim=(1, 2))
    steep = torch.hypot(down, right)
    return (steep - steep.mean((1, 2), keepdim=True)) / (steep.std((1, 2), keepdim=True, correction=0) + 1e-6)
