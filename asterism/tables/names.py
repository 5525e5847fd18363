"""Which pictures the names in a table mean: by their own words, or by the last parts of paths, in any case and Unicode form."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np

from asterism.errors import DataError
from asterism.tables.compact import Array, Words, hashes_of, taken
from asterism.wording import some

SUFFIXES: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".npy", ".pgm", ".ppm")
SUFFIXES += (".jpe", ".jfif", ".jp2", ".j2k", ".jpx", ".avif", ".apng", ".pbm", ".pnm", ".tga", ".dib", ".heic", ".heif")
"""Endings of picture files."""

SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val"}
SPLIT_WORDS |= {"test": "test", "testing": "test"}
"""Names of the splits in folders and tables, in lower case."""

PICTURE_FOLDERS = ("", "images/", "img_align_celeba/")
"""Where a table's pictures lie beside it; of several pictures of one name those in such a folder are meant."""

BLOCK = 2**18
"""Names that are looked up at once."""


def is_picture(cell: str) -> bool:
    """Say whether a cell is the name of a picture file."""
    return cell.lower().endswith(SUFFIXES)


def match(names: Sequence[str], pictures: Sequence[str], notes: list[str]) -> Array:
    """Return which picture each name means: int64 [names], its row among the pictures; -1 for none.

    Names count first as they are written, then by their last part, then by this without its suffix. Where both have folders,
    the path of one has to end with the other's, but for paths of another machine. A picture that one name means by its own
    words is not found for another.

    Args:
        notes: to which a sentence is added where names are not those of the files.

    Raises:
        DataError: a name that may mean several pictures.
    """
    if names is pictures or (len(names) == len(pictures) and all(map(str.__eq__, names, pictures))):
        return np.arange(len(names))
    found = np.full(len(names), -1)
    missing = np.flatnonzero(np.fromiter(map(bool, names), bool, len(names)))
    written = _Rows(pictures, np.arange(len(pictures)) if len(missing) else missing)
    for base in (None, *PICTURE_FOLDERS):
        for block in _blocks(missing):
            words = list(taken(names, block))
            found[block] = written.equal(words if base is None else [base + _plain(word) for word in words])
        missing = missing[found[missing] < 0]
    del written
    inexact = missing
    for suffixes in ((), SUFFIXES) if len(missing) else ():
        free = np.ones(len(pictures), bool)
        free[found[found >= 0]] = False
        rows = _Rows(pictures, np.flatnonzero(free), suffixes)
        for block in _blocks(missing):
            plain = list(map(_plain, taken(names, block)))
            for row, name, near in zip(block.tolist(), plain, rows.alike(plain), strict=True):
                candidates = {pictures[place]: place for place in near}
                chosen = _choose(name, [*candidates], suffixes) if near else None
                found[row] = -1 if chosen is None else candidates[chosen]
        missing = missing[found[missing] < 0]
    if len(loose := inexact[found[inexact] >= 0]):
        told = Words.of(f"{_plain(names[row])} is {pictures[found[row]]}" for row in loose)
        notes.append(some(told, "pictures found by the last part of a name", 1))
    return found


class _Rows:
    """The rows of some pictures by their names, or by what a loose match compares of them: sorted hashes, no strings.

    Args:
        pictures: all of them.
        rows: int64, those that may be found.
        suffixes: none: names are compared as they are; else the last parts of names, without these endings.
    """

    def __init__(self, pictures: Sequence[str], rows: Array, suffixes: tuple[str, ...] | None = None) -> None:
        self.pictures, self.suffixes = pictures, suffixes
        hashes = hashes_of(map(self._key, taken(pictures, rows)))
        order = np.argsort(hashes)
        self.hashes, self.rows = hashes[order], rows[order]

    def _key(self, name: str) -> str:
        return name if self.suffixes is None else _parts(name, self.suffixes)[0]

    def _ranges(self, keys: list[str]) -> tuple[Array, Array]:
        hashes = hashes_of(keys)
        order = np.argsort(hashes)  # What is looked up in order is near what was looked up before.
        starts, stops = np.empty((2, len(keys)), np.int64)
        starts[order] = np.searchsorted(self.hashes, hashes[order], "left")
        stops[order] = np.searchsorted(self.hashes, hashes[order], "right")
        return starts, stops

    def equal(self, names: list[str]) -> Array:
        """Return the row of the picture that has each name, or -1."""
        found, (starts, stops) = np.full(len(names), -1), self._ranges(names)
        likely = np.flatnonzero(stops > starts)
        rows = self.rows[starts[likely]]
        same = np.fromiter(map(str.__eq__, taken(self.pictures, rows), map(names.__getitem__, likely)), bool, len(rows))
        found[likely[same]] = rows[same]
        for place in likely[~same].tolist():  # Another name has its hash.
            near = self.rows[starts[place] : stops[place]].tolist()
            found[place] = next((row for row in near if self.pictures[row] == names[place]), -1)
        return found

    def alike(self, names: list[str]) -> list[list[int]]:
        """Return for each name the rows of the pictures that it may mean."""
        keys = list(map(self._key, names))
        ranges = zip(keys, *self._ranges(keys), strict=True)
        return [[row for row in self.rows[a:b].tolist() if self._key(self.pictures[row]) == key] for key, a, b in ranges]


def _blocks(rows: Array) -> Iterator[Array]:
    """Yield rows in parts that are large enough to be looked up fast."""
    return (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def nearest(name: str, pictures: Sequence[str]) -> str:
    """Say which picture's name is most like a name that none has; empty where there are no pictures."""
    close = difflib.get_close_matches(name, pictures[:10_000], 1, 0.0)
    return f"; of the pictures there, {close[0]} is most like {name}" if close else "; there are no pictures"


def _parts(name: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return the parts of a path from the last to the first, alike for names that differ in case or Unicode form only."""
    last, *folders = reversed(unicodedata.normalize("NFC", name).casefold().split("/"))
    ending = PurePosixPath(last).suffix
    return [last.removesuffix(ending) if ending in suffixes else last, *folders]


def _choose(name: str, candidates: list[str], suffixes: tuple[str, ...]) -> str | None:
    wanted = _parts(name, suffixes)
    agreeing = [f for f in candidates if all(a == b for a, b in zip(_parts(f, suffixes), wanted, strict=False))]
    usual = [f for f in agreeing if f"{PurePosixPath(f).parent.name}/" in PICTURE_FOLDERS]
    elsewhere = name.startswith("/") or name[1:2] == ":"  # Of another machine, where folders may be others.
    chosen = usual if len(usual) == 1 else agreeing or (candidates if elsewhere else [])
    if len(chosen) > 1 and agreeing:
        raise DataError(
            f"{name} may mean {' or '.join(sorted(chosen)[:2])}: write more of the path in the table, or move away what is not "
            "meant"
        )
    return chosen[0] if len(chosen) == 1 else None
