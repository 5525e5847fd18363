"""The area under the ROC curve is the share of pairs that are ranked right, and its error is that of repeated samples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asterism.metrics.ranking import auroc, auroc_error


def by_pairs(high: Tensor, low: Tensor) -> float:
    pairs = [(float(a > b) + 0.5 * float(a == b)) for a in high for b in low]
    return sum(pairs) / len(pairs)


def by_curve(high: Tensor, low: Tensor) -> float:
    """The trapezoids below the curve of true against false positives, threshold by threshold."""
    points = [(1.0, 1.0)]
    for threshold in torch.cat([high, low]).unique():
        points.append((float((low > threshold).double().mean()), float((high > threshold).double().mean())))
    return sum((x - u) * (y + v) / 2 for (x, y), (u, v) in zip(points, points[1:], strict=False))


@pytest.mark.parametrize("shift", [-1.0, 0.0, 0.4, 5.0])
def test_auroc_is_the_literal_share_of_pairs_and_the_area_below_the_curve(shift: float) -> None:
    rng = torch.Generator().manual_seed(0)
    high = (torch.randn(23, generator=rng, dtype=torch.float64) + shift).mul(3).round()  # Rounded, so that many are equal.
    low = torch.randn(31, generator=rng, dtype=torch.float64).mul(3).round()
    found = auroc(high, low)
    assert found == pytest.approx(by_pairs(high, low), abs=1e-12)
    assert found == pytest.approx(by_curve(high, low), abs=1e-12)
    assert auroc(low, high) == pytest.approx(1 - by_pairs(high, low), abs=1e-12)


def test_no_pair_has_no_area_and_equal_scores_are_guesses() -> None:
    assert auroc(torch.empty(0), torch.ones(3)) is None and auroc(torch.ones(3), torch.empty(0)) is None
    assert auroc(torch.ones(5), torch.ones(3)) == 0.5


def test_the_error_is_the_spread_over_samples() -> None:
    """Hanley and McNeil's Eq. (2) is exact for exponential scores: compared with 4,000 samples, whose spread is 1 % off."""
    rng, factor = torch.Generator().manual_seed(1), 3.0
    low = torch.empty(4000, 40).exponential_(generator=rng)
    high = factor * torch.empty(4000, 25).exponential_(generator=rng)
    areas = (high[:, :, None] > low[:, None]).double().mean((1, 2))
    assert float(areas.std()) == pytest.approx(auroc_error(factor / (factor + 1), 25, 40), rel=0.05)
