"""`voice`: conversions of held-out recordings between all pairs of speakers, against the same sentence by the target.

The classifier judges the middle of a recording, as long as a window of training; mel-cepstral distortion and modulation spectra
are those of the whole, where the split holds a recording of the same name by the target. They are computed from log-mels, so
that no vocoder has a part in them, and compare between models of the same settings only.
"""

from __future__ import annotations

from collections.abc import Sequence

from asterism.config import ConfigError
from asterism.evaluation import measures as m
from asterism.evaluation import voices as v
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.protocols.base import Parameters, Protocol
from asterism.evaluation.tasks import Task, own_labels, pairs
from asterism.labels import LabelSpace
from asterism.metrics.truth import Partners
from asterism.recipes.base import Recipe


def tasks(
    sets: Sequence[Pictures], space: LabelSpace, partners: Sequence[Partners], recipe: Recipe, parameters: Parameters
) -> list[Task]:
    """Return every ordered pair of speakers, and every recording to its own speaker.

    Raises:
        ConfigError: the data are no recordings.
    """
    if recipe.picture.sound is None:
        raise ConfigError("the protocol voice is for packs of recordings; name another one, such as --protocol stargan")
    return pairs(sets, space, parameters.pictures, 1, ["label"]) + own_labels(sets, space, parameters.pictures)


PROTOCOL = Protocol(
    name="voice",
    version=1,
    about="every pair of speakers: reached, distortion to the same sentence by the target, movements, words, the same speaker",
    parameters=Parameters(),
    tasks=tasks,
    pairs=True,
    measures=(
        (m.REACHED, (("real", "copy"), ("translated", "copy"))),
        (v.DISTORTION, (("translated", "copy"),)),
        (v.MODULATION, (("real", "translated"),)),  # Copies are speech too, and move as speech does.
        (v.CONTOUR, (("copy", "real"), ("translated", "real"))),
        (v.SAME, (("copy", "translated"),)),
    ),
)
