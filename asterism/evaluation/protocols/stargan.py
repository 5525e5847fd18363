"""`stargan`: the evaluation of StarGAN (arXiv:1711.09020), Section 5, and what its authors left to human judges.

Every held-out picture is translated to every label that it does not have. The paper's number is the classification error;
FID and its relatives say whether the outputs look like real pictures of the target, the cycle and the identity error what
else the translation changed.
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


def tasks(
    sets: Sequence[Pictures], space: LabelSpace, partners: Sequence[Partners], recipe: Recipe, parameters: Parameters
) -> list[Task]:
    """Return every edit of a single label, and every picture to its own labels."""
    found = edits(sets, space, parameters.pictures)
    if recipe.abilities.told == "domain":  # It knows nothing of labels that are no domain.
        found = [task for task in found if task.index is not None and space.names[task.index] in space.domain_names]
    return found + own_labels(sets, space, parameters.pictures)


PROTOCOL = Protocol(
    name="stargan",
    version=2,
    about="every label that a picture does not have: reached, preserved, FID and similar metrics, cycle, identity",
    parameters=Parameters(),
    tasks=tasks,
    measures=(
        (m.REACHED, (("real", "copy"), ("translated", "copy"))),
        (m.ERROR, (("real", "copy"), ("translated", "copy"))),
        (m.PRESERVED, (("copy", "random"), ("translated", "random"))),
        (m.FID, (("real", "copy"), ("real", "random"), ("translated", "random"))),
        (m.KID, (("real", "copy"), ("real", "random"), ("translated", "random"))),
        (m.KID_SPREAD, ()),
        (m.PRECISION, (("real", "copy"), ("real", "random"))),
        (m.RECALL, (("real", "copy"), ("real", "random"))),
        (m.DENSITY, (("real", "copy"), ("real", "random"))),
        (m.COVERAGE, (("real", "copy"), ("real", "random"))),
        (m.CYCLE_PSNR, (("copy", "translated"), ("translated", "random"))),
        (m.CYCLE_SSIM, (("copy", "translated"), ("translated", "random"))),
        (m.IDENTITY, (("copy", "translated"), ("translated", "random"))),
    ),
)
