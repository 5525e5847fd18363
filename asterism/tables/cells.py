"""Tables as columns of text, empty where a cell is unknown: CSV, TSV, JSON lines, Parquet, and CelebA's lists.

CelebA's attributes are a line with the number of pictures, a line with the names, then per picture its file and 1 or -1 for
each name; its partition and its identities are two words per line, without a header.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from asterism.errors import DataError
from asterism.tables.compact import Coded, Column, columns_of
from asterism.tables.names import SPLIT_WORDS, is_picture
from asterism.tables.openface import as_numbers
from asterism.tables.words import plain_name, says_label, unknown_in
from asterism.wording import some

FILE_COLUMNS = (
    "file filename file_name image image_id path image_name image_path image_index img img_path file_path filepath id"
).split()
"""Names of the column of pictures, as `plain_name` writes them; the first that a table has counts."""

WINDOWS = "cp1252"
"""How spreadsheets write text that is not in Unicode."""

PARTITION = "list_eval_partition.*"
"""CelebA's table of splits, beside that of labels or in a folder beside its."""

SPLIT_COLUMNS = ("split", "partition", "set", "subset", "fold", "phase")
"""Names of columns that may say the split, as `plain_name` writes them; the first counts."""

Read = tuple[list[str], Sequence[Sequence[str]]]
"""The header of a table and its columns."""


@dataclass(frozen=True)
class Table:
    """The cells of a table by column.

    Args:
        file_column: names the pictures; empty where none does.
        units: columns of OpenFace's intensities, as numbers.
        unknown: column -> the words in it that were read as an empty cell.
        notes: sentences on how the file was read.
    """

    path: Path
    file_column: str
    columns: dict[str, Sequence[str]]
    units: tuple[str, ...] = ()
    unknown: dict[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> Sequence[str]:
        """The names of the pictures."""
        return self.columns[self.file_column] if self.file_column else ()


def looks_like_table(path: Path) -> bool:
    """Say by a file's first lines whether it is a table of pictures."""
    try:
        if path.suffix.lower() == ".parquet":
            return path.stem == "metadata"
        with open(path, encoding=encoding_of(path)) as file:
            lines = [line for line in islice(file, 4) if not line.lower().startswith("sep=")]
        first, second, third = (lines + ["", "", ""])[:3]
        if path.suffix.lower() == ".jsonl":
            return bool(set(map(plain_name, json.loads(first))) & {*FILE_COLUMNS})
        if path.suffix.lower() == ".txt":
            counted = first.strip().isdigit() and len(third.split()) == len(second.split()) + 1 > 1
            return counted or (bool(_of_celeba(path)) and len(first.split()) == 2 and is_picture(first.split()[0]))
        header, row = csv.reader([first, second or "\n"], delimiter=_delimiter(first))
        enough = 1 if header[:1] == [""] or says_label(row) else 2  # Columns of pictures, where none has a name that is known.
        return bool({*map(plain_name, header)} & {*FILE_COLUMNS}) or sum(is_picture(cell.strip()) for cell in row) >= enough
    except (UnicodeDecodeError, csv.Error, ValueError, TypeError, OSError):
        return False


def encoding_of(path: Path) -> str:
    """Say how a file's text is written: in UTF-8, in UTF-16 with its mark, or else as Windows does in western Europe."""
    with open(path, "rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        file.seek(0)
        decode = codecs.getincrementaldecoder("utf-8")().decode
        try:
            while held := file.read(1 << 20):
                decode(held)
        except UnicodeDecodeError:
            return WINDOWS
    return "utf-8-sig"


def open_table(path: Path) -> Table:
    """Read the cells of a table; intensities of OpenFace become numbers from 0 to 1.

    Raises:
        DataError: it is not there, malformed, or empty.
    """
    if not path.is_file():
        raise DataError(f"there is no table {path}")
    try:
        header, columns = READERS[path.suffix.lower()](path)
    except (csv.Error, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table ({error}); is a quotation mark open?") from error
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8; expected a .csv with a header, or a .txt in CelebA's format") from None
    if not columns or not len(columns[0]):
        raise DataError(f"{path} has no rows; expected one per picture")
    windows = path.suffix.lower() in (".csv", ".tsv") and encoding_of(path) == WINDOWS
    note = f"{path.name} is not in UTF-8 and was read as Windows-1252; if names look wrong, save it as CSV UTF-8"
    return replace(as_table(path, header, columns), notes=(note,) * windows)


def as_table(path: Path, header: Sequence[str], columns: Sequence[Sequence[str]]) -> Table:
    """Return a table of these columns: columns without a name name nothing, and words for unknown are empty cells.

    Raises:
        DataError: a name comes twice, or the header is none.
    """
    found = list(zip(map(str.strip, header), columns, strict=True))
    nameless = re.compile(r"(Unnamed: [\d.]+)?")  # As pandas calls it when it reads its own files.
    found = [(name or "file", cells) for name, cells in found if not nameless.fullmatch(name) or is_picture(cells[0])]
    numbers = len(found) > 1 and all(re.fullmatch(r"[-+\d.]+", name) for name, _ in found[1:])
    if any(map(is_picture, header)) or (numbers and plain_name(found[0][0]) not in FILE_COLUMNS):
        raise DataError(
            f"{path} begins with {','.join(header)[:60]}, which is no header; add a first line that names the columns, such as "
            "file,Smiling"
        )
    if twice := [name for name, count in Counter(name for name, _ in found).items() if count > 1]:
        raise DataError(f"{path} has more than one column {twice[0]!r}; rename one")
    unknown, held = dict[str, list[str]](), dict[str, Sequence[str]]()
    for name, cells in found:
        words = unknown_in(cells)
        unknown |= {name: sorted(words)} if words else {}
        held[name] = Coded.of("" if cell in words else cell for cell in cells) if words else cells
    named = [name for wanted in FILE_COLUMNS[:-1] for name in held if plain_name(name) == wanted]
    named += [name for name, cells in held.items() if is_picture(next(filter(None, cells), ""))]
    named += [name for name in held if plain_name(name) == FILE_COLUMNS[-1]]
    held, units = as_numbers(path, held, frames=not named)
    return Table(path, named[0] if named else "file" if "file" in held else "", held, units, unknown)


def _csv(path: Path) -> Read:
    with open(path, encoding=encoding_of(path), newline="") as file:
        first = file.readline()
        said = re.fullmatch(r"sep=(.)\s*", first, re.IGNORECASE)  # As Excel writes it.
        if not said:
            file.seek(0)
        reader = csv.reader(file, delimiter=said[1] if said else _delimiter(first))
        header = [name.strip() for name in next(reader, [])]
        width = max((i for i, name in enumerate(header, 1) if name), default=0)  # Spreadsheets end lines with separators.

        def rows() -> Iterator[list[str]]:
            for row in filter(any, reader):
                if len(row) < width or any(row[len(header) :]):
                    line = reader.line_num + bool(said)
                    raise DataError(f"{path}, line {line}: {len(row)} cells under a header of {len(header)}")
                yield [cell.strip() for cell in row[:width]]

        return header[:width], columns_of(rows(), width)


def _delimiter(header: str) -> str:
    return max(",;\t", key=re.sub('"[^"]*"', "", header).count)


def _celeba(path: Path) -> Read:
    if not looks_like_table(path):
        raise DataError(
            f"{path} is not in CelebA's format; expected the number of pictures in line 1, the attributes in line 2, "
            "then per line a file and as many values of 1 or -1"
        )
    with open(path, encoding="utf-8-sig") as file:
        lines = (line.split() for line in file if line.strip())
        head = list(islice(lines, 2))
        names, first = ([_of_celeba(path)], 1) if len(head[0]) > 1 else (head[1], 3)

        def rows() -> Iterator[list[str]]:
            for number, row in enumerate(chain(head[first - 1 :], lines), start=first):
                if len(row) != len(names) + 1:
                    raise DataError(f"{path}, line {number}: {len(row) - 1} values for {len(names)} attributes")
                yield row

        return ["file", *names], columns_of(rows(), len(names) + 1)


def _of_celeba(path: Path) -> str:
    """Return what a list of CelebA without a header says of each picture, by the list's name; empty for another file."""
    return next((name for name in ("partition", "identity") if name in path.stem.lower()), "")


def _jsonl(path: Path) -> Read:
    held = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    header = list(dict.fromkeys(name for record in held for name in record))
    return header, columns_of(([_text(record.get(name)) for name in header] for record in held), len(header))


def _parquet(path: Path) -> Read:
    try:
        from pyarrow import default_memory_pool, parquet
    except ImportError:
        raise DataError(f"{path} is read by pyarrow, which is not installed: pip install 'asterism[parquet]'") from None
    with parquet.ParquetFile(path) as file:
        header = file.schema_arrow.names
        columns = [Column() for _ in header]
        for part in file.iter_batches():
            for column, values in zip(columns, part.columns, strict=True):
                if values.type.num_fields:  # Of lists and records nothing is counted.
                    column.add([_text(value) for value in values.to_pylist()])
                else:
                    held = values.dictionary_encode(null_encoding="encode")
                    kinds = held.dictionary.to_pylist()
                    column.add_coded([_text(value) for value in kinds], held.indices.to_numpy())
    default_memory_pool().release_unused()
    return header, [column.cells() for column in columns]


def _text(value: Any) -> str:
    """Write a value as a cell: several as a|b, nothing and what has parts of its own as an empty one."""
    if isinstance(value, list):
        return "|".join(map(_text, value))
    return "" if value is None or isinstance(value, dict) else str(value)


READERS = {".csv": _csv, ".tsv": _csv, ".txt": _celeba, ".jsonl": _jsonl, ".parquet": _parquet}
"""Endings of tables, and what reads the header and the rows of each."""


CELEBA_ATTRIBUTES = "attr"
"""What the names of CelebA's tables of labels hold, among its other tables."""


def is_table(path: Path) -> bool:
    """Say whether `path` is a table, or a folder that holds one."""
    return path.suffix.lower() in READERS if path.is_file() else bool(find_tables(path))


def find_tables(path: Path) -> list[Path]:
    """Return the tables that a folder is read by, its own or those in folders below; a table is read by itself.

    Below are those in splits, and CelebA's lists, which lie in Anno.
    """
    if path.is_file():
        return [path]
    found = _tables(path)
    if not found:
        below = [table for folder in sorted(path.iterdir()) if _readable(folder) for table in _tables(folder)]
        found = [t for t in below if t.parent.name.lower() in SPLIT_WORDS or t.suffix.lower() == ".txt"]
    for wanted in ("manifest.csv", CELEBA_ATTRIBUTES):
        if best := [table for table in found if wanted in table.name.lower()]:
            return best[:1]
    return [table for table in found if not _of_celeba(table)] or found


def _tables(folder: Path) -> list[Path]:
    files = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in READERS and not f.name.startswith(".") and f.is_file()]
    return [f for f in files if looks_like_table(f)]


def _readable(folder: Path) -> bool:
    return folder.is_dir() and not folder.name.startswith(".") and os.access(folder, os.R_OK | os.X_OK)


def open_all(path: Path, base: Path, tables: list[Path]) -> Table:
    """Open a table, or those of several splits as one; a partition of CelebA says the splits where no column does.

    Args:
        path: what the user named, for errors.
        base: the folder that the tables lie in or below.
        tables: as `find_tables` returns them; a partition is added.

    Raises:
        DataError: several tables that are not those of splits, and as `open_table`.
    """
    splits = {t: SPLIT_WORDS.get((t if t.parent == base else t.parent).stem.lower(), "") for t in tables}
    if len(tables) > 1 and ("" in splits.values() or len({*splits.values()}) < len(tables)):
        raise DataError(f"{path} holds several {some([t.name for t in tables], 'tables')}; name one: --data {tables[0]}")
    opened = {t: open_table(t) for t in tables}
    if len(tables) > 1:
        parts = []
        for at, part in opened.items():
            inside = next((f for f in (at.parent, base / at.stem) if f != base and f.is_dir()), base).relative_to(base)
            cells = dict[str, Sequence[str]](part.columns)
            cells.pop(part.file_column, None)
            files = tuple((inside / file).as_posix() for file in part.files)
            parts.append(cells | {"file": files, "split": (splits[at],) * len(files)})
        names = dict.fromkeys(name for cells in parts for name in cells)
        empty = [("",) * len(cells["file"]) for cells in parts]
        joined: dict[str, Sequence[str]] = {
            n: tuple(chain.from_iterable(c.get(n, none) for c, none in zip(parts, empty, strict=True))) for n in names
        }
        unknown = {name: words for part in opened.values() for name, words in part.unknown.items()}
        return Table(path, "file", joined, unknown=unknown, notes=tuple(chain.from_iterable(t.notes for t in opened.values())))
    (table,) = opened.values()
    places = [base, base.absolute().parent] if CELEBA_ATTRIBUTES in table.path.name.lower() else []
    partitions = [found for place in places for pattern in (PARTITION, f"*/{PARTITION}") for found in place.glob(pattern)]
    if not partitions or {*map(plain_name, table.columns)} & {*SPLIT_COLUMNS}:
        return table
    partition = open_table(partitions[0])
    tables.append(partitions[0])
    (said,) = (cells for name, cells in partition.columns.items() if name != partition.file_column)
    held = dict(zip(partition.files, said, strict=True))
    return replace(table, columns=table.columns | {"partition": tuple(held.get(file, "") for file in table.files)})
