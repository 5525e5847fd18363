"""Collection: one data set as a list of files with labels and splits, as a source returns it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asterism.data.listing import some
from asterism.data.pack import Pack
from asterism.labels import LabelGroup
from asterism.tables.compact import Coded, Words


@dataclass
class Collection:
    """One data set: M pictures with D labels; D is 0 where nothing says what they show.

    Args:
        name: of the data set.
        root: folder that the files' names are relative to.
        files: names of the pictures, with forward slashes.
        groups: label groups; their labels, in order, are the columns of `labels`.
        labels: uint8 [M, D], with numbers among them float32: 1 holds, 0 does not, or a number; 0 where unknown.
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
        instances: label map -> its map of instances.
        tables: the files that labels and splits come from.
    """

    name: str
    root: Path
    files: Sequence[str]
    groups: tuple[LabelGroup, ...]
    labels: np.ndarray[Any, np.dtype[Any]]
    known: np.ndarray[Any, np.dtype[np.bool_]]
    split: Sequence[str]
    identity: Sequence[str] | None = None
    columns: tuple[str, ...] = ()
    missing: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    no_labels: str = ""
    pack: Pack | None = None
    instances: dict[str, str] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Hold what has a part for each picture in little memory."""
        self.files, self.split = Words.of(self.files), Coded.of(self.split)

    def remarks(self) -> list[str]:
        """Return the notes and what was left out, as sentences for a person."""
        left_out = (
            (self.missing, "rows of the table without a picture, left out"),
            (self.unlabelled, "pictures without a label, left out"),
            (self.stray, "other files, ignored"),
        )
        return self.notes + [some(names, what) for names, what in left_out if names]
