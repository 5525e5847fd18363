"""What samples say of themselves as cells of columns, and columns of many samples as words and codes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from asterism.tables.cells import SPLIT_COLUMNS
from asterism.tables.words import plain_name

Codes = np.ndarray[Any, np.dtype[np.int32]]

Cells = dict[str, str]
"""The cells of a sample by column; what is not among them, or empty, is unknown."""

DOMAIN = "domain"
"""The column that a WebDataset's `.cls` becomes."""

LONGEST = 200
"""Characters of a cell; longer texts, such as captions, are no labels."""

WHOSE = ("pair_id", "identity", "patient", "subject", "person", "case")
"""Columns may hold as many values as rows, and mean something, if their names begin so; others that do are left out."""


def cells_of_class(content: bytes) -> Cells:
    """Read a `.cls`: a number, which becomes class_7, or a name."""
    text = content.decode("utf-8-sig").strip()
    return {DOMAIN: f"class_{text}" if text.isdigit() else text} if text and text != "-1" else {}


def cells_of_json(content: bytes) -> Cells:
    """Read a `.json`: an object, whose values are cells.

    Raises:
        ValueError: it is none.
    """
    held = json.loads(content)
    if not isinstance(held, dict):
        raise ValueError("it is not a JSON object")
    return {name: as_cell(value) for name, value in held.items()}


def as_cell(value: Any, names: Sequence[str] | None = None) -> str:
    """Write a value as a cell: several as a|b; empty for nothing, for what has parts of its own, and for long texts.

    Args:
        names: of the classes whose numbers the value is; -1 is none.
    """
    if isinstance(value, (list, tuple)):
        return "|".join(filter(None, (as_cell(one, names) for one in value)))
    if value is None or isinstance(value, (dict, bytes)) or (isinstance(value, float) and math.isnan(value)):
        return ""
    if names is not None and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else ""
    text = str(value).strip()
    return text if len(text) <= LONGEST else ""


class Column:
    """The cells of a column, one per sample: each word once, and its number per sample; 0 is an empty cell."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {"": 0}
        self.codes: list[int] = []

    def add(self, row: int, cell: str) -> None:
        """Say the cell of a row; rows between are empty."""
        self.codes += [0] * (row + 1 - len(self.codes))
        self.codes[row] = self.numbers.setdefault(cell, len(self.numbers))

    def encoded(self, rows: int) -> tuple[list[str], Codes]:
        """Return the words, and which each of the rows has."""
        return list(self.numbers), np.array(self.codes + [0] * (rows - len(self.codes)), np.int32)


def says_nothing(name: str, words: Sequence[str], rows: int) -> bool:
    """Say whether a column is a text of its own for nearly every sample, such as a URL, which no label is."""
    plain = plain_name(name)
    if len(words) <= max(16, rows // 2) or plain in SPLIT_COLUMNS or plain.startswith(WHOSE):
        return False
    return not all(_is_number(word) for word in words[1:100])


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False
