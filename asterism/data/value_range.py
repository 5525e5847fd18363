"""Measure how much of the value range pictures use, and which values lie outside it."""

from __future__ import annotations

import numpy as np

from asterism.data.pictures import PictureFormat

CLIPPED = 0.01
"""Share of values outside the value range up to which no warning is given."""


def beyond(stored: np.ndarray, low: float, high: float) -> float:
    """Return the share of stored values that a model cannot tell from the ends of its value range; none of features."""
    if stored.dtype.kind == "f":
        return 0.0
    if low <= 0 and high >= np.iinfo(stored.dtype).max:
        return 0.0
    return np.count_nonzero((stored < low) | (stored > high)) / stored.size


def little_used(bottom: float, top: float, picture: PictureFormat) -> str:
    """Say so where stored values from `bottom` to `top` use less than a quarter of the range; else nothing."""
    if top - bottom >= (picture.high - picture.low) / 4:
        return ""
    return f"values {bottom:,.0f} to {top:,.0f} of {picture.low:,.0f} to {picture.high:,.0f}"
