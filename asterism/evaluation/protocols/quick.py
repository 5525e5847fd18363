"""`quick`: a short form of `stargan` (a minute), used during training to choose the best checkpoint.

Few sources, always the same, so that its numbers follow one run from step to step; its FID is that of few
pictures and compares with nothing else. A recipe with styles is judged by styles from noise, other ones for each source:
by mean styles, a model whose styles all look alike would win. A recipe that generates is judged by the same number, of
pictures of latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asterism.evaluation import measures as m
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.protocols import generation, stargan
from asterism.evaluation.protocols.base import Parameters, Protocol
from asterism.evaluation.tasks import Task
from asterism.labels import LabelSpace
from asterism.metrics.truth import Partners
from asterism.recipes.base import Recipe

CRITERION = "fid"


def tasks(
    sets: Sequence[Pictures], space: LabelSpace, partners: Sequence[Partners], recipe: Recipe, parameters: Parameters
) -> list[Task]:
    """Return the tasks of `stargan`; of a recipe with styles in several styles from noise for each source."""
    found = stargan.tasks(sets, space, partners, recipe, parameters)
    if not recipe.abilities.style:
        return found
    return [replace(t, mode="latent", outputs=parameters.outputs if t.index is not None else 1) for t in found]


PROTOCOL = Protocol(
    name="quick",
    version=2,
    about="the main measures of stargan on 64 pictures; runs during training and chooses the checkpoint",
    parameters=Parameters(pictures=64, real_pictures=1000, outputs=2),
    tasks=tasks,
    measures=(
        (m.REACHED, (("real", "copy"), ("translated", "copy"))),
        (m.PRESERVED, (("copy", "random"), ("translated", "random"))),
        (m.FID, (("real", "copy"), ("real", "random"), ("translated", "random"))),
        (m.IDENTITY, (("copy", "translated"), ("translated", "random"))),
    ),
)

GENERATION = Protocol(
    name="quick",
    version=2,
    about="FID and KID of 1,000 generated pictures; runs during training and chooses the checkpoint",
    parameters=Parameters(pictures=1000, real_pictures=1000),
    tasks=generation.tasks,
    kinds=generation.PROTOCOL.kinds,
    generates=True,
    measures=generation.PROTOCOL.measures[:2],
)
"""The quick protocol for recipes that generate."""
