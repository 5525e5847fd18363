"""Mutual information against closed forms, and what few samples do to it."""

from __future__ import annotations

import math

import pytest
import torch

from asterism.metrics.information import entropy, mutual_information, parts


def test_what_is_the_same_tells_all_and_what_is_independent_nothing() -> None:
    x = torch.arange(4).repeat_interleave(4000)  # Sixteen thousand samples, so that a bias of some cells is small.
    assert entropy(x) == pytest.approx(2, abs=1e-3)
    assert mutual_information(x, (x + 1) % 4) == pytest.approx(2, abs=1e-3)
    assert mutual_information(x, x // 2) == pytest.approx(1, abs=1e-3)
    assert mutual_information(x, torch.arange(16000) % 5) < 1e-3


def test_a_noisy_channel_has_its_capacity() -> None:
    """A bit that arrives turned round with probability 0.11: 1 - H(0.11) = 0.5 bits, counted exactly."""
    x = torch.tensor([0] * 10000 + [1] * 10000)
    turned = torch.tensor(([1] * 1100 + [0] * 8900) * 2)
    expected = 1 + 0.11 * math.log2(0.11) + 0.89 * math.log2(0.89)
    assert mutual_information(x, x ^ turned) == pytest.approx(expected, abs=1e-3)


def test_few_samples_of_independent_labellings_tell_next_to_nothing() -> None:
    """Of 300 samples in 10 x 5 cells the plain estimate is 36 / (2 x 300) nats, or 0.087 bits, too high in the mean."""
    rng = torch.Generator().manual_seed(0)
    found = [
        mutual_information(torch.randint(10, (300,), generator=rng), torch.randint(5, (300,), generator=rng)) for _ in range(50)
    ]
    assert sum(found) / 50 < 0.02


def test_numbers_are_taken_by_parts_of_equal_size() -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    labelling = parts(values, 10)
    assert labelling.unique(return_counts=True)[1].tolist() == [100] * 10
    assert (labelling[values.argsort()].diff() >= 0).all()
    assert len(parts(torch.ones(50), 10).unique()) == 1
