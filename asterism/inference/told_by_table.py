"""Targets from a table of labels and numbers: what it says of one picture, or of each frame of a film.

The table is a CSV as for training: a column for each label, and one with the names of the pictures where they matter.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath

from asterism.data.listing import some
from asterism.errors import AsterismError
from asterism.inference.placed import PlacedModel
from asterism.inference.target_words import Edit
from asterism.labels import LabelError
from asterism.tables.cells import Table, open_table

Target = tuple[Edit, ...]


class TableError(AsterismError, ValueError):
    """A table that says nothing that a target could be made of; the message says what was expected."""


def like(placed: PlacedModel, path: Path, picture: Path) -> Target:
    """Return the target that gives a picture every label that the table knows of another one.

    Args:
        path: of the table.
        picture: the other one; a row names it by the last parts of its path.

    Raises:
        TableError: no such row, or several; no column or no value of a label of the model.
        DataError, LabelError: as for reading tables and targets.
    """
    table = open_table(path)
    rows = [
        i for i, file in enumerate(table.files) if PurePath(picture).parts[-len(PurePath(file).parts) :] == PurePath(file).parts
    ]
    if len(rows) != 1:
        there = some(table.files, "rows") if table.files else "no column of file names"
        raise TableError(f"{path} has {len(rows) or 'no'} rows of {picture}; expected one (it has {there})")
    return tuple(replace(edit, name=f"like-{picture.stem}") for edit in _target(placed, table, rows[0]))


def frames(placed: PlacedModel, path: Path) -> list[Target]:
    """Return the targets of the table's rows, one after the other.

    Raises:
        TableError: no column of a label of the model, or a row without any value.
        DataError, LabelError: as for reading tables and targets.
    """
    table = open_table(path)
    return [_target(placed, table, row) for row in range(len(next(iter(table.columns.values()))))]


def _target(placed: PlacedModel, table: Table, row: int) -> Target:
    columns = {name: cells[row] for name, cells in table.columns.items() if name in placed.labels}
    if not columns:
        raise TableError(
            f"{table.path} has no column of a label of the model: expected some of {', '.join(placed.labels)}; "
            f"it has {', '.join(table.columns)}"
        )
    told = {name: cell for name, cell in columns.items() if cell}
    where = f"{table.path}, row {row + 1}"
    if not told:
        raise TableError(f"{where} has no value of {', '.join(columns)}; expected at least one")
    try:
        return placed.parse(told)
    except LabelError as error:
        raise LabelError(f"{where}: {error}") from error
