"""Domain classification over a label space, summed over what is known."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asterism.labels import LabelSpace
from asterism.machine import at_least_float32


def classification(logits: Tensor, labels: Tensor, known: Tensor, space: LabelSpace) -> Tensor:
    """Negative log-likelihood of the known labels: -log D_cls(c | x). StarGAN (arXiv:1711.09020), Eqs. (2) and (3).

    Binary labels contribute their binary cross-entropies, summed as in the published code (the mean over elements times
    the number of labels); a `one_of` group contributes its softmax cross-entropy; numbers contribute their squared errors,
    summed, as shares of their range. Unknown labels, and the labels of other datasets, contribute nothing, and no gradient.

    Args:
        logits: [N, L] raw; of a number the number itself, as a share of its range.
        labels: [N, L] in {0, 1}, or numbers in their range.
        known: [N, L] in {0, 1}; a one_of group counts where all its labels are known.
        space: says which of the L are binary, which exclude each other, and which are numbers.

    Returns:
        [N], at least float32, >= 0.
    """
    logits, labels, total = at_least_float32(logits), space.shares(labels), []
    for group, span in zip(space.groups, space.spans, strict=True):
        mine, wanted, seen = logits[:, span], labels[:, span], known[:, span]
        if group.kind == "binary":
            total.append((F.binary_cross_entropy_with_logits(mine, wanted, reduction="none") * seen).sum(1))
        elif group.kind == "number":
            total.append(((mine - wanted).square() * seen).sum(1))
        else:
            total.append(F.cross_entropy(mine, wanted.argmax(1), reduction="none") * seen.amin(1))
    return torch.stack(total).sum(0)
