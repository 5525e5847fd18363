"""`quick`: a minute's worth of `stargan`, used while a run trains to choose the checkpoint that is kept.

Few sources, always the same, so that its numbers follow one run from step to step; its FID is that of few
pictures and compares with nothing else.
"""

from __future__ import annotations

from asterism.evaluation import measures as m
from asterism.evaluation.protocols.base import Parameters, Protocol
from asterism.evaluation.protocols.stargan import tasks

CRITERION = "fid"


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
