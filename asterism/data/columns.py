"""Label groups from the cells of a table: binary labels, alternatives in a text column, and numbers.

Label columns are the numbers that `config.numbers` names and, in this order of preference, those that `config.labels` names;
the text column `domain`; the attributes of a CelebA list beside a CSV; every column of yes and no; a text column such as
`label`. The binary ones form one group, each text column a `one_of` group, the numbers of one range a group; a text column
whose cells hold several labels is a binary group. An empty cell is an unknown value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from asterism.config import DataConfig, closest
from asterism.data.exclusive import exclusive_sets
from asterism.data.listing import DataError, some
from asterism.labels import LabelGroup
from asterism.tables.compact import Coded, different, distinct, kinds_in, smallest
from asterism.tables.numbers import number_ranges, numbers_of
from asterism.tables.words import is_plain, mark_between, plain_name, truth_of

CELEBA_LIST = "list_attr_celeba.txt"

DOMAIN_NAMES = ("label", "labels", "class", "category", "tags")
"""Columns of texts that are labels where a table has no others."""

Columns = Mapping[str, Sequence[str]]
"""The cells of each column by its name, one per picture."""


def read_labels(
    dataset: str, path: Path, files: Sequence[str], columns: Columns, config: DataConfig, notes: list[str]
) -> tuple[tuple[LabelGroup, ...], np.ndarray, np.ndarray]:
    """Turn columns into groups, labels [M, D] as `Collection` has them and known bool [M, D]; without label columns D is 0.

    Args:
        path: of the table.
        files: the pictures, which errors name rows by.
        notes: to which sentences for a person are added.

    Raises:
        DataError: a cell without a number where one should be, or a column that is no label.
    """
    ranges = {name: ends for name, ends in number_ranges(config.numbers).items() if name in columns}
    others = {name: cells for name, cells in columns.items() if name not in ranges}
    named = [name for word in config.labels.split(",") if (name := word.strip()) in columns]
    chosen = [name for name in named if name in others] if named else label_columns(path, others, notes)
    parts = list[tuple[LabelGroup, np.ndarray, np.ndarray]]()  # Each group with its labels and which of them are known.
    truths = {name: truth for name in chosen if (truth := truth_of(columns[name])) and not _is_domain(name, columns)}
    binary = list(truths)
    if words := [f"{name} {'/'.join(v or 'empty' for v in truth)}" for name, truth in truths.items() if not is_plain(truth)]:
        notes.append(some(words, "columns read as yes/no"))
    if binary:
        values = _each(columns, binary, lambda name, cell: truths[name].get(cell, 0), np.uint8)
        filled = _each(columns, binary, lambda name, cell: cell in truths[name], bool)
        exclusive = _exclusive(binary, values, filled, config, notes)
        conflicts = _sets("conflicts", config.conflicts.split(","), "|", binary)
        parts.append((LabelGroup(dataset, tuple(binary), "binary", exclusive, conflicts=conflicts), values, filled))
    texts = [name for name in chosen if name not in truths]
    shared = Counter(cell for name in texts for cell in distinct(columns[name]))
    for name in texts:
        cells = columns[name]
        mark = mark_between(cells)
        inside = {cell: [word.strip() for word in cell.split(mark)] if mark else [cell] for cell in distinct(cells)}
        words = sorted({word for held in inside.values() for word in held} - {""})
        if mark:
            notes.append(f"{name}: cells hold several labels, with {mark} between them: {', '.join(words[:5])}")
            group = LabelGroup(dataset, tuple(words), "binary")
        elif repeats(cells):
            own = (f"{name}_{word}" if shared[word] > 1 else word for word in words)
            group = LabelGroup(dataset, tuple(own), "one_of")
        else:
            raise DataError(
                f"{path}: the column {name!r} is not a label: in {len(cells):,} rows it holds {some(words, 'values')}"
            )
        values = Coded.of(cells).each(lambda cell: [word in inside[cell] for word in words], np.uint8)  # noqa: B023
        filled = Coded.of(cells).each(lambda cell: [cell != ""] * len(words), bool)  # noqa: B023
        parts.append((group, values, filled))
    for low, high in dict.fromkeys(ranges.values()):
        names = [name for name, ends in ranges.items() if ends == (low, high)]
        values = np.stack([numbers_of(path, files, n, columns[n], low, high) for n in names], 1)
        filled = _each(columns, names, lambda _, cell: cell != "", bool)
        parts.append((LabelGroup(dataset, tuple(names), "number", (), low, high), values, filled))
    none = np.zeros((len(files), 0), np.uint8)
    groups, labels, known = zip(*(parts or [(LabelGroup(dataset, (), "binary"), none, none.astype(bool))]), strict=True)
    return groups, np.concatenate(labels, axis=1), np.concatenate(known, axis=1)


def no_label_columns(path: Path, columns: Columns) -> str:
    """Say that a table has no labels, and what would be."""
    return (
        f"{path} has no label columns; expected columns of 1 and -1 (or 1 and 0), or a text column 'domain'; "
        f"it has {', '.join(columns) or 'none'}: name label columns with --data.labels"
    )


def _each(columns: Columns, names: Sequence[str], value: Callable[[str, str], Any], dtype: type) -> np.ndarray:
    """Return what a function makes of each cell of some columns, [M, names]."""
    return np.stack([Coded.of(columns[name]).each(lambda cell: value(name, cell), dtype) for name in names], 1)  # noqa: B023


def label_columns(path: Path, columns: Columns, notes: list[str]) -> list[str]:
    """Choose the label columns among those that hold no numbers, in the table's order; add to the notes what is left out."""
    chosen = [name for name in columns if _is_domain(name, columns)][:1]
    if not chosen:
        chosen = [name for name, cells in columns.items() if {*(truth_of(cells) or {}).values()} == {0, 1}]
        if path.name != CELEBA_LIST and (beside := path.with_name(CELEBA_LIST)).is_file():
            with open(beside, encoding="utf-8-sig") as file:
                names = list(islice(file, 2))[-1].split()
            chosen = [name for name in chosen if name in names] or chosen
    if not chosen:
        usual = [name for name in columns if plain_name(name) in DOMAIN_NAMES]
        chosen = [name for name in usual if mark_between(columns[name]) or repeats(columns[name])][:1]
    rest = {name: smallest(filter(None, kinds_in(columns[name])), 4) for name in columns if name not in chosen}
    if unused := [f"{name} {'/'.join(values[:3])}{'/...' * (len(values) > 3)}" for name, values in rest.items()]:
        notes.append(some(unused, "columns not used as labels; --data.labels can add them"))
    return chosen


def _is_domain(name: str, columns: Columns) -> bool:
    """Say whether a column is the one of domains, which may be called yes and no, but not 1 and 0."""
    return plain_name(name) == "domain" and not is_plain(truth_of(columns[name]) or ("domains",))


def repeats(cells: Sequence[str]) -> bool:
    """Say whether a column holds few enough values, two or more, to be a label."""
    return 2 <= different(cells) - ("" in cells) <= max(2, len(cells) // 2)


def _exclusive(
    names: list[str], values: np.ndarray, known: np.ndarray, config: DataConfig, notes: list[str]
) -> tuple[tuple[str, ...], ...]:
    """Return the sets of labels that exclude each other: the configured ones that this table has, or else inferred ones."""
    if not config.exclusive:
        stated = {word.strip() for word in config.conflicts.replace("|", ",").split(",")}  # Of these, none may hold.
        whole = [i for i, name in enumerate(names) if known[:, i].all() and name not in stated]
        inferred = tuple(tuple(names[whole[i]] for i in found) for found in exclusive_sets(values[:, whole].astype(bool)))
        notes.extend(f"exactly one of {', '.join(found)} holds in every row: each excludes the others" for found in inferred)
        return inferred
    return _sets("exclusive", config.exclusive.split(";"), ",", names)


def _sets(option: str, parts: list[str], between: str, names: list[str]) -> tuple[tuple[str, ...], ...]:
    """Read sets of labels that an option names; sets of other tables are left out."""
    sets = []
    for part in parts:
        wanted = tuple(word.strip() for word in part.split(between) if word.strip())
        absent = [name for name in wanted if name not in names]
        if absent and len(absent) < len(wanted):
            raise DataError(f"--data.{option} {part}: {absent[0]} is not a label: {closest(absent[0], names)}")
        if wanted and not absent:
            sets.append(wanted)
    return tuple(sets)
