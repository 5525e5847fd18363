"""`quick`: a minute's worth of `stargan`, used while a run trains to choose the checkpoint that is kept.

Few sources, always the same, so that its numbers follow one run from step to step; its FID is that of few
pictures and compares with nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from asterism.evaluation import measures as m
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.protocols.base import Parameters, Protocol
from asterism.evaluation.tasks import Task, edits, own_labels
from asterism.labels import LabelSpace
from asterism.metrics.truth import Partners
from asterism.recipes.base import Recipe

CRITERION = "fid"


def tasks(
    sets: Sequence[Pictures], space: LabelSpace, partners: Sequence[Partners], recipe: Recipe, parameters: Parameters
) -> list[Task]:
    """Return every edit of the chosen sources, and these to their own labels."""
    return edits(sets, space, parameters.pictures) + own_labels(sets, space, parameters.pictures)


PROTOCOL = Protocol(
    name="quick",
    version=1,
    about="the measures of stargan that say most, of 64 pictures; runs while training and chooses the checkpoint",
    parameters=Parameters(pictures=64, real_pictures=1000),
    tasks=tasks,
    measures=(
        (m.REACHED, (("real", "copy"), ("translated", "copy"))),
        (m.PRESERVED, (("copy", "random"), ("translated", "random"))),
        (m.FID, (("real", "copy"), ("real", "random"), ("translated", "random"))),
        (m.IDENTITY, (("copy", "translated"), ("translated", "random"))),
    ),
)
