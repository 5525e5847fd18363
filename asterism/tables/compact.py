"""Long lists in little memory: words as bytes and where they end, and items of few kinds as numbers of these kinds.

A Python list of a million names takes 80 MB and more; `Words` take the names' own bytes and four each, `Coded` items one each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np

T = TypeVar("T")
K = TypeVar("K")
Array = np.ndarray[Any, Any]
CHUNK = 2**14
"""Items that are Python objects at once while all are gone through."""

PART = 2**20
"""Codes that are indices at once."""

FEW = 2**16
"""Kinds of cells of a column up to which it is held as numbers of these."""


class Compact(Sequence[T], Generic[T]):
    """What long lists in little memory have in common: they compare as lists do, and are gone through a chunk at a time."""

    def take(self, rows: Array) -> Compact[T]:
        """Return the items of some rows, in their order."""
        raise NotImplementedError

    def chunk(self, start: int, stop: int) -> list[T]:
        """Return the items from `start` to `stop`, within the length, as a list."""
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Compact[T]: ...
    def __getitem__(self, index: int | slice) -> T | Compact[T]:
        if isinstance(index, slice):
            rows = range(len(self))[index]
            return self.take(np.arange(rows.start, rows.stop, rows.step))
        row = int(index) + len(self) * (index < 0)
        if not 0 <= row < len(self):
            raise IndexError(f"there is no item {index} of {len(self):,}")
        return self.chunk(row, row + 1)[0]

    def __iter__(self) -> Iterator[T]:
        parts = (self.chunk(start, min(start + CHUNK, len(self))) for start in range(0, len(self), CHUNK))
        return chain.from_iterable(parts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(map(_equal, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(islice(self, 10))}{'...' * (len(self) > 10)})"


def batched(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield the items, a list of some after the other."""
    remaining = iter(items)
    return iter(lambda: list(islice(remaining, CHUNK)), [])


def _equal(a: object, b: object) -> bool:
    return a is b or bool(a == b)


class Words(Compact[str]):
    """Strings, such as names of files.

    Args:
        data: uint8 [B], all words one after another in UTF-8; bytes of names that are none are kept as they are.
        ends: [M + 1], where each word begins, and the end of the last.
    """

    def __init__(self, data: Array, ends: Array) -> None:
        self.data, self.ends = data, ends if len(data) >= 2**32 else ends.astype(np.uint32, copy=False)

    @classmethod
    def of(cls, words: Iterable[str]) -> Words:
        """Hold these words; what holds them already is returned itself."""
        if isinstance(words, Words):
            return words
        parts = []
        for some in batched(words):
            encoded = [word.encode(errors="surrogateescape") for word in some]
            ends = np.cumsum([0, *map(len, encoded)])
            parts.append(cls(np.frombuffer(b"".join(encoded), np.uint8), ends))
        return cls.joined(parts)

    @classmethod
    def joined(cls, parts: list[Words]) -> Words:
        """Return the words of some one after another; the list is emptied, so that its memory is used again."""
        size, start, row = sum(len(part.data) for part in parts), 0, 0
        data, ends = np.empty(size, np.uint8), np.zeros(1 + sum(map(len, parts)), np.int64 if size >= 2**32 else np.uint32)
        parts.reverse()
        while parts:
            part = parts.pop()
            data[start : start + len(part.data)] = part.data
            ends[row + 1 : row + 1 + len(part)] = part.ends[1:].astype(ends.dtype) + start
            start, row = start + len(part.data), row + len(part)
        return cls(data, ends)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def chunk(self, start: int, stop: int) -> list[str]:
        """Return the words from `start` to `stop` as a list."""
        ends = self.ends[start : stop + 1].tolist()
        held = self.data[ends[0] : ends[-1]].tobytes()
        first, text = ends[0], held.decode(errors="surrogateescape")
        if len(text) == len(held):  # Every character is a byte, so that places in one are those in the other.
            return [text[a - first : b - first] for a, b in zip(ends, ends[1:], strict=False)]
        return [held[a - first : b - first].decode(errors="surrogateescape") for a, b in zip(ends, ends[1:], strict=False)]

    def take(self, rows: Array) -> Words:
        """Return the words of some rows, in their order."""
        ends = np.zeros(len(rows) + 1, self.ends.dtype if len(rows) <= len(self) else np.int64)
        np.cumsum(self.ends[1:][rows] - self.ends[:-1][rows], out=ends[1:])
        data = np.empty(int(ends[-1]), np.uint8)
        for start in range(0, len(rows), CHUNK):
            begins = self.ends[rows[start : start + CHUNK]].astype(np.int64)
            edges = ends[start : start + CHUNK + 1].astype(np.int64)
            sizes = np.diff(edges)
            data[edges[0] : edges[-1]] = self.data[np.repeat(begins - edges[:-1], sizes) + np.arange(edges[0], edges[-1])]
        return Words(data, ends)


class Column:
    """The cells of a column as they are read: coded while they are of few kinds, then words."""

    def __init__(self) -> None:
        self._kinds: dict[str, int] = {}
        self._codes: list[Array] = []
        self._words: list[Words] = []

    def add(self, cells: Sequence[str]) -> None:
        """Read further cells."""
        if self._words:
            self._words.append(Words.of(cells))
            return
        places = (self._kinds.setdefault(cell, len(self._kinds)) for cell in cells)
        self._codes.append(np.fromiter(places, np.int32, len(cells)))
        self._end_codes_of_many()

    def add_coded(self, kinds: Sequence[str], codes: Array) -> None:
        """Read further cells, the places of each among `kinds`."""
        if self._words:
            self._words.append(Words.of(kinds).take(codes))
            return
        places = [self._kinds.setdefault(kind, len(self._kinds)) for kind in kinds]
        self._codes.append(np.array(places, np.int32)[codes])
        self._end_codes_of_many()

    def _end_codes_of_many(self) -> None:
        if len(self._kinds) > FEW:
            self._words = [Words.of(self._coded())]
            self._kinds, self._codes = {}, []

    def _coded(self) -> Coded[str]:
        return Coded(tuple(self._kinds), np.concatenate([np.zeros(0, np.int32), *self._codes]))

    def cells(self) -> Coded[str] | Words:
        """Return the cells that were read."""
        if not self._words:
            return self._coded()
        parts, self._words = self._words, []
        return Words.joined(parts)


def columns_of(rows: Iterable[Sequence[str]], count: int) -> list[Coded[str] | Words]:
    """Return rows of so many cells as columns; the rows may be read as they are needed."""
    columns = [Column() for _ in range(count)]
    for some in batched(rows):
        for column, cells in zip(columns, zip(*some, strict=True), strict=True):
            column.add(cells)
    return [column.cells() for column in columns]


class Paths(Compact[Path]):
    """Files below a folder.

    Args:
        root: the folder.
        names: relative to it.
    """

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root, self.names = root, Words.of(names)

    def __len__(self) -> int:
        return len(self.names)

    def chunk(self, start: int, stop: int) -> list[Path]:
        """Return the paths from `start` to `stop` as a list."""
        return [self.root / name for name in self.names.chunk(start, stop)]

    def take(self, rows: Array) -> Paths:
        """Return the paths of some rows, in their order."""
        return Paths(self.root, self.names.take(rows))


class Coded(Compact[T]):
    """Items of which many are equal, such as splits, cells of a label, headers of pictures.

    Args:
        kinds: the different items; some may not occur.
        codes: [M], the place in `kinds` of each.
    """

    def __init__(self, kinds: Sequence[T], codes: Array) -> None:
        self.kinds, self.codes = tuple(kinds), codes.astype(np.min_scalar_type(max(1, len(kinds) - 1)), copy=False)

    @classmethod
    def of(cls, items: Iterable[T]) -> Coded[T]:
        """Hold these items, which can be keys of a dict; what holds them already is returned itself."""
        if isinstance(items, Coded):
            return items
        places: dict[T, int] = {}
        codes = [
            np.fromiter((places.setdefault(item, len(places)) for item in some), np.int32, len(some)) for some in batched(items)
        ]
        return cls(tuple(places), np.concatenate([np.zeros(0, np.int32), *codes]))

    def __len__(self) -> int:
        return len(self.codes)

    def __contains__(self, item: object) -> bool:
        return item in self.distinct()

    def chunk(self, start: int, stop: int) -> list[T]:
        """Return the items from `start` to `stop` as a list."""
        return list(map(self.kinds.__getitem__, self.codes[start:stop].tolist()))

    def take(self, rows: Array) -> Coded[T]:
        """Return the items of some rows, in their order."""
        return Coded(self.kinds, self.codes[rows])

    def counts(self) -> dict[T, int]:
        """Return how often each item comes that does, in the order of the kinds."""
        return {kind: count for kind, count in zip(self.kinds, self._counted().tolist(), strict=True) if count}

    def _counted(self) -> Array:
        counts = np.zeros(len(self.kinds), np.int64)
        for part in self._parts():
            counts += np.bincount(part, minlength=len(counts))
        return counts

    def _parts(self) -> Iterator[Array]:
        """Yield the codes in parts, since NumPy makes indices of eight bytes of them."""
        return (self.codes[start : start + PART] for start in range(0, len(self.codes), PART))

    def distinct(self) -> list[T]:
        """Return the items that come, each once, in the order of the kinds."""
        return list(self.counts())

    def each(self, value: Callable[[T], Any], dtype: Any = bool) -> Array:
        """Return [M, ...], what a function makes of each item; it is asked once for each kind that comes."""
        come = np.flatnonzero(self._counted())
        if not len(come):
            return np.zeros(0, dtype)
        made = np.array([value(self.kinds[kind]) for kind in come.tolist()], dtype)
        table = np.zeros((len(self.kinds), *made.shape[1:]), made.dtype)
        table[come] = made
        result, start = np.empty((len(self.codes), *made.shape[1:]), made.dtype), 0
        for part in self._parts():
            result[start : start + len(part)] = table[part]
            start += len(part)
        return result

    def of_kind(self, kind: type[K], holds: Callable[[K], bool] = lambda item: True) -> Iterator[tuple[int, K]]:
        """Yield the items of a type of which something holds, each with its row; it is asked once for each kind that comes."""
        for row in self.where(lambda item: isinstance(item, kind) and holds(item)).tolist():
            if isinstance(item := self[row], kind):
                yield row, item

    def where(self, holds: Callable[[T], bool]) -> Array:
        """Return the rows of the items of which something holds, ascending; it is asked once for each kind that comes."""
        return np.flatnonzero(self.each(holds))


def distinct(items: Iterable[T]) -> set[T]:
    """Return what comes among some items; of coded ones without going through all of them."""
    return set(kinds_in(items))


def kinds_in(items: Iterable[T]) -> Iterable[T]:
    """Return what comes among some items, perhaps several times, to be gone through without holding it."""
    return items.distinct() if isinstance(items, Coded) else items


def different(items: Iterable[str]) -> int:
    """Return how many different strings come; of two with one hash of 64 bits, which is rare, one counts."""
    return len(items.counts()) if isinstance(items, Coded) else len(np.unique(hashes_of(items)))


def smallest(items: Iterable[str], count: int) -> list[str]:
    """Return the first of the different strings that come, in sorted order."""
    held: list[str] = []
    for some in batched(kinds_in(items)):
        held = sorted({*held, *some})[:count]
    return held


def with_several(items: Sequence[str], others: Sequence[Any]) -> list[str]:
    """Return the items that come with several of the others, each once and sorted; the empty string is left out."""
    held, beside = Coded.of(items), Coded.of(others)
    met = np.unique(held.codes.astype(np.int64) * len(beside.kinds) + beside.codes) // max(1, len(beside.kinds))
    return sorted(filter(None, map(held.kinds.__getitem__, np.flatnonzero(np.bincount(met) > 1))))


def hashes_of(words: Iterable[str]) -> Array:
    """Return the hash of each word in this process, int64 [M]."""
    parts = (np.fromiter(map(hash, some), np.int64, len(some)) for some in batched(words))
    return np.concatenate([np.zeros(0, np.int64), *parts])


def different_rows(values: Array) -> Array:
    """Return the rows of bool [M, D] that differ, each once and in order: what numpy.unique returns, without sorting rows."""
    kind = np.zeros(len(values), np.int64)
    for number, column in enumerate(values.T, 1):
        kind = 2 * kind + column
        if number % 30 == 0:
            kind = np.unique(kind, return_inverse=True)[1]
    rows: Array = values[np.unique(kind, return_index=True)[1]]
    return rows


class Alike:
    """Which rows hold the same string; an empty one is like no other.

    Args:
        items: the string of each row; none: no row is like another.
    """

    def __init__(self, items: Sequence[str] | None) -> None:
        held = Coded.of(items or ())
        self._kind = np.where(held.each(bool), held.codes.astype(np.int32), -1)
        self._order = np.argsort(self._kind, kind="stable").astype(np.int32)
        self._starts = np.searchsorted(self._kind[self._order], np.arange(len(held.kinds) + 1)).astype(np.int32)

    def rows(self, row: int) -> Array:
        """Return the rows that are like a row, itself among them, ascending."""
        kind = self._kind[row] if len(self._kind) else -1
        return self._order[self._starts[kind] : self._starts[kind + 1]] if kind >= 0 else np.array([row])


def taken(items: Sequence[T], rows: Array) -> Sequence[T]:
    """Return the items of some rows, held as they are held; the items themselves where the rows are all of them."""
    if len(rows) == len(items) and (not len(rows) or (rows[0] == 0 and (np.diff(rows) == 1).all())):
        return items
    return items.take(rows) if isinstance(items, Compact) else [items[row] for row in rows.tolist()]
