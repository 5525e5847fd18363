"""List the picture files of a data set and assign each to a split."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asterism.errors import DataError as DataError
from asterism.sound.recordings import is_recording
from asterism.tables.compact import Coded, Words, different
from asterism.tables.names import is_picture
from asterism.wording import some as some

SPLITS = ("train", "val", "test")
LEFT_BEHIND = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Folders that archives and machines leave beside pictures."""


@dataclass(frozen=True)
class Listing:
    """The files of a data set, as a folder holds them now or as it did when it was packed.

    Args:
        root: the folder, or the pack.
        name: of the data set: the folder's.
        pictures, others: names relative to the folder, sorted; see `list_pictures`.
    """

    root: Path
    name: str
    pictures: Sequence[str]
    others: list[str]


def split_of(file: str, identity: str = "") -> str:
    """Choose the split of a file by its identity, or its stem: 90 % train, 5 % val, 5 % test, the same on every machine.

    Files with one identity, or one stem, such as the pictures of a pair in two folders, fall into one split.
    """
    digest = hashlib.sha256((identity or PurePosixPath(file).stem).encode(errors="surrogateescape")).digest()
    share = int.from_bytes(digest[:8], "big") % 100
    return "train" if share < 90 else "val" if share < 95 else "test"


def told_apart(files: Sequence[str], notes: list[str]) -> Sequence[str]:
    """Return what the split of each file goes by: nothing but its stem, or its folder where the stems are those of all folders.

    A folder for each case holds pictures of equal names; the first folders in which paths differ are the cases.
    """
    folders, stems = Coded.of(file.rpartition("/")[0] for file in files), (PurePosixPath(file).stem for file in files)
    if len(folders.kinds) <= different(stems):
        return Coded([""] * len(folders.kinds), folders.codes)
    parts = [folder.split("/") for folder in folders.kinds]
    level = len(os.path.commonprefix(parts))
    notes.append("folders hold pictures of equal names: splits go by the folder, so that its pictures stay together")
    return Coded([folder[level] if len(folder) > level else "" for folder in parts], folders.codes)


def list_pictures(root: Path) -> Listing:
    """List the files below `root`: names of pictures, and names of everything else.

    Hidden folders and what archives leave behind (__MACOSX) are named among the others and not looked into.

    Raises:
        OSError: a folder that may not be read, whose pictures would else be missing without a word.
    """

    def refuse(error: OSError) -> None:
        raise error

    pictures: list[str] = []
    others: list[str] = []
    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        prefix = "" if folder == str(root) else Path(folder).relative_to(root).as_posix() + "/"
        others += [f"{prefix}{name}/" for name in folders if _is_hidden(name)]
        folders[:] = [name for name in folders if not _is_hidden(name) and not _leads_back(folder, name)]
        for name in files:
            (pictures if is_picture(name) and not _is_hidden(name) else others).append(prefix + name)
    return Listing(root, as_text(root.resolve().name), Words.of(sorted(pictures)), sorted(others))


def as_text(name: str) -> str:
    """Return the name of a folder as a label; bytes that are no text, as in Latin-1, are told by their codes."""
    return name.encode(errors="backslashreplace").decode()


def list_recordings(root: Path) -> Listing | None:
    """List the recordings below a folder in the place of pictures; none where they are not more than the pictures."""
    held = list_pictures(root)
    recordings = [name for name in held.others if is_recording(name) and not _is_hidden(name.rpartition("/")[2])]
    others = sorted({*held.pictures, *held.others} - {*recordings})
    return Listing(root, held.name, recordings, others) if len(recordings) > len(held.pictures) else None


def _leads_back(folder: str, name: str) -> bool:
    """Say whether an entry of `folder` is a link to a folder that it lies in, or that other links on the way lie in."""
    path, way = Path(folder, name), (Path(folder), *Path(folder).parents)
    return path.is_symlink() and any(passed.resolve().is_relative_to(path.resolve()) for passed in way)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in LEFT_BEHIND
