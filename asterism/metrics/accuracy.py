"""What a classifier, trained on real pictures, says of translations. StarGAN (arXiv:1711.09020), Section 5.4.

Shapes: N pictures, L labels. `decided` are the labels that the classifier finds, `wanted`, `labels` the target's
and the source's, float [N, L] in {0, 1}.
"""

from __future__ import annotations

import torch
from torch import Tensor


def reached(decided: Tensor, wanted: Tensor, index: int) -> Tensor:
    """Say, per picture, whether the edited label has the wanted value: bool [N]."""
    return decided[:, index] == wanted[:, index]


def preserved(decided: Tensor, labels: Tensor, edited: list[int], span: slice) -> Tensor:
    """Return, per picture, the share of its dataset's other labels that still hold: float [N]; 1 where there are none.

    Args:
        decided: what the classifier finds in the translation.
        labels: the source's labels.
        edited: label indices that the edit may change: the label itself and its alternatives.
        span: the labels of the dataset.
    """
    others = [i for i in range(span.start, span.stop) if i not in edited]
    if not others:
        return torch.ones(len(decided))
    return (decided[:, others] == labels[:, others]).float().mean(1)
