"""A table of labels: CelebA's attribute list, or a CSV file with a header.

The CelebA format: a line with the number of pictures, a line with the names of the attributes, then for each picture its
file and 1 or -1 per attribute. In a CSV the columns `file`, `split`, `pair_id` and `identity` have their meaning; an empty
cell is an unknown value.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.columns import CELEBA_LIST, no_label_columns, read_labels
from asterism.data.listing import SPLIT_WORDS, DataError, Listing, list_pictures, some, split_of

FILE_COLUMNS = ("file", "filename", "file_name", "image", "image_id", "path")
IDENTITY_COLUMNS = ("pair_id", "identity")
PICTURE_FOLDERS = ("", "images/", "img_align_celeba/")


@dataclass(frozen=True)
class Table:
    """The cells of a table: one file name per row, and the other columns by name."""

    path: Path
    files: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]


def is_table(path: Path) -> bool:
    """Say whether this source reads `path`: a table, or a folder that holds one."""
    return path.suffix.lower() in (".csv", ".txt") if path.is_file() else bool(find_tables(path))


def read_table(path: Path, config: DataConfig, packed: Listing | None = None) -> Collection:
    """Read a table of labels with the pictures that it names.

    `asterism.data.columns` says which columns are labels.

    Args:
        packed: the files that were there when the table and its pictures were packed.

    Raises:
        DataError: several tables, a malformed table or label, or no row with a picture.
    """
    tables = find_tables(path)
    if len(tables) > 1:
        raise DataError(f"{path} holds several {some([t.name for t in tables], 'tables')}; name one: --data {tables[0]}")
    table = _read(tables[0])
    root = tables[0].parent
    listing = packed or list_pictures(root)
    present = set(listing.pictures)
    plain = [file.replace("\\", "/").removeprefix("./") for file in table.files]
    found = [next((f for base in PICTURE_FOLDERS if (f := base + file) in present), None) for file in plain]
    rows = [i for i, file in enumerate(found) if file is not None]
    files = [file for file in found if file is not None]
    if not rows:
        raise DataError(
            f"{table.path} has {some(table.files, 'rows')}, but none of the pictures is there; "
            f"expected them in {root}, {root / 'images'} or {root / 'img_align_celeba'}"
        )
    twice = [file for file, count in Counter(files).items() if count > 1]
    if twice:
        raise DataError(f"{table.path} has more than one row for some {some(twice, 'pictures')}; expected one row per picture")

    meant = {name: [cells[i] for i in rows] for name, cells in table.columns.items()}
    columns = {name: cells for name, cells in meant.items() if name not in ("split", *IDENTITY_COLUMNS)}
    notes: list[str] = []
    groups, labels, known = read_labels(listing.name, table.path, files, columns, config, notes)
    same = [meant[c] for c in IDENTITY_COLUMNS if c in meant]
    split = _splits(table.path, files, meant.get("split"), same[-1] if same else [""] * len(files))
    beside = sorted(present - set(files))
    if config.unlabelled == "keep":
        files, split = files + beside, split + [split_of(file) for file in beside]
        same = [cells + [""] * len(beside) for cells in same]
        labels, known = (np.pad(array, ((0, len(beside)), (0, 0))) for array in (labels, known))
        beside = []
    tables_there = {t.relative_to(root).as_posix() for t in (table.path, root / CELEBA_LIST)}
    return Collection(
        name=listing.name,
        root=root,
        files=files,
        groups=groups,
        labels=labels,
        known=known,
        split=split,
        identity=same[0] if same else None,
        columns=tuple(columns),
        missing=[file for file, there in zip(table.files, found, strict=True) if there is None],
        unlabelled=beside,
        stray=[file for file in listing.others if file not in tables_there],
        notes=notes,
        no_labels="" if labels.shape[1] else no_label_columns(table.path, columns),
    )


# -- finding and reading -----------------------------------------------------------------------------------------------


def find_tables(folder: Path) -> list[Path]:
    """Return the table that a folder is read by, or all that it could be; a table is read by itself."""
    if folder.is_file():
        return [folder]
    for name in ("manifest.csv", CELEBA_LIST):
        if (folder / name).is_file():
            return [folder / name]
    candidates = sorted(f for f in folder.iterdir() if f.suffix.lower() in (".csv", ".txt") and not f.name.startswith("."))
    return [f for f in candidates if f.is_file() and _looks_like_table(f)]


def _looks_like_table(path: Path) -> bool:
    try:
        with open(path, encoding="utf-8-sig") as file:
            first, second, third = (file.readline() for _ in range(3))
    except UnicodeDecodeError:
        return False
    if path.suffix.lower() == ".csv":
        return any(cell.strip().lower() in FILE_COLUMNS for cell in first.split(_delimiter(first)))
    return first.strip().isdigit() and bool(second.split()) and len(third.split()) == len(second.split()) + 1


def _read(path: Path) -> Table:
    try:
        table = _read_csv(path) if path.suffix.lower() == ".csv" else _read_celeba(path)
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table ({error}); is a quotation mark open?") from error
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8; expected a .csv with a header, or a .txt in CelebA's format") from None
    if not table.files:
        raise DataError(f"{path} has no rows; expected one per picture")
    return table


def _read_celeba(path: Path) -> Table:
    if not _looks_like_table(path):
        raise DataError(
            f"{path} is not in CelebA's format; expected the number of pictures in line 1, the attributes in line 2, "
            "then per line a file and as many values of 1 or -1"
        )
    with open(path, encoding="utf-8-sig") as file:
        file.readline()
        names = file.readline().split()
        rows = [tuple(map(sys.intern, line.split())) for line in file if line.strip()]
    for number, row in enumerate(rows, start=3):
        if len(row) != len(names) + 1:
            raise DataError(f"{path}, line {number}: {len(row) - 1} values for {len(names)} attributes")
    return _table(path, ["file", *names], rows)


def _read_csv(path: Path) -> Table:
    with open(path, encoding="utf-8-sig", newline="") as file:
        delimiter = _delimiter(file.readline())
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter)
        header = [name.strip() for name in next(reader, [])]
        rows = []
        for row in reader:
            if row and len(row) != len(header):
                raise DataError(f"{path}, line {reader.line_num}: {len(row)} cells under a header of {len(header)}")
            if row:
                rows.append(tuple(sys.intern(cell.strip()) for cell in row))
    return _table(path, header, rows)


def _table(path: Path, header: list[str], rows: list[tuple[str, ...]]) -> Table:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{path} has more than one column {twice[0]!r}; rename one")
    columns = dict(zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True))
    file_column = next((name for wanted in FILE_COLUMNS for name in header if name.lower() == wanted), None)
    if file_column is None:
        raise DataError(f"{path} has no column of file names; call it 'file' (found: {', '.join(header)})")
    return Table(path, columns.pop(file_column), columns)


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _splits(path: Path, files: list[str], given: list[str] | None, identity: list[str]) -> list[str]:
    cells = given or [""] * len(files)
    unknown = sorted({cell for cell in cells if cell and cell.lower() not in SPLIT_WORDS})
    if unknown:
        raise DataError(f"{path}: the column split holds {some(unknown, 'other words')}; expected train, val or test")
    return [SPLIT_WORDS[c.lower()] if c else split_of(file, who) for file, c, who in zip(files, cells, identity, strict=True)]
