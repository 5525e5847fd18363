"""`stargan_v2`: the evaluation of StarGAN v2 (arXiv:1912.01865), Section 4, for any recipe.

Every ordered pair of domains; ten outputs of every held-out picture of the source, in styles from noise (`latent`) and from
random held-out pictures of the target (`reference`); diversity over the 45 pairs of the ten; FID against all training
pictures of the target; means over tasks. A recipe without styles gives one output, and no diversity.

What differs from the published code: its networks (an Inception-v3 fed with another normalisation than it was trained on) are
replaced by the extractor that stands with the numbers, so that these do not compare with the paper's; diversity is LPIPS where
its weight files are there, else the same formula on the classifier's stages; the mean over pictures replaces the mean over
batches, and references are drawn for every output, so that nothing depends on the batch; outputs are clamped, not rounded to
8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from asterism.config import ConfigError
from asterism.evaluation import measures as m
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.protocols.base import Parameters, Protocol
from asterism.evaluation.tasks import Task, pairs
from asterism.labels import LabelSpace
from asterism.metrics.truth import Partners
from asterism.recipes.base import Recipe


def tasks(
    sets: Sequence[Pictures], space: LabelSpace, partners: Sequence[Partners], recipe: Recipe, parameters: Parameters
) -> list[Task]:
    """Return every ordered pair of domains, in both modes where the recipe has styles.

    Raises:
        ConfigError: there is none.
    """
    can = recipe.abilities
    modes = (("latent", "reference") if can.reads_style else ("latent",)) if can.style else ("label",)
    outputs = parameters.outputs if can.style else 1
    found = pairs(sets, space, parameters.pictures, outputs, modes)
    if not found:
        raise ConfigError(
            "the protocol stargan_v2 needs domains, that is labels of which exactly one holds; there are none among "
            f"{', '.join(space.names)}: take a folder per domain, a text column, or a model trained with --data.exclusive"
        )
    return found


PROTOCOL = Protocol(
    name="stargan_v2",
    version=2,
    about="every ordered pair of domains, ten outputs of each picture from noise and from references: FID, diversity, reached",
    parameters=Parameters(outputs=10, real_pictures=0),
    tasks=tasks,
    pairs=True,
    measures=(
        (m.FID, (("real", "copy"), ("real", "random"), ("translated", "random"))),
        (m.KID, (("real", "copy"), ("real", "random"), ("translated", "random"))),
        (m.KID_SPREAD, ()),
        (m.DIVERSITY, (("real", "copy"),)),
        (m.PRECISION, (("real", "copy"), ("real", "random"))),
        (m.RECALL, (("real", "copy"), ("real", "random"))),
        (m.DENSITY, (("real", "copy"), ("real", "random"))),
        (m.COVERAGE, (("real", "copy"), ("real", "random"))),
        (m.REACHED, (("real", "copy"), ("translated", "copy"))),
        (m.PRESERVED, (("copy", "random"),)),
    ),
)
