"""The pictures and films that addresses and patterns mean, here or in a store, and what their results are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from asterism.batch.stores import is_remote, store
from asterism.inference.inputs import find_pictures, told_apart
from asterism.inference.outcome import FolderError
from asterism.inference.video import VIDEOS
from asterism.tables.names import is_picture

MAGIC = "*?["


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
    return is_picture(name) or is_film(name)


def is_film(name: str) -> bool:
    """Say whether a file is a film by its name."""
    return PurePosixPath(name).suffix.lower() in VIDEOS
