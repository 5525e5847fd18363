"""Which sources are shards, and which are folders, tables and archives that other readers take."""

from __future__ import annotations

import glob
import os
import tarfile
from pathlib import Path

from asterism.shards.places import ENDINGS, expanded, is_url, normal
from asterism.shards.tables import holds_pictures
from asterism.tables.names import SPLIT_WORDS, is_picture

SNIFFED = 16
"""Members of a tar that are looked at to see whether it is a WebDataset."""

LABELS = ("cls", "json")
"""Endings of a WebDataset's members that hold labels."""


def is_shards(source: str | os.PathLike[str]) -> bool:
    """Say whether a source is shards.

    URLs are, and so are braces and globs of shards. A tar is if labels lie in it beside pictures, else it is an archive; a
    Parquet file if it has a column of pictures, else it is a table; a folder if it holds such files and no pictures.
    """
    text = normal(source)
    if is_url(text):
        return True
    if not os.path.exists(text):
        return text.endswith(ENDINGS) and ("{" in text or glob.has_magic(text))
    return _holds_shards(Path(text)) if os.path.isdir(text) else _is_shard(text)


def exists(source: str | os.PathLike[str]) -> bool:
    """Say whether a source is there; of a URL that is believed until it is read."""
    text = normal(source)
    if is_url(text) or os.path.exists(text):
        return True
    return is_shards(text) and any(os.path.exists(name) or glob.glob(name) for name in expanded(text))


def absolute(source: str | os.PathLike[str]) -> str:
    """Return a source as it holds wherever it is read: a URL as it is, a path in full."""
    return os.fspath(source) if is_url(os.fspath(source)) else str(Path(source).expanduser().absolute())


def _is_shard(file: str) -> bool:
    if file.endswith(".tar"):
        return _is_webdataset(file)
    return file.endswith((".parquet", ".arrow")) and holds_pictures(file)


def _holds_shards(folder: Path) -> bool:
    """Say whether a folder holds shards and nothing that another reader would take."""
    with os.scandir(folder) as entries:
        names = {entry.name: entry.is_dir() for entry in entries if not entry.name.startswith(".")}
    if any(is_picture(name) for name, inside in names.items() if not inside):
        return False
    if any(inside and name.lower() not in {*SPLIT_WORDS, "data", "default"} for name, inside in names.items()):
        return {"dataset_dict.json", "state.json"} & names.keys() != set()
    below = (path for name, inside in names.items() if inside for path in sorted(folder.joinpath(name).glob("*")))
    held = (path for path in (*(folder / name for name in sorted(names)), *below) if path.name.endswith(ENDINGS))
    first = next(held, None)
    return first is not None and _is_shard(first.as_posix())


def _is_webdataset(file: str) -> bool:
    """Say whether, among the first members of a tar, one with labels lies beside a picture of the same name."""
    pictures, labels = set[str](), set[str]()
    try:
        with tarfile.open(file, "r:") as taped:
            for member, _ in zip(taped, range(SNIFFED), strict=False):
                folder, _, base = member.name.rpartition("/")
                key, _, ending = base.partition(".")
                if member.isfile() and is_picture(member.name):
                    pictures.add(f"{folder}/{key}")
                elif member.isfile() and ending.lower() in LABELS:
                    labels.add(f"{folder}/{key}")
    except (tarfile.TarError, OSError):
        pass  # What could be read decides.
    return bool(pictures & labels)
