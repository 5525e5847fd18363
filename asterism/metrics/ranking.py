"""How well a score ranks two sets: the area under the ROC curve, and its uncertainty.

Shapes: M scores that should be high, N that should be low.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def auroc(high: Tensor, low: Tensor) -> float | None:
    """Return the chance that one of `high` [M] exceeds one of `low` [N], ties counting half: Mann and Whitney (1947).

    1 ranks all pairs right, 0.5 is guessing, 0 ranks all of them wrong. None where a set is empty.
    """
    if not len(high) or not len(low):
        return None
    ordered = low.double().sort().values
    below, upto = (torch.searchsorted(ordered, high.double(), right=right) for right in (False, True))
    return float((below + upto).double().mean() / (2 * len(low)))


def auroc_error(area: float, high: int, low: int) -> float:
    """Return the standard error of an area over so many scores of both kinds: Hanley and McNeil (1982), Eq. (2)."""
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (high - 1) * (one - area**2) + (low - 1) * (two - area**2)
    return math.sqrt(max(variance, 0.0) / (high * low))
