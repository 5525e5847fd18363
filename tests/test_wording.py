"""How numbers are written: with the digits that a reader can use, and never a number that is none."""

from __future__ import annotations

import math

import pytest

from asterism.wording import amount, byte_size, counted, duration, number, quantity


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.9341, "share", "93.4%"),
        (12.3456, "", "12.35"),
        (0.031249, "", "0.0312"),
        (1234.5, "", "1,234"),
        (1200, "", "1,200"),
        (0, "", "0"),
        (21.345, "dB", "21.34 dB"),
        (None, "dB", "–"),
        (math.nan, "share", "–"),
        (math.inf, "", "–"),
    ],
)
def test_quantities(value: float | None, unit: str, text: str) -> None:
    assert quantity(value, unit) == text and number(value, unit) == text.removesuffix(" dB")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.7, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (86399.9, "1 d 00 h"),
        (367200, "4 d 06 h"),
    ],
)
def test_durations_never_show_sixty_of_a_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_and_sizes() -> None:
    assert [counted(n, "step") for n in (0, 1, 2000)] == ["0 steps", "1 step", "2,000 steps"]
    assert [amount(n) for n in (840, 11_600, 999_950, 1_500_000, 44_700_000)] == ["840", "11.6 k", "1.00 M", "1.50 M", "44.7 M"]
    assert [byte_size(n) for n in (1, 12 * 2**10, 1_100_000, 2252 * 2**20)] == ["1 byte", "12 KiB", "1.0 MiB", "2.2 GiB"]
