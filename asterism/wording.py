"""How numbers, durations, counts and sizes are written for a person, everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

NONE = "–"
"""Stands for a number that could not be computed."""


def number(value: float | None, unit: str = "") -> str:
    """Write a number without its unit: 93.4% if the unit is "share", else 12.35, 0.031, 1,234; a dash for none or not finite.

    Four digits, three below 0.1; integers and what is 1,000 or more in full.
    """
    if value is None or not math.isfinite(value):
        return NONE
    if unit == "share":
        return f"{value:.1%}"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 0.1 else f"{value:.3g}"


def quantity(value: float | None, unit: str) -> str:
    """Write a number with its unit: 93.4%, 21.3 dB."""
    text = number(value, unit)
    return text if unit in ("", "share") or text == NONE else f"{text} {unit}"


def counted(count: int, what: str) -> str:
    """Write a count of things: 1 step, 2,000 steps."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def amount(count: int) -> str:
    """Write a large count in three digits: 840, 11.6 k, 1.50 M."""
    for power, unit in ((1e6, "M"), (1e3, "k")):
        if count >= power * 0.9995:  # 999,950 is 1.00 M, not 1000 k.
            return f"{count / power:#.3g}".rstrip(".") + f" {unit}"
    return str(count)


def duration(seconds: float) -> str:
    """Write a time: 12 s, 3 min 05 s, 2 h 10 min, 4 d 06 h."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def byte_size(count: int) -> str:
    """Write a number of bytes: 840 bytes, 12 KiB, 1.1 MiB."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 2**power:
            return f"{count / 2**power:.{0 if count >= 10 * 2**power else 1}f} {unit}"
    return counted(count, "byte")


def some(names: Sequence[str], what: str, shown: int = 3) -> str:
    """Say how many of what, and the first few names: 'other files: 5 (a.txt, b.txt, c.txt, ...)'."""
    return f"{what}: {len(names):,} ({', '.join(names[:shown])}{', ...' if len(names) > shown else ''})"
