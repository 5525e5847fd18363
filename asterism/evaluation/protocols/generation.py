"""`generation`: compare generated with real pictures, for recipes that generate from latents.

As many pictures as the split has, by default, so that the row of real held-out pictures says what the numbers of so many
real ones are. Features are compared with those of the training pictures: FID (arXiv:1706.08500), KID (arXiv:1801.01401),
precision and recall (arXiv:1904.06991), density and coverage (arXiv:2002.09797). A recipe that is told labels is told those
of the held-out pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asterism.evaluation import measures as m
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.protocols.base import Parameters, Protocol
from asterism.evaluation.tasks import Task, without_sources
from asterism.labels import LabelSpace
from asterism.metrics.truth import Partners
from asterism.recipes.base import Recipe

ORDER = (("real", "random"), ("generated", "random"))


def tasks(
    sets: Sequence[Pictures], space: LabelSpace, partners: Sequence[Partners], recipe: Recipe, parameters: Parameters
) -> list[Task]:
    """Return what is generated: one task, or one for each set where the recipe is told labels."""
    return without_sources(sets, space, parameters.pictures, told=recipe.abilities.told != "none")


PROTOCOL = Protocol(
    name="generation",
    version=1,
    about="generated pictures, as many as the split has, against real ones: FID, KID, precision, recall, density, coverage",
    parameters=Parameters(),
    tasks=tasks,
    kinds=("generated", "real", "random"),
    generates=True,
    measures=(
        (replace(m.FID, meaning="Fréchet distance between features of outputs and of real training pictures"), ORDER),
        (m.KID, ORDER),
        (m.KID_SPREAD, ()),
        (replace(m.PRECISION, meaning="outputs that lie among real training pictures"), ORDER[:1]),
        (replace(m.RECALL, meaning="real training pictures that lie among outputs"), ORDER),
        (m.DENSITY, ORDER[:1]),
        (m.COVERAGE, ORDER),
    ),
)
