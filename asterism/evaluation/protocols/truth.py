"""`truth`: compare outputs with the true picture of the edit: the same identity with the wanted labels.

The only protocol that needs no network to say how good a translation is (but for `retrieved`). Copying the input is right
wherever the edit changes nothing and wrong everywhere else, so the error is told apart inside and outside that region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asterism.config import ConfigError
from asterism.evaluation import truth_measures as m
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.protocols.base import Parameters, Protocol
from asterism.evaluation.tasks import Task, edits, partnered
from asterism.labels import LabelSpace
from asterism.metrics.truth import Partners
from asterism.recipes.base import Recipe


def true_edits(
    name: str,
) -> Callable[[Sequence[Pictures], LabelSpace, Sequence[Partners], Recipe, Parameters], list[Task]]:
    """Return the tasks of the protocol of that name: the edits whose true picture is there."""

    def tasks(
        sets: Sequence[Pictures], space: LabelSpace, partners: Sequence[Partners], recipe: Recipe, parameters: Parameters
    ) -> list[Task]:
        found = partnered(edits(sets, space, parameters.pictures), partners)
        if not found:
            raise ConfigError(
                f"the protocol {name} needs the true pictures of edits: pairs (--data.pairs), or a column identity or pair_id "
                "in the table that names pictures of one thing alike, of which some differ by one label"
            )
        return found

    return tasks


PROTOCOL = Protocol(
    name="truth",
    version=2,
    about="error to the true picture of the edit, inside and outside what should change; PSNR, SSIM, retrieval of the partner",
    parameters=Parameters(),
    tasks=true_edits("truth"),
    measures=(
        (m.ERROR_RATIO, (("real", "copy"), ("real", "translated"), ("copy", "random"))),
        (m.PSNR, (("real", "copy"), ("real", "translated"), ("copy", "random"))),
        (m.SSIM, (("real", "copy"), ("real", "translated"), ("copy", "random"))),
        (m.INSIDE, (("real", "translated"), ("real", "copy"))),
        (m.OUTSIDE, (("real", "random"), ("copy", "random"), ("translated", "random"))),
        (m.RETRIEVED, (("real", "random"), ("real", "copy"), ("translated", "random"))),
    ),
)
