"""Where shards lie: brace ranges, globs, folders and URLs as lists of files, and ranges of bytes of these.

Local files are read by Python, all others by fsspec, which knows s3://, gs://, hf://, https:// and more.
"""

from __future__ import annotations

import functools
import glob
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from asterism.errors import DataError

ENDINGS = (".tar", ".parquet", ".arrow")
"""Endings of shards that are read."""

TRIES = 4
"""How often a range of a remote shard is asked for, with 0.5, 1 and 2 seconds between, before the run ends with a sentence."""

BLOCK = 2**23
"""Bytes that a remote shard is read in when it is read through."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Place:
    """A shard: its path or URL, its bytes, and what changes when its content does (time of change, or ETag)."""

    url: str
    size: int
    mark: str

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.url.rpartition("/")[2]


def is_url(text: str) -> bool:
    """Say whether a place is a URL, and not a path, for which a letter of a drive is taken."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def normal(source: str | os.PathLike[str]) -> str:
    """Return a source in one form: a URL, or an absolute path; `parquet://` and `file://` before a path say nothing more."""
    text = re.sub(r"^(parquet|file)://", "", os.fspath(source))
    text = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?=[^/])", r"\1://", text)  # Of two slashes a path keeps one.
    return text if is_url(text) else Path(text).expanduser().absolute().as_posix()


def expanded(pattern: str) -> list[str]:
    """Return the names that braces stand for: `{000..511}` counts, `{a,b}` lists; several are combined in order.

    Raises:
        DataError: a brace that is neither.
    """
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        return [pattern]
    inside, numbers = found[1], re.fullmatch(r"(\d+)\.\.(\d+)", found[1])
    if numbers:
        first, last, width = int(numbers[1]), int(numbers[2]), len(numbers[1])
        words = [f"{number:0{width}}" for number in range(first, last + 1)]
    else:
        words = inside.split(",")
    if len(words) < 2 and not (numbers and words):
        raise DataError(f"{pattern}: {{{inside}}} is no range; expected such as {{000..511}} or {{train,val}}")
    held = (text for word in words for text in expanded(pattern[: found.start()] + word + pattern[found.end() :]))
    return list(dict.fromkeys(held))  # Of braces in braces the inner ones come first, and what lies beside them comes often.


def found(source: str) -> tuple[list[Place], list[str]]:
    """Return the shards that a source names, in order, and those that it names and that are not there.

    Args:
        source: as `normal` returns it: a shard, braces or a glob of shards, or a folder that holds some.

    Raises:
        DataError: none is there.
        OSError: the place cannot be asked.
    """
    places, missing = list[Place](), list[str]()
    for pattern in expanded(source):
        here = _remote(pattern) if is_url(pattern) else _local(pattern)
        places += here
        missing += [] if here else [pattern]
    if not places:
        raise DataError(f"{source}: there are no such shards; expected files that end in {' '.join(ENDINGS)}")
    return places, missing


def _local(pattern: str) -> list[Place]:
    if os.path.isdir(pattern):
        inside = (os.path.join(folder, name) for folder, _, names in os.walk(pattern) for name in names)
        files = sorted(name for name in inside if name.endswith(ENDINGS) and not os.path.basename(name).startswith("."))
    else:
        files = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
    held = [(Path(name).as_posix(), os.stat(name)) for name in files if os.path.isfile(name)]
    return [Place(name, status.st_size, str(status.st_mtime_ns)) for name, status in held]


def _remote(pattern: str) -> list[Place]:
    system, path = _system(pattern)
    if glob.has_magic(path):
        listed = retried(lambda: system.glob(path, detail=True), pattern)
        return [_place(system, info) for _, info in sorted(listed.items()) if info["type"] == "file"]
    if not path.endswith(ENDINGS):
        try:
            listed = retried(lambda: system.find(path, detail=True), pattern)
        except FileNotFoundError:
            return []
        return [_place(system, info) for name, info in sorted(listed.items()) if name.endswith(ENDINGS)]
    listing = _listing(pattern.rpartition("/")[0])
    if listing is not None:
        return [_place(system, listing[path])] if path in listing else []
    try:
        return [_place(system, retried(lambda: system.info(path), pattern))]
    except FileNotFoundError:
        return []


def _place(system: Any, info: dict[str, Any]) -> Place:
    marks = (info.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "last_modified", "blob_id"))
    mark = next((str(mark) for mark in marks if mark), "")
    return Place(system.unstrip_protocol(info["name"]), int(info["size"]), mark)


_listed: dict[str, tuple[float, dict[str, dict[str, Any]] | None]] = {}


def _listing(folder: str) -> dict[str, dict[str, Any]] | None:
    """Return the files of a remote folder by name, asked once a minute for all shards of a range; none where it has no list."""
    at, listing = _listed.get(folder, (-60.0, None))
    if time.monotonic() - at >= 60:
        listing = None
        if not folder.startswith(("http://", "https://")):  # What is linked on a page there is no list.
            system, path = _system(folder)
            try:
                held = retried(lambda: system.ls(path, detail=True, refresh=True), folder)
                listing = {info["name"]: info for info in held if info["type"] == "file"}
            except (FileNotFoundError, NotImplementedError):
                listing = {}
        _listed[folder] = time.monotonic(), listing
    return listing


@functools.lru_cache(64)
def _system_of(protocol: str) -> Any:
    try:
        import fsspec
    except ImportError:
        raise DataError(f"{protocol}:// is read by fsspec, which is not installed: pip install 'asterism[shards]'") from None
    try:
        return fsspec.filesystem(protocol)
    except (ImportError, ValueError) as error:
        raise DataError(f"{protocol}:// cannot be read: {error}; pip install 'asterism[shards]' brings s3 and https") from None


def _system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path there."""
    system = _system_of(url.partition("://")[0])
    return system, system._strip_protocol(url)


def retried(ask: Callable[[], _T], what: str) -> _T:
    """Ask a remote place, a few times if it fails.

    Raises:
        FileNotFoundError: it says that there is no such thing.
        DataError: it does not answer.
    """
    for attempt in itertools.count(1):
        try:
            return ask()
        except (FileNotFoundError, NotImplementedError):
            raise
        except PermissionError as error:
            raise DataError(f"{what} may not be read ({error}): check the credentials that fsspec finds") from error
        except Exception as error:  # Every system has errors of its own.
            if attempt == TRIES:
                reason = str(error) or type(error).__name__
                raise DataError(
                    f"{what} does not answer after {TRIES} tries ({reason}): repeat the command when it does; training goes on "
                    "from its last checkpoint"
                ) from error
            time.sleep(2.0 ** (attempt - 2))
    raise AssertionError("unreachable")


def content(url: str, start: int, length: int) -> bytes:
    """Return a range of a shard's bytes.

    Raises:
        FileNotFoundError: the shard is no longer there.
        DataError: a remote shard does not answer, or it holds fewer bytes.
    """
    if is_url(url):
        system, path = _system(url)
        data = retried(lambda: system.cat_file(path, start=start, end=start + length), url)
    else:
        with open(url, "rb", buffering=0) as file:
            file.seek(start)
            data = file.read(length)
            while len(data) < length and (more := file.read(length - len(data))):
                data += more
    if len(data) != length:
        raise DataError(
            f"{url} has changed: it ends before byte {start + length:,}, where a picture was; run the command again"
        )
    return data


def whole(url: str) -> bytes:
    """Return all bytes of a remote file; errors as `content`."""
    system, path = _system(url)
    data: bytes = retried(lambda: system.cat_file(path), url)
    return data


@contextmanager
def reading(place: Place) -> Iterator[IO[bytes]]:
    """Open a shard to read it through."""
    if is_url(place.url):
        system, path = _system(place.url)
        with system.open(path, "rb", block_size=BLOCK, cache_type="readahead") as file:
            yield file
    else:
        with open(place.url, "rb", buffering=2**20) as file:
            yield file
