"""Collection: what a source hands over, one data set as a list of files with labels and splits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from asterism.data.pictures import SUFFIXES
from asterism.errors import AsterismError
from asterism.labels import LabelGroup

if TYPE_CHECKING:
    from asterism.data.pack import Pack

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""How folders and tables name the splits."""


class DataError(AsterismError, ValueError):
    """Data that cannot be trained on; the message says what was found, what was expected and what to do."""


@dataclass(frozen=True)
class Listing:
    """The files of a data set, as a folder holds them now or as it did when it was packed.

    Args:
        name: of the data set: the folder's.
        pictures, others: names relative to the folder, sorted; see `list_pictures`.
    """

    name: str
    pictures: list[str]
    others: list[str]


@dataclass
class Collection:
    """One data set: M pictures with D labels; D is 0 where nothing says what they show.

    Args:
        name: of the data set.
        root: folder that the files' names are relative to.
        files: names of the pictures, with forward slashes.
        groups: label groups; their labels, in order, are the columns of `labels`.
        labels: float32 [M, D]: 1 holds, 0 does not, or a number; 0 where unknown.
        known: bool [M, D].
        split: "train", "val" or "test" for each picture.
        identity: what pictures of the same thing share (pairs, persons), or none.
        columns: label columns that the source could have given, used or not.
        missing: pictures that a table names and that are not there.
        unlabelled: pictures that are there and belong to no label.
        stray: other files.
        notes: sentences on what was chosen.
        no_labels: where there are no labels, what was found and what was expected.
        pack: where the pictures' pixels are, if not in files of their own.
    """

    name: str
    root: Path
    files: list[str]
    groups: tuple[LabelGroup, ...]
    labels: np.ndarray[Any, np.dtype[np.float32]]
    known: np.ndarray[Any, np.dtype[np.bool_]]
    split: list[str]
    identity: list[str] | None = None
    columns: tuple[str, ...] = ()
    missing: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    no_labels: str = ""
    pack: Pack | None = None

    def remarks(self) -> list[str]:
        """Return the notes and what was left out, as sentences for a person."""
        left_out = (
            (self.missing, "rows of the table without a picture, left out"),
            (self.unlabelled, "pictures without a label, left out"),
            (self.stray, "other files, ignored"),
        )
        return self.notes + [some(names, what) for names, what in left_out if names]


def split_of(file: str, identity: str = "") -> str:
    """Choose the split of a file by its identity, or its stem: 90 % train, 5 % val, 5 % test, the same on every machine.

    Files with one identity, or one stem, such as the pictures of a pair in two folders, fall into one split.
    """
    digest = hashlib.sha256((identity or PurePosixPath(file).stem).encode()).digest()
    share = int.from_bytes(digest[:8], "big") % 100
    return "train" if share < 90 else "val" if share < 95 else "test"


def list_pictures(root: Path) -> Listing:
    """List the files below `root`: names of pictures, and names of everything else.

    Hidden folders and what archives leave behind (__MACOSX) are named among the others and not looked into.
    """
    pictures: list[str] = []
    others: list[str] = []
    for folder, folders, files in os.walk(root, followlinks=True):
        prefix = "" if folder == str(root) else Path(folder).relative_to(root).as_posix() + "/"
        others += [f"{prefix}{name}/" for name in folders if _is_hidden(name)]
        folders[:] = [name for name in folders if not _is_hidden(name) and not _leads_back(folder, name)]
        for name in files:
            is_picture = not _is_hidden(name) and name.lower().endswith(SUFFIXES)
            (pictures if is_picture else others).append(prefix + name)
    return Listing(root.resolve().name, sorted(pictures), sorted(others))


def _leads_back(folder: str, name: str) -> bool:
    """Say whether an entry of `folder` is a link to a folder that it lies in."""
    path = os.path.join(folder, name)
    return os.path.islink(path) and Path(folder).resolve().is_relative_to(os.path.realpath(path))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def some(names: Sequence[str], what: str, shown: int = 3) -> str:
    """Say how many of what, and the first few names: 'other files: 5 (a.txt, b.txt, c.txt, ...)'."""
    return f"{what}: {len(names):,} ({', '.join(names[:shown])}{', ...' if len(names) > shown else ''})"
