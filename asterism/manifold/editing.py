"""Editing by strokes: many codes at once move until their pictures have what is wanted (iGAN, arXiv:1609.03552, Section 5).

Shapes: K candidates; codes [K, D]; pictures [K, C, h, w] in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.manifold.decoder import Decoder
from asterism.manifold.search import Found, descend
from asterism.manifold.spaces import near
from asterism.manifold.strokes import Wishes, granted

CANDIDATES, STEPS, SHOWN = 64, 40, 16
STAY = 5 / 3
"""Weight of the distance from the start in units of the codes' variance: iGAN's is 5, for uniform latents of variance 1/3."""


@dataclass(frozen=True)
class Candidates:
    """What an edit came to, the best first.

    Args:
        codes: [K, D].
        pictures: [K, C, h, w].
        costs: [K], what each is still from what is wanted, and from the start.
        start: the code [D] that was edited; none where all began anywhere.
    """

    codes: Tensor
    pictures: Tensor
    costs: Tensor
    start: Tensor | None


def edit(
    decoder: Decoder,
    wishes: Wishes,
    start: Tensor | None = None,
    *,
    candidates: int = CANDIDATES,
    steps: int = STEPS,
    stay: float = STAY,
    seed: int = 0,
    every: int = 0,
) -> Iterator[Candidates]:
    """Move codes until their pictures have what is wanted, by Adam with a rate of 0.1.

    A code's cost is what `granted` says, and with a start `stay` times its mean squared distance from it. iGAN's released code
    adds the average of all candidates' distances to each, and compares a code with the variable before the tanh; here each
    has its own, of codes. Adam's moments start anew with each edit.

    Args:
        start: the code [D] to go on from, such as a projection's or a chosen candidate's: candidates are it and codes around
            it, half as far as drawn codes are from one another. None: drawn codes.
        candidates: at once.
        steps: of each.
        seed: of the draws.
        every: yield after so many steps, too; 0: at the end alone.

    Yields:
        Those of the candidates that are worth showing: of cost below twice the mean of the best eight, 16 at most.

    Raises:
        ConfigError: no candidate, fewer than 0 steps, a negative weight, no wish, or a start that the model does not take.
    """
    if candidates < 1 or steps < 0 or not 0 <= stay < math.inf:
        raise ConfigError(
            f"an edit has at least 1 candidate, 0 steps and a weight of 0; given {candidates}, {steps} and {stay:g}"
        )
    if wishes.empty:
        raise ConfigError("an edit has at least one stroke: paint, sketch or warp something")
    rng, space = torch.Generator().manual_seed(seed), decoder.space
    if start is None:
        codes = space.draw(candidates, rng).to(wishes.colour)
    else:
        space.check(start[None])
        start = start.to(wishes.colour)
        codes = near(space, start, candidates, rng)

    def cost(u: Tensor) -> Tensor:
        code = space.inside(u)
        value = granted(decoder.decode(code), wishes)
        return value if start is None else value + stay * (code - start).square().mean(1) / space.variance

    way = descend(cost, space.outside(codes))
    for step, found in enumerate(islice(way, steps + 1)):
        if step == steps or (every and step and step % every == 0):
            yield _shown(decoder, found, start)


def _shown(decoder: Decoder, found: Found, start: Tensor | None) -> Candidates:
    costs, order = found.value.sort()
    kept = order[costs <= 2 * costs[:8].mean()][:SHOWN]
    codes = decoder.space.inside(found.u[kept])
    with torch.no_grad():
        return Candidates(codes, decoder.decode(codes), found.value[kept], start)
