"""What a classifier, trained on real pictures, says of translations. StarGAN (arXiv:1711.09020), Section 5.4.

Shapes: N pictures, L labels. `decided` are the labels that the classifier finds, `wanted`, `labels` the target's
and the source's, float [N, L] in {0, 1}.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def reached(decided: Tensor, wanted: Tensor, index: int) -> Tensor:
    """Say, per picture, whether the edited label has the wanted value: bool [N]."""
    return decided[:, index] == wanted[:, index]


def margin(logits: Tensor, wanted: Tensor, index: int, others: Sequence[int]) -> Tensor:
    """Return, per picture, by how much logits [N, L] favour the wanted value of a label over its rivals: float [N].

    Args:
        others: the labels that exclude this one; where there are none, its rival is its absence.
    """
    favour = logits[:, index] - (logits[:, list(others)].amax(1) if others else 0.0)
    return torch.where(wanted[:, index] > 0, favour, -favour)


def agreement(decided: Tensor, labels: Tensor, known: Tensor) -> Tensor:
    """Return, per picture, the share of the known labels that the classifier finds as they are: float [N]; NaN without any.

    Args:
        known: float [N, L], 1 for the labels that count.
    """
    return ((decided == labels) * known).sum(1) / known.sum(1)
