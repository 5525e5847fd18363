"""`repeated`: translate again and again, there and back, and see what is left of the picture.

Every picture goes through a chain of targets and back to its own labels. That is one pass, and it is measured after 1 to 100 of
them. A translation that only changes what it was asked to change would return the picture as it was; what it adds, loses or
blurs without being asked adds up from pass to pass, and shows here long before a single translation shows it. The row of the
unchanged input is what zero passes leave: the FID of so many real pictures.

For every recipe that translates to all of its labels; of one with styles, each target has one style, drawn once, and the way
back takes the source's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from asterism.config import ConfigError
from asterism.evaluation import measures as m
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.protocols.base import Parameters, Protocol
from asterism.evaluation.tasks import Task, chains
from asterism.labels import LabelSpace
from asterism.metrics.structure import sharpness, ssim
from asterism.metrics.truth import Partners
from asterism.recipes.base import Recipe

MOST = 100
"""Passes, at most."""


@dataclass(frozen=True, kw_only=True)
class RepeatedParameters(Parameters):
    """What `repeated` depends on beside what all protocols do.

    Args:
        passes: the numbers of passes, 1 to MOST, after which pictures are measured.
        chain: targets in a picture's chain, drawn once; 0 takes all that it has.

    Raises:
        ConfigError: no passes, or other numbers of them; a number that is too small.
    """

    pictures: int = 200
    passes: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    chain: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.passes or min(self.passes) < 1 or max(self.passes) > MOST or self.chain < 0:
            said = ", ".join(map(str, self.passes)) or "none"
            raise ConfigError(f"passes are {said}, chain is {self.chain}; expected passes from 1 to {MOST}, chain at least 0")
        object.__setattr__(self, "passes", tuple(sorted(set(self.passes))))


def tasks(
    sets: Sequence[Pictures], space: LabelSpace, partners: Sequence[Partners], recipe: Recipe, parameters: Parameters
) -> list[Task]:
    """Return the chains of every set.

    Raises:
        ConfigError: a recipe without a way back, or no label to translate to.
    """
    assert isinstance(parameters, RepeatedParameters)
    can = recipe.abilities
    if can.targets:
        raise ConfigError(
            f"the protocol repeated translates there and back; this model translates to {', '.join(can.targets)} only, so "
            "there is no way back: use another --protocol"
        )
    names = space.domain_names if can.told == "domain" else space.names
    p = parameters
    found = chains(sets, space, p.pictures, p.chain, p.passes, p.seed, names)
    if not found:
        raise ConfigError("the protocol repeated needs pictures with known labels, and labels to translate to; there are none")
    return found


SHARPNESS = m.Measure(
    "sharpness",
    "",
    "",
    "mean squared Laplacian relative to the sources': below 1 detail was lost, above 1 edges or noise were added",
    lambda o: torch.stack([sharpness(o.y), sharpness(o.x)], 1),
)
ORDER = (("copy", "random"),)

PROTOCOL = Protocol(
    name="repeated",
    version=1,
    about="through a chain of targets and back, 1 to 100 times: identity error, FID, KID and sharpness after each",
    parameters=RepeatedParameters(),
    tasks=tasks,
    kinds=("translated", "copy"),
    measures=(
        (
            replace(m.IDENTITY, own=False, meaning="mean absolute difference to the source, as a share of the range"),
            (("copy", "translated"), *ORDER),
        ),
        (
            replace(m.CYCLE_SSIM, meaning="structural similarity to the source", of_pictures=lambda o: ssim(o.y, o.x)),
            (("copy", "translated"), *ORDER),
        ),
        (replace(m.FID, meaning="Fréchet distance between features of outputs and of real training pictures"), ORDER),
        (m.KID, ORDER),
        (m.KID_SPREAD, ()),
        (SHARPNESS, ()),
    ),
)
