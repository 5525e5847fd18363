"""The index of a shard: where each picture lies, what its header says, and what is known of it.

It is made by reading the shard once, and kept beside it (`train-000.tar.index`), or in the user's cache where that is not
writable or not local. It counts as long as the shard has the size and the time of change, or ETag, that it had, or, after a
copy, the same bytes at its beginning and its end.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from asterism.cache import writable_cache
from asterism.errors import AsterismError, DataError
from asterism.shards import places
from asterism.shards.labels import Cells, Codes, Column, cells_of_class, cells_of_json
from asterism.shards.places import Place
from asterism.shards.tables import pictures_of
from asterism.storage.whole import write_whole, writing
from asterism.tables.compact import Coded, Words
from asterism.tables.names import is_picture
from asterism.wording import byte_size

FORMAT = 2
ENDING = ".index"
COMPARED = 2**16
"""Bytes at the beginning and at the end of a shard by which a copy is recognised."""

Array = np.ndarray[Any, Any]

Facts = str | tuple[Any, ...]
"""What a picture's header says, the fields of `data.pictures.Header` in order, or why it cannot be read."""

Probe = Callable[[str, io.BytesIO], Any]
"""Reads the header of a picture, (name, content), as a dataclass of plain values; raises an AsterismError that says why not."""


@dataclass
class Index:
    """The index of one shard of M pictures.

    Args:
        url: the file that holds them: the shard, or what it was unpacked to.
        names: of the pictures, unique.
        offset, length: int64 [M], where the bytes of each lie.
        header: whole numbers [M], which of `facts` is its header's.
        facts: see `Facts`.
        columns: by name, the words, and which each picture has, whole numbers [M].
        notes: sentences on what is wrong with the shard.
    """

    url: str
    names: Sequence[str]
    offset: Array
    length: Array
    header: Codes
    facts: list[Facts]
    columns: dict[str, tuple[list[str], Codes]]
    notes: list[str] = field(default_factory=list)

    def save(self, path: Path, place: Place, print_: str) -> None:
        """Write it whole."""
        told = {"format": FORMAT, "size": place.size, "mark": place.mark, "print": print_, "url": self.url, "facts": self.facts}
        told |= {"notes": self.notes, "words": {name: words for name, (words, _) in self.columns.items()}}
        arrays: dict[str, Any] = {f"codes{i}": codes for i, (_, codes) in enumerate(self.columns.values())}
        arrays |= {"offset": self.offset, "length": self.length, "header": self.header}
        file = io.BytesIO()
        np.savez(file, **arrays | {"told": _bytes(json.dumps(told)), "names": _bytes("\n".join(self.names))})
        write_whole(path, file.getvalue())


def index_of(place: Place, probe: Probe) -> Index:
    """Return the index of a shard, which is made where there is none that counts.

    Raises:
        DataError: it cannot be read at all, or there is no room to unpack it.
    """
    held = _kept(place)
    if held is not None:
        return held
    made = _tar_index(place, probe) if place.name.endswith(".tar") else _table_index(place, probe)
    keep(made, place)
    return made


def keep(index: Index, place: Place) -> None:
    """Write an index beside its shard, or into the cache."""
    if not places.is_url(place.url) and index.url == place.url:
        try:
            index.save(Path(place.url + ENDING), place, _print(place))
            return
        except OSError:  # A folder that is only read, or full.
            pass
    index.save(_in_cache(place), place, "")


def _kept(place: Place) -> Index | None:
    """Return the index of a shard as it is now, where one was kept."""
    for beside in (True, False):
        try:
            if beside and places.is_url(place.url):
                content = places.whole(place.url + ENDING)
            else:
                content = (Path(place.url + ENDING) if beside else _in_cache(place)).read_bytes()
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                told = json.loads(arrays["told"].tobytes())
                if told["format"] != FORMAT or told["size"] != place.size:
                    continue
                if told["mark"] != place.mark and (not told["print"] or told["print"] != _print(place)):
                    continue
                url = place.url if beside else told["url"]
                if not places.is_url(url) and not Path(url).is_file():  # What was unpacked is gone.
                    continue
                letters = arrays["names"]
                breaks = np.flatnonzero(letters == ord("\n"))
                ends = np.concatenate([[0], breaks - np.arange(len(breaks)), [len(letters) - len(breaks)]])
                names = Words(letters[letters != ord("\n")], ends)
                held = [(name, words, arrays[f"codes{i}"]) for i, (name, words) in enumerate(told["words"].items())]
                columns = {name: (words, Coded(words, codes).codes) for name, words, codes in held}
                offset, length, header = arrays["offset"], arrays["length"], Coded(told["facts"], arrays["header"]).codes
                facts = list(map(frozen, told["facts"]))
                return Index(url, names if len(offset) else [], offset, length, header, facts, columns, told["notes"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, DataError):
            continue
    return None


def _in_cache(place: Place) -> Path:
    return writable_cache("shards", "indexes") / f"{key_of(place)}{ENDING}"


def key_of(*held: Place) -> str:
    """Return a short hash of shards: where they are and as what they were seen."""
    return hashlib.sha256(json.dumps([FORMAT, *((p.url, p.size, p.mark) for p in held)]).encode()).hexdigest()[:24]


def _print(place: Place) -> str:
    length = min(COMPARED, place.size)
    ends = [places.content(place.url, start, length) for start in (0, place.size - length)]
    return hashlib.sha256(b"".join(ends)).hexdigest()


def _facts(probe: Probe, name: str, content: bytes) -> Facts:
    try:
        facts: Facts = astuple(probe(name, io.BytesIO(content)))
    except AsterismError as error:
        return str(error)
    return facts


def frozen(held: Any) -> Any:
    """Return JSON's lists as tuples."""
    return tuple(map(frozen, held)) if isinstance(held, list) else held


def _bytes(text: str) -> Array:
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)


# -- making ------------------------------------------------------------------------------------------------------------


class Making:
    """An index while it is made, picture by picture."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.ranges: list[tuple[int, int]] = []
        self.header: list[int] = []
        self.facts: dict[str, int] = {}
        self.columns: dict[str, Column] = {}
        self.notes: list[str] = []

    def add(self, name: str, offset: int, length: int, facts: Facts) -> int:
        """Add a picture; return its row."""
        self.names.append(name)
        self.ranges.append((offset, length))
        self.header.append(self.facts.setdefault(json.dumps(facts), len(self.facts)))
        return len(self.names) - 1

    def tell(self, row: int, cells: Cells) -> None:
        """Add what is known of a picture."""
        for name, cell in cells.items():
            self.columns.setdefault(name, Column()).add(row, cell)

    def finished(self, url: str) -> Index:
        """Return the index."""
        offset, length = np.array(self.ranges, np.int64).reshape(-1, 2).T
        columns = {name: column.encoded(len(self.names)) for name, column in self.columns.items()}
        facts = [frozen(json.loads(text)) for text in self.facts]
        return Index(url, self.names, offset, length, np.array(self.header, np.int32), facts, columns, self.notes)


def _tar_index(place: Place, probe: Probe) -> Index:
    """Read a tar: members of one name up to the first dot of their last part are a sample, its first picture the picture."""
    made, rows, told, others = Making(), dict[str, int](), dict[str, Cells](), 0
    unread = ""
    end = 0
    with places.reading(place) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as taped:
                while (member := taped.next()) is not None:
                    vars(taped)["members"] = []  # Which would hold all.
                    end = member.offset_data + -(-member.size // 512) * 512
                    name = _plain(member.name)
                    key, ending = _divided(name)
                    if not member.isfile() or not key:
                        continue
                    cut = member.offset_data + member.size > place.size
                    if is_picture(f".{ending}"):
                        if key in rows:
                            others += 1
                            continue
                        facts: Facts = f"{place.name} ends within it"
                        if not cut:
                            facts = _facts(probe, member.name, _member(taped, member))
                        rows[key] = made.add(name, member.offset_data, 0 if cut else member.size, facts)
                    elif ending in ("cls", "json") and not cut:
                        try:
                            read = cells_of_class if ending == "cls" else cells_of_json
                            cells = read(_member(taped, member))
                        except (ValueError, RecursionError):
                            unread = unread or member.name
                            continue
                        told[key] = cells | told.get(key, {}) if ending == "cls" else told.get(key, {}) | cells
        except (tarfile.TarError, EOFError) as error:
            made.notes.append(f"{place.name} is damaged after {len(rows):,} pictures ({error}): what follows is left out")
    if end + 512 > place.size and not made.notes:
        made.notes.append(f"{place.name} is cut off: what follows its {len(rows):,} pictures is missing")
    if others:
        made.notes.append(f"{place.name}: of samples with several pictures the first is read; not read: {others:,}")
    if unread:
        made.notes.append(f"{place.name}: labels that cannot be read, such as {unread}, are unknown")
    for key, cells in told.items():
        if key in rows:
            made.tell(rows[key], cells)
    return made.finished(place.url)


def _plain(name: str) -> str:
    """Return a member's name as the end of a path below its shard: ./cat/1.jpg is cat/1.jpg, and none leads elsewhere."""
    return "/".join(part for part in name.replace("\n", " ").split("/") if part not in ("", ".", ".."))


def _divided(name: str) -> tuple[str, str]:
    """Return a member's sample, and what it is of it: `cat/1.jpg` is the jpg of cat/1; `cat/1.seg.png` is its seg.png."""
    folder, slash, base = name.rpartition("/")
    key, _, ending = base.partition(".")
    return (folder + slash + key if key else ""), ending.lower()


def _member(taped: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    held: IO[bytes] | None = taped.extractfile(member)
    assert held is not None
    return held.read()


def _table_index(place: Place, probe: Probe) -> Index:
    """Read a table; where its pictures do not lie in it as they are, they are unpacked into the cache, back to back."""
    if place.name.endswith(".arrow") and not places.is_url(place.url):
        made = Making()
        if _read_table(place, probe, made, None):
            return made.finished(place.url)
    blob = writable_cache("shards", "unpacked") / f"{key_of(place)}.bin"
    if (free := shutil.disk_usage(blob.parent).free) < 1.1 * place.size:
        raise DataError(
            f"the pictures of {place.url} ({byte_size(place.size)}) are unpacked into {blob.parent}, where {byte_size(free)} "
            "are left: make room, or set ASTERISM_CACHE to a folder on another disk"
        )
    made = Making()
    with writing(blob) as partial, open(partial, "wb") as out:
        _read_table(place, probe, made, out)
    return made.finished(str(blob))


def _read_table(place: Place, probe: Probe, made: Making, out: IO[bytes] | None) -> bool:
    """Read a table's rows, and write its pictures to `out`; without that, say whether all of them lie in the table."""
    end = 0
    with places.reading(place) as file:
        try:
            for name, content, at, cells in pictures_of(file, place.url, made.notes):
                if out is None and at is None:
                    return False
                facts: Facts = "the table holds a path and not its bytes" if content is None else _facts(probe, name, content)
                made.tell(made.add(name, end if out or at is None else at, len(content or b""), facts), cells)
                if out and content:
                    end += out.write(content)
        except DataError:
            raise
        except (OSError, ValueError) as error:
            made.notes.append(f"{place.name} is damaged after {len(made.names):,} rows ({error}): what follows is left out")
    return True
