"""A table of labels: CelebA's attribute list, or a CSV file with a header.

The CelebA format: a line with the number of pictures, a line with the names of the attributes, then for each picture its
file and 1 or -1 per attribute. In a CSV the columns `file`, `split`, `pair_id` and `identity` have their meaning; an empty
cell is an unknown value. Several columns of pictures are domains, and their rows pairs, where there are no labels.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.columns import CELEBA_LIST, label_columns, no_label_columns, read_labels
from asterism.data.listing import SPLIT_WORDS, DataError, Listing, list_pictures, some, split_of
from asterism.data.openface import as_numbers
from asterism.data.pairs import ordered
from asterism.data.pictures import SUFFIXES

FILE_COLUMNS = ("file", "filename", "file_name", "image", "image_id", "path")
IDENTITY_COLUMNS = ("pair_id", "identity")
MEANINGS = ("split", *IDENTITY_COLUMNS)
PICTURE_FOLDERS = ("", "images/", "img_align_celeba/")


@dataclass(frozen=True)
class Table:
    """The cells of a table by column.

    Args:
        file_column: names the pictures; empty where none does.
        units: columns of OpenFace's intensities, as numbers.
    """

    path: Path
    file_column: str
    columns: dict[str, tuple[str, ...]]
    units: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the pictures."""
        return self.columns[self.file_column] if self.file_column else ()


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
    table, notes = open_table(tables[0]), list[str]()
    if not table.file_column:
        raise DataError(f"{table.path} has no column of file names; call it 'file' (found: {', '.join(table.columns)})")
    if not (config.labels or config.numbers):
        config = replace(config, numbers=",".join(table.units))
    root = tables[0].parent
    listing = packed or list_pictures(root)
    present = set(listing.pictures)
    domains = _picture_columns(table, present)
    if len(domains) > 1 and (config.pairs or not _is_labelled(table, config)):
        table = _by_columns(table, domains)
    elif len(domains) > 1:
        notes.append(some(domains, "columns of pictures, which --data.pairs AtoB takes for domains, and their rows for pairs"))
    found = [_find(file, present) for file in table.files]
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
    columns = {name: cells for name, cells in meant.items() if name not in (table.file_column, *MEANINGS)}
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
    collection = Collection(
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
    return ordered(collection, domains) if [sorted(g.labels) for g in groups] == [sorted(domains)] else collection


# -- columns of pictures -----------------------------------------------------------------------------------------------


def _find(file: str, present: set[str]) -> str | None:
    """Return the picture that a cell names, or none."""
    plain = file.replace("\\", "/").removeprefix("./")
    return next((found for base in PICTURE_FOLDERS if (found := base + plain) in present), None)


def _picture_columns(table: Table, present: set[str]) -> list[str]:
    """Return the columns that name pictures that are there, in the table's order."""
    likely = [name for name, cells in table.columns.items() if _is_picture(next(filter(None, cells), ""))]
    return [name for name in likely if any(_find(cell, present) for cell in table.columns[name])]


def _is_picture(cell: str) -> bool:
    return cell.lower().endswith(SUFFIXES)


def _is_labelled(table: Table, config: DataConfig) -> bool:
    columns = {name: list(cells) for name, cells in table.columns.items() if name not in MEANINGS}
    return bool(config.labels or config.numbers or label_columns(table.path, columns, []))


def _by_columns(table: Table, domains: list[str]) -> Table:
    """Return a table with a row for each picture: its column is its `domain`, its row its `pair_id`."""
    cells = [(row, name, table.columns[name][row]) for row in range(len(table.files)) for name in domains]
    cells = [(row, name, file) for row, name, file in cells if file]
    columns = {name: tuple(held[row] for row, _, _ in cells) for name, held in table.columns.items() if name not in domains}
    stems = {row: PurePosixPath(file).stem for row, _, file in reversed(cells)}  # Of a row's first picture: it has one split.
    columns = {"identity": tuple(stems[row] for row, _, _ in cells)} | columns
    columns |= {"pair_id": tuple(str(row) for row, _, _ in cells), "domain": tuple(name for _, name, _ in cells)}
    return Table(table.path, "file", columns | {"file": tuple(file for _, _, file in cells)})


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
        named = any(cell.strip().lower() in FILE_COLUMNS for cell in first.split(_delimiter(first)))
        return named or sum(map(_is_picture, second.strip().split(_delimiter(first)))) > 1
    return first.strip().isdigit() and bool(second.split()) and len(third.split()) == len(second.split()) + 1


def open_table(path: Path) -> Table:
    """Read the cells of a table; intensities of OpenFace become numbers from 0 to 1.

    Raises:
        DataError: it is not there, malformed, or empty.
    """
    if not path.is_file():
        raise DataError(f"there is no table {path}")
    try:
        table = _read_csv(path) if path.suffix.lower() == ".csv" else _read_celeba(path)
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table ({error}); is a quotation mark open?") from error
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8; expected a .csv with a header, or a .txt in CelebA's format") from None
    if not any(table.columns.values()):
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
    named = [name for wanted in FILE_COLUMNS for name in header if name.lower() == wanted]
    named += [name for name, cells in columns.items() if cells and _is_picture(cells[0])]
    columns, units = as_numbers(path, columns, frames=not named)
    return Table(path, named[0] if named else "file" if "file" in columns else "", columns, units)


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _splits(path: Path, files: list[str], given: list[str] | None, identity: list[str]) -> list[str]:
    cells = given or [""] * len(files)
    unknown = sorted({cell for cell in cells if cell and cell.lower() not in SPLIT_WORDS})
    if unknown:
        raise DataError(f"{path}: the column split holds {some(unknown, 'other words')}; expected train, val or test")
    return [SPLIT_WORDS[c.lower()] if c else split_of(file, who) for file, c, who in zip(files, cells, identity, strict=True)]
