"""A table of labels with the pictures that it names.

The columns `file`, `split`, `pair_id` and `identity`, and others of like names, have their meaning. Several columns of
pictures are domains, and their rows pairs, where there are no labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.columns import CELEBA_LIST, Columns, label_columns, no_label_columns, read_labels, repeats
from asterism.data.listing import SPLITS, DataError, Listing, list_pictures, some, split_of, told_apart
from asterism.data.pairs import INSTANCES, ordered
from asterism.tables.cells import SPLIT_COLUMNS, Table, find_tables, open_all
from asterism.tables.compact import Coded, distinct, taken, with_several
from asterism.tables.names import SPLIT_WORDS, is_picture, match, nearest
from asterism.tables.numbers import number_ranges
from asterism.tables.pattern import by_pattern
from asterism.tables.words import plain_name, truth_of

ROLES = {
    "split": SPLIT_COLUMNS,
    "pair_id": ("pair_id",),
    "identity": ("identity",),
    "patient": ("patient", "patient_id", "subject", "subject_id", "person", "person_id", "case", "case_id"),
    "instances": INSTANCES,
}
"""What a column may mean, and the names, as `plain_name` writes them, of columns that mean it; the first counts."""


def read_table(path: Path, config: DataConfig, packed: Listing | None = None) -> Collection:
    """Read a table of labels with the pictures that it names, below it or else beside its folder.

    `asterism.data.columns` says which columns are labels.

    Args:
        path: of the table, or of a folder that holds one.
        packed: the files that were there when the table and its pictures were packed.

    Raises:
        DataError: several tables, a malformed table or label, or no row with a picture.
    """
    tables = find_tables(path)
    base = path if path.is_dir() else path.parent
    table = open_all(path, base, tables)
    if not table.file_column:
        raise DataError(f"{table.path} has no column of file names; call it 'file' (found: {', '.join(table.columns)})")
    if not (config.labels or config.numbers):
        config = replace(config, numbers=",".join(table.units))
    listing = packed or list_pictures(base)
    if packed is None and not listing.pictures:
        listing = list_pictures(base.absolute().parent)
    return read_cells(table, listing, config, [*tables, table.path.with_name(CELEBA_LIST)], [*table.notes])


def read_pattern(path: Path, config: DataConfig, packed: Listing | None = None) -> Collection:
    """Read labels from the names of the pictures below a folder, by `config.pattern`; without `config.labels`, all that are.

    Raises:
        DataError: a pattern that fits no picture, and as `read_table`.
    """
    listing = packed or list_pictures(path)
    table = by_pattern(config.pattern, listing.pictures, path)
    names = [name for name, cells in table.columns.items() if len(set(cells)) > 1 and (truth_of(cells) or repeats(cells))]
    ranges, meant = number_ranges(config.numbers), {name for names in ROLES.values() for name in names}
    found = [name for name in names if plain_name(name) not in meant and name not in ranges]
    config = replace(config, labels=config.labels or ",".join(found))
    return read_cells(table, listing, config, [], [])


def read_cells(table: Table, listing: Listing, config: DataConfig, tables: list[Path], notes: list[str]) -> Collection:
    """Read labels, splits and identities from cells.

    Args:
        tables: the files that the cells come from; one that is not there does no harm.
        notes: what is to be said already.

    Raises:
        DataError: as `read_table`.
    """
    root, domains = listing.root, _picture_columns(table, listing.pictures)
    if len(domains) > 1 and (config.pairs or not _is_labelled(table, config)):
        table = _by_columns(table, domains)
    elif len(domains) > 1:
        notes.append(some(domains, "columns of pictures, which --data.pairs AtoB takes for domains, and their rows for pairs"))
    found = match(table.files, listing.pictures, notes)
    rows = np.flatnonzero(found >= 0)
    files = taken(listing.pictures, found[rows])
    if not len(rows):
        raise DataError(
            f"{table.path} has {some(table.files, 'rows')}, but none of the pictures is there; expected them in {root}, "
            f"{root / 'images'} or {root / 'img_align_celeba'}{nearest(table.files[0], listing.pictures)}"
        )
    if twice := taken(listing.pictures, np.flatnonzero(np.bincount(found[rows]) > 1)):
        raise DataError(f"{table.path} has more than one row for some {some(twice, 'pictures')}; expected one row per picture")

    meant = {name: taken(cells, rows) for name, cells in table.columns.items()}
    roles = _roles(table.path, meant, config, notes)
    columns = {name: cells for name, cells in meant.items() if name not in (table.file_column, *roles.values())}
    groups, labels, known = read_labels(listing.name, table.path, files, columns, config, notes)
    if unknown := [f"{name}: {'/'.join(words)}" for name, words in table.unknown.items() if name in columns]:
        notes.append(some(unknown, "columns with words that are read as unknown values"))
    same = [meant[roles[role]] for role in ("pair_id", "identity") if role in roles]
    split = _said(meant.get(roles.get("split", "")), files, notes)
    whole = meant[roles["patient"]] if "patient" in roles else same[-1] if same else None
    if not all(distinct(split)):
        whole = whole or told_apart(files, notes)
        split = Coded.of(said or split_of(file, who) for said, file, who in zip(split, files, whole, strict=True))
    if several := with_several(whole, split) if whole and "patient" in roles else []:
        notes.append(some(several, f"{roles['patient']} in several splits, so scores include training data"))
    ids = match(meant[roles["instances"]] if "instances" in roles else (), listing.pictures, [])
    instances = {files[row]: listing.pictures[ids[row]] for row in np.flatnonzero(ids >= 0).tolist()}
    beside = np.ones(len(listing.pictures) + 1, bool)  # The last one stands for pictures that are not there.
    beside[found] = beside[ids] = beside[-1] = False
    unlabelled = list(taken(listing.pictures, np.flatnonzero(beside)))
    if config.unlabelled == "keep" and unlabelled:
        files, split = [*files, *unlabelled], [*split, *map(split_of, unlabelled)]
        same = [[*cells, *[""] * len(unlabelled)] for cells in same]
        labels, known = (np.pad(array, ((0, len(unlabelled)), (0, 0))) for array in (labels, known))
        unlabelled = []
    paths = [t.absolute() for t in tables if t.is_file()]
    used = {t.relative_to(root.absolute()).as_posix() for t in paths if t.is_relative_to(root.absolute())}
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
        missing=list(taken(table.files, np.flatnonzero(found < 0))),
        unlabelled=unlabelled,
        stray=[file for file in listing.others if file not in used],
        notes=notes,
        no_labels="" if labels.shape[1] else no_label_columns(table.path, columns),
        instances=instances,
        tables=sorted(used),
    )
    return ordered(collection, domains) if [sorted(g.labels) for g in groups] == [sorted(domains)] else collection


# -- columns of pictures -----------------------------------------------------------------------------------------------


def _picture_columns(table: Table, pictures: Sequence[str]) -> list[str]:
    """Return the columns that name pictures that are there, in the table's order."""
    named = {name: cells for name, cells in table.columns.items() if plain_name(name) not in INSTANCES}
    likely = [name for name, cells in named.items() if is_picture(next(filter(None, cells), ""))]
    return [name for name in likely if len(likely) > 1 and (match(table.columns[name], pictures, []) >= 0).any()]


def _is_labelled(table: Table, config: DataConfig) -> bool:
    roles = _roles(table.path, table.columns, config, []).values()
    columns = {name: cells for name, cells in table.columns.items() if name not in roles}
    return bool(config.labels or config.numbers or label_columns(table.path, columns, []))


def _by_columns(table: Table, domains: list[str]) -> Table:
    """Return a table with a row for each picture: its column is its `domain`, its row its `pair_id`."""
    rows = range(len(table.files))
    cells = [(row, name, file) for row in rows for name in domains if (file := table.columns[name][row])]
    others = {name: held for name, held in table.columns.items() if name not in domains}
    columns: dict[str, Sequence[str]] = {name: [held[row] for row, _, _ in cells] for name, held in others.items()}
    stems = {row: PurePosixPath(file).stem for row, _, file in reversed(cells)}  # Of a row's first picture: it has one split.
    columns = {"identity": tuple(stems[row] for row, _, _ in cells)} | columns
    columns |= {"pair_id": tuple(str(row) for row, _, _ in cells), "domain": tuple(name for _, name, _ in cells)}
    return Table(table.path, "file", columns | {"file": tuple(file for _, _, file in cells)})


# -- what columns mean -------------------------------------------------------------------------------------------------


def _roles(path: Path, columns: Columns, config: DataConfig, notes: list[str]) -> dict[str, str]:
    """Return role -> column; a column that is named as a label has none, nor has one whose cells do not look like it.

    Raises:
        DataError: a column of splits that holds other words.
    """
    labels = {word.strip().partition(":")[0] for word in f"{config.labels},{config.numbers}".split(",")}
    plain, roles = {name: plain_name(name) for name in columns if name not in labels}, dict[str, str]()
    for role, names in ROLES.items():
        for name in sorted((n for n in plain if plain[n] in names), key=lambda n: names.index(plain[n])):
            words, strict = {cell.lower() for cell in distinct(columns[name])} - {""}, plain[name] in ("split", "partition")
            numbers = words <= {"0", "1", "2"} and (strict or len(words) == 3 and plain[name] != "fold")
            if role == "split" and not numbers and (others := sorted(words - SPLIT_WORDS.keys())):
                if strict or plain[name] == "fold":
                    raise DataError(
                        f"{path}: the column {name} holds {some(others, 'other words')}; expected train, val or test: correct "
                        "them, or rename the column if it says no split"
                    )
                continue
            few = len(words) < 10 and not plain[name].startswith("patient")  # A subject may be cat or dog.
            if role in roles or (role == "patient" and (few or truth_of(columns[name]) or len(words) == len(columns[name]))):
                continue
            roles[role] = name
            if role == "patient":
                notes.append(f"the column {name} says whose each picture is: those of one are in one split")
            elif role == "split" and (numbers or plain[name] != role):
                notes.append(f"the column {name} says the splits{': 0 train, 1 val, 2 test' if numbers and words else ''}")
    return roles


def _said(cells: Sequence[str] | None, files: Sequence[str], notes: list[str]) -> Sequence[str]:
    """Return the split of each picture by its cell, or by the folders of its path; empty where neither says one."""
    if cells is not None:
        held = Coded.of(cells)
        return Coded([SPLITS[int(k)] if k.isdigit() else SPLIT_WORDS.get(k.lower(), "") for k in held.kinds], held.codes)
    folders = Coded.of(file.rpartition("/")[0] for file in files)
    words = [[SPLIT_WORDS.get(part.lower(), "") for part in folder.split("/")] for folder in folders.kinds]
    said = Coded([next(filter(None, held), "") for held in words], folders.codes)
    if len(distinct(said) - {""}) < 2:
        return Coded(("",), np.zeros(len(files), np.uint8))
    notes.append("the splits are those of the folders that the pictures lie in")
    return said
