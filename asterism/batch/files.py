"""Pictures and results here or in a store: local paths, and the addresses that fsspec knows, such as s3://bucket/folder.

An address of a store has a scheme (`s3://`, `gs://`, `file://`); everything else is a local path.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from asterism.config import ConfigError
from asterism.inference.inputs import find_pictures, told_apart
from asterism.inference.outcome import FolderError
from asterism.inference.video import VIDEOS
from asterism.storage.whole import writing
from asterism.tables.names import is_picture

MAGIC = "*?["


def is_remote(address: str) -> bool:
    """Say whether an address is of a store."""
    return "://" in address


def store(address: str) -> tuple[Any, str]:
    """Return the file system of an address and the path in it.

    Raises:
        ConfigError: fsspec, or what it needs for this scheme, is not installed.
    """
    try:
        import fsspec

        fs, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ConfigError(f'{address}: {error}; pip install "asterism[ray]", and s3fs, gcsfs or adlfs for its store') from error
    return fs, str(path)


def found_pictures(inputs: Sequence[str], out: str, passed: list[str]) -> dict[str, tuple[str, str]]:
    """Return what is to be translated: absolute source -> its result's name, as `find_pictures` gives it, and its state.

    Args:
        inputs: pictures, films, folders and patterns such as `in/**` or `s3://bucket/**/*.png`, local or of a store.
        out: where results are written, which is not searched.
        passed: to which what is passed over is added.

    Raises:
        FolderError: as `find_pictures`.
    """
    local = [path for given in inputs if not is_remote(given) for path in _local(given)]
    names: dict[str, str] = {}
    states: dict[str, str] = {}
    if local:
        for path, name in find_pictures(local, None if is_remote(out) else Path(out), passed):
            path = path.absolute()  # Workers have another working folder.
            names[str(path)], states[str(path)] = name, state_of(path)
    longer = {source: f"{Path(source).parent.name}/{Path(source).stem}" for source in names}
    for given in filter(is_remote, inputs):
        for source, (name, state) in _remote(given, out, passed).items():
            names.setdefault(source, name)
            states[source] = state
            longer.setdefault(source, f"{PurePosixPath(source).parent.name}/{PurePosixPath(source).stem}")
    names = told_apart(names, longer)
    return {source: (name, states[source]) for source, name in names.items()}


def state_of(path: Path) -> str:
    """Return what tells whether a file is still the same: its size and when it was changed."""
    stat = os.stat(path)
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def _local(given: str) -> list[Path]:
    """Return the paths that a pattern means; `folder/**` is the folder."""
    folder = given.removesuffix("/**")
    if folder != given and os.path.isdir(folder):
        return [Path(folder)]
    if os.path.exists(given) or not any(c in given for c in MAGIC):
        return [Path(given)]
    matching = sorted(path for path in map(Path, glob.glob(given, recursive=True)) if path.is_dir() or _is_wanted(path.name))
    if not matching:
        raise FolderError(f"no picture or folder matches {given}")
    return matching


def _remote(given: str, out: str, passed: list[str]) -> dict[str, tuple[str, str]]:
    """Return the pictures and films of a store's address: source -> name and state."""
    fs, path = store(given)
    fixed = path.rstrip("/")
    if any(c in path for c in MAGIC):
        fixed = path[: min(path.index(c) for c in MAGIC if c in path)].rpartition("/")[0]
    try:
        whole = path.removesuffix("/**").rstrip("/") == fixed
        held = fs.find(fixed, detail=True) if whole else fs.glob(path, detail=True)
    except (FileNotFoundError, PermissionError) as error:
        raise FolderError(f"{given} cannot be read: {error}") from error
    written = store(out)[1].rstrip("/") + "/" if is_remote(out) else None
    result = {}
    for name, info in sorted(held.items()):
        below = name[len(fixed) :].lstrip("/") or PurePosixPath(name).name
        hidden = any(part.startswith(".") for part in PurePosixPath(below).parts)
        if info["type"] != "file" or hidden or (written and name.startswith(written)):
            continue
        if not _is_wanted(name):
            passed.append(name)
            continue
        changed = next((info[key] for key in ("ETag", "etag", "mtime", "LastModified", "created") if info.get(key)), "")
        state = f"{info.get('size', 0)}-{str(changed).strip(chr(34))}"
        result[fs.unstrip_protocol(name)] = (PurePosixPath(below).with_suffix("").as_posix(), state)
    if not result:
        raise FolderError(f"{given} holds no pictures")
    return result


def _is_wanted(name: str) -> bool:
    return is_picture(name) or PurePosixPath(name).suffix.lower() in VIDEOS


class Place:
    """A folder for results, here or in a store; what is written to it is there as a whole or not at all.

    Stores put an object as a whole; where a scheme writes in parts (such as `sftp://`), that is as good as it does.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") if is_remote(address) else str(Path(address).absolute())
        self.remote = is_remote(address)

    def names(self) -> set[str]:
        """Return the names of all files in it, relative to it."""
        if self.remote:
            fs, path = store(self.address)
            fs.invalidate_cache()
            try:
                return {name[len(path) :].lstrip("/") for name in fs.find(path)}
            except FileNotFoundError:
                return set()
        walked = os.walk(self.address)
        return {os.path.relpath(os.path.join(folder, file), self.address) for folder, _, files in walked for file in files}

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        if self.remote:
            fs, path = store(self.address)
            return bytes(fs.cat_file(f"{path}/{name}"))
        return Path(self.address, name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write a file, or replace it."""
        if self.remote:
            fs, path = store(self.address)
            target = f"{path}/{name}"
            fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            fs.pipe_file(target, content)
        else:
            with writing(Path(self.address, name)) as partial:
                partial.write_bytes(content)

    def remove(self, name: str) -> None:
        """Remove a file."""
        if self.remote:
            fs, path = store(self.address)
            fs.rm_file(f"{path}/{name}")
        else:
            Path(self.address, name).unlink()
