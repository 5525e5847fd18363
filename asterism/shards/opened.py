"""Opened shards: the indexes of all of them as one, in memory-mapped arrays in the cache, sorted by the pictures' names.

Whatever the shards are cut into, equal names give equal positions. A process that was started to read pictures finds the arrays
by the path of a picture alone, without asking where the shards lie.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from asterism.cache import cache_folder, writable_cache
from asterism.errors import DataError
from asterism.shards import places
from asterism.shards.index import FORMAT, Array, Probe, frozen, index_of, key_of
from asterism.shards.joining import SPLIT, join
from asterism.shards.places import Place
from asterism.storage.whole import write_whole, writing
from asterism.tables.cells import Table
from asterism.tables.compact import Coded, Words
from asterism.tables.names import match
from asterism.wording import byte_size, some

_T = TypeVar("_T")
_E = TypeVar("_E")

MARK = "!"
"""Ends the part of a picture's path that names the shards."""

TOLD = 2**28
"""Bytes of new shards from which on it is said that they are read."""

INDEXERS = 4
"""Shards that are indexed side by side."""


@dataclass(frozen=True)
class Shards:
    """M pictures in shards, sorted by name.

    Args:
        source: as the user named it, in one form.
        folder: of the arrays.
        notes: what was found missing or damaged.
    """

    source: str
    folder: Path
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, source: str | os.PathLike[str], probe: Probe) -> Shards:
        """Find the shards of a source, and read those through that are new or have changed.

        Raises:
            DataError: none is there, none holds a picture, or a remote place does not answer.
        """
        text = places.normal(source)
        if text.endswith((".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")):
            raise DataError(f"{text}: compressed tars cannot be read by position; uncompress them")
        held, missing = places.found(text)
        folder = cache_folder() / "shards" / key_of(*held, Place(text, 0, ""))
        if not (folder / "shards.json").is_file():
            writable_cache("shards")
            _join(text, held, folder, probe)
        write_whole(_pointer(text), folder.name.encode())
        notes = [some([Path(name).name for name in missing], "shards that are not there, left out")] if missing else []
        found = cls(text, folder, tuple(notes))
        _opened[found.root] = found
        return found

    @cached_property
    def root(self) -> str:
        """What the paths of its pictures begin with."""
        return str(Path(self.source + MARK))

    @cached_property
    def told(self) -> dict[str, Any]:
        """What is no array: the shards, the facts of headers, words of columns, notes."""
        held: dict[str, Any] = json.loads((self.folder / "shards.json").read_text(encoding="utf-8"))
        return held | {"facts": list(map(frozen, held["facts"]))}

    @property
    def remarks(self) -> list[str]:
        """What was found missing or damaged, as sentences."""
        return [*self.notes, *self.told["notes"]]

    @property
    def says_nothing(self) -> bool:
        """Whether nothing is known of the pictures but their names, which hold folders, and their splits."""
        return {name for name, _ in self.told["columns"]} <= {SPLIT} and b"/" in self._name(0)

    @property
    def name(self) -> str:
        """Of the data set: that of the folder that the shards lie in, or of a single shard."""
        text = self.source.partition("://")[2] if places.is_url(self.source) else self.source
        parts = [part for part in text.split("/") if part]
        if len(parts) == 1 or not parts[-1].endswith(places.ENDINGS) or not re.search(r"[{}*?\[\]\d]", parts[-1]):
            return parts[-1].partition(".tar")[0].removesuffix(".parquet").removesuffix(".arrow") or parts[-1]
        return parts[-2]

    def _array(self, name: str) -> Array:
        array: Array = np.load(self.folder / f"{name}.npy", mmap_mode="r").view(np.ndarray)
        return array

    @cached_property
    def _ends(self) -> memoryview:
        return self._array("ends").data  # Of which single values are read faster than of an array.

    @cached_property
    def _letters(self) -> memoryview:
        return self._array("letters").data

    @cached_property
    def _ranges(self) -> tuple[Array, Array, Array]:
        return self._array("shard"), self._array("offset"), self._array("length")

    @cached_property
    def header(self) -> Array:
        """Which of the facts is each picture's header, int32 [M]."""
        return self._array("header")

    def __len__(self) -> int:
        return len(self._ends)

    def _name(self, row: int) -> bytes:
        start = self._ends[row - 1] if row else 0
        return self._letters[start : self._ends[row]].tobytes()

    @cached_property
    def files(self) -> Words:
        """The names of the pictures, sorted."""
        return Words(self._array("letters"), np.concatenate([[0], self._array("ends")]))

    def row(self, name: str) -> int:
        """Return where a picture is.

        Raises:
            FileNotFoundError: there is none of this name.
        """
        wanted, low, high = name.encode("utf-8", "surrogateescape"), 0, len(self)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._name(middle) < wanted else (low, middle)
        if low == len(self) or self._name(low) != wanted:
            raise FileNotFoundError(f"{self.source} holds no {name}")
        return low

    def content(self, row: int) -> bytes:
        """Return the bytes of a picture; errors as `places.content`."""
        shard, offset, length = self._ranges
        return places.content(self.told["shards"][int(shard[row])], int(offset[row]), int(length[row]))

    def size(self, row: int) -> int:
        """Return how many bytes a picture has."""
        return int(self._ranges[2][row])

    def table(self) -> Table:
        """Return the names and what is known of them as a table with a column `file`."""
        columns: dict[str, Sequence[str]] = {"file": self.files}
        for number, (name, words) in enumerate(self.told["columns"]):
            columns.setdefault(name, Coded(words, self._array(f"codes{number}")))
        return Table(Path(self.root), "file", columns)


def _pointer(source: str) -> Path:
    return cache_folder() / "shards" / "opened" / hashlib.sha256(source.encode()).hexdigest()[:24]


def _join(source: str, held: Sequence[Place], folder: Path, probe: Probe) -> None:
    """Index what is new, and write the arrays of all shards."""
    total = sum(place.size for place in held)
    if total >= TOLD:
        print(f"{source}: {len(held):,} shards ({byte_size(total)}); those without an index are read once", file=sys.stderr)
    with ThreadPoolExecutor(INDEXERS) as pool:
        indexes = list(pool.map(lambda place: index_of(place, probe), held))
    told, arrays = join([place.url for place in held], indexes)
    if not any(len(index.offset) for index in indexes):
        wrong = " ".join(["", *told["notes"]])
        raise DataError(f"{source} holds no pictures; expected samples such as 0001.jpg with 0001.cls{wrong}")
    if folder.is_dir():
        return  # Another process was faster.
    try:
        with writing(folder) as partial:
            partial.mkdir()
            for name, array in arrays:
                np.save(partial / f"{name}.npy", array)
            (partial / "shards.json").write_text(json.dumps({"format": FORMAT, "source": source, **told}), encoding="utf-8")
    except OSError:
        if not (folder / "shards.json").is_file():
            raise


# -- by path -----------------------------------------------------------------------------------------------------------

_opened: dict[str, Shards] = {}


@functools.lru_cache(64)
def _reopened(root: str) -> Shards | None:
    """Return shards that another process opened, or this one in an earlier command."""
    source = places.normal(Path(root).as_posix().removesuffix(MARK))
    pointer = _pointer(source)
    return Shards(source, pointer.parent.parent / pointer.read_text()) if pointer.is_file() else None


def _found(path: str | os.PathLike[str]) -> tuple[Shards, int] | None:
    name = os.fspath(path)
    if MARK not in name:
        return None
    root, mark, inside = name.replace(os.sep, "/").partition(MARK + "/")
    if not mark or os.path.isdir(root + MARK):
        return None
    root = str(Path(root + MARK))
    held = _opened.get(root) or _reopened(root)
    return (held, held.row(inside)) if held else None


def headers_of(
    root: Path, files: Sequence[str], header: Callable[..., _T], error: Callable[[str], _E]
) -> tuple[list[_T | _E], np.ndarray] | None:
    """Return the headers of pictures in shards, as the index has them; none where `root` is not that of shards.

    Args:
        header: makes one of its fields.
        error: makes one of the reason why there is none.

    Returns:
        The different headers and errors, and for each file the place of its own among them.
    """
    held = _opened.get(str(root))
    if held is None:
        return None
    made = [error(facts) if isinstance(facts, str) else header(*facts) for facts in held.told["facts"]]
    rows = match(files, held.files, [])
    if len(absent := np.flatnonzero(rows < 0)):
        raise FileNotFoundError(f"{held.source} holds no {files[int(absent[0])]}")
    return made, held.header[rows]


def sample_of(path: str | os.PathLike[str]) -> io.BytesIO | None:
    """Return a picture in shards as an opened file; none for other files.

    Raises:
        FileNotFoundError: it is not there.
        DataError: its shard has changed, or does not answer.
    """
    found = _found(path)
    return io.BytesIO(found[0].content(found[1])) if found else None


def content_of(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file, or of a picture in shards; errors as `sample_of`."""
    sample = sample_of(path)
    return Path(path).read_bytes() if sample is None else sample.getvalue()


def size_of(path: str | os.PathLike[str]) -> int:
    """Return how many bytes a file has, or a picture in shards."""
    found = _found(path)
    return found[0].size(found[1]) if found else os.stat(path).st_size
