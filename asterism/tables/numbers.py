"""Columns of numbers, such as the action units of a face: their ranges, and their cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asterism.errors import DataError
from asterism.tables.compact import Coded


def number_ranges(words: str) -> dict[str, tuple[float, float]]:
    """Read `config.numbers`, `AU01,AU12:0:5`: the range of each column.

    Raises:
        DataError: a range that is no range.
    """
    ranges = {}
    for part in (word.strip() for word in words.split(",") if word.strip()):
        name, *ends = (piece.strip() for piece in part.rsplit(":", 2))
        try:
            low, high = map(float, ends or ("0", "1"))
        except ValueError:
            low = high = 0.0
        if not -np.inf < low < high < np.inf:
            raise DataError(f"--data.numbers {part}: expected a column, or a column with its range, such as AU12:0:5")
        ranges[name] = (low, high)
    return ranges


def numbers_of(path: Path, files: Sequence[str], name: str, cells: Sequence[str], low: float, high: float) -> np.ndarray:
    """Return the numbers of a column, float32 [M], 0 where the cell is empty.

    Args:
        path: of the table, and `files` the picture of each row, by which errors name the cell.
        low, high: the least and the highest number that is allowed.

    Raises:
        DataError: a cell that holds no number in this range.
    """
    values: dict[str, float] = {}
    coded = Coded.of(cells)
    for cell in coded.distinct():
        try:
            value = float(cell or low)
        except ValueError:
            value = np.nan
        if not low <= value <= high:
            file = files[int(coded.where(lambda held: held == cell)[0])]  # noqa: B023
            raise DataError(
                f"{path}, the row of {file}: the column {name!r} holds {cell!r}; expected a number from {low:g} to {high:g} "
                f"(--data.numbers {name}:LOW:HIGH sets another range), or an empty cell if unknown"
            )
        values[cell] = value if cell else 0.0
    return coded.each(lambda cell: values.get(cell, 0.0), np.float32)
