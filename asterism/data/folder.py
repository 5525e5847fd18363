"""A folder per domain: DIR/cat/*.jpg, DIR/dog/*.jpg, or the same below DIR/train, DIR/val and DIR/test."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.listing import SPLIT_WORDS, DataError, Listing, list_pictures, some, split_of
from asterism.data.pictures import SUFFIXES
from asterism.data.table import is_table
from asterism.labels import LabelGroup

UNLABELLED = ("unlabelled", "unlabeled")
"""Names of the folder of unlabelled pictures, if `config.unlabelled` is keep."""


def is_folder(path: Path) -> bool:
    """Say whether this source reads `path`."""
    return path.is_dir()


def read_folder(path: Path, config: DataConfig, packed: Listing | None = None) -> Collection:
    """Read a folder per domain: one `one_of` group, its labels the folders' names in sorted order.

    Pictures that all lie in `path` itself, or in its splits, are a data set without labels.

    Args:
        packed: the files that the folder held when it was packed into `path`.

    Raises:
        DataError: fewer than two domains; where the pictures lie at another level, the likely right path is named.
    """
    listing = packed or list_pictures(path)
    pictures = listing.pictures
    if not pictures:
        there = f" but {some(listing.others, 'other files')}" if listing.others else ""
        raise DataError(
            f"{path} holds no pictures{there}; expected one folder of pictures per domain in it, or a table of labels"
        )
    folders = {name.split("/")[0].lower() for name in pictures if "/" in name}
    has_splits = bool(folders) and folders <= SPLIT_WORDS.keys()
    level = 1 if has_splits else 0  # Where in a file's name its domain stands.
    placed = {name: parts for name in pictures if len(parts := name.split("/")) == level + 2}
    named = {parts[level] for parts in placed.values()}
    nameless = {name for name in named if name.lower() in UNLABELLED} if config.unlabelled == "keep" else set()
    domains, no_labels = sorted(named - nameless), ""
    if len(domains) < 2:
        no_labels = _explain_level(path, pictures, domains)
        if any(name.count("/") != level for name in pictures):
            raise DataError(no_labels)
        placed = {name: name.split("/") for name in pictures}

    files = list(placed)
    held = [[parts[level] == domain for domain in domains] for parts in placed.values()]
    labels = np.array(held, np.float32).reshape(len(files), len(domains))
    notes = [
        f"the folder {name} is a domain like the others; --data.unlabelled keep takes its pictures without a label"
        for name in domains
        if name.lower() in UNLABELLED
    ]
    if packed is None and (empty := _empty(path, pictures, level)):
        notes.append(some(empty, "folders without pictures, which make no domain"))
    return Collection(
        name=listing.name,
        root=path,
        files=files,
        groups=(LabelGroup(listing.name, tuple(domains), "one_of" if domains else "binary"),),
        labels=labels,
        known=np.repeat(labels.any(1, keepdims=True), len(domains), axis=1),
        split=[SPLIT_WORDS[parts[0].lower()] if has_splits else split_of(name) for name, parts in placed.items()],
        unlabelled=[name for name in pictures if name not in placed],
        stray=listing.others,
        notes=notes,
        no_labels=no_labels,
    )


def _empty(path: Path, pictures: list[str], level: int) -> list[str]:
    """Return the folders that could be domains, below `path` or below its splits, and hold no pictures."""
    tops = {path / name.split("/")[0] for name in pictures if "/" in name} if level else {path}
    inside = {f.name for top in tops for f in top.iterdir() if f.is_dir() and not f.name.startswith((".", "__MACOSX"))}
    return sorted(inside - {name.split("/")[level] for name in pictures if name.count("/") > level})


def _explain_level(path: Path, pictures: list[str], domains: list[str]) -> str:
    """Say why there are fewer than two domains at `path`, and where they probably are."""
    expected = f"expected two or more folders of pictures, one per domain, such as {path / 'cat'} and {path / 'dog'}"
    found = f"one domain only ({domains[0]})" if domains else f"pictures, such as {pictures[0]}, but no folder per domain"
    tables = sorted(f.name for f in path.iterdir() if f.suffix.lower() in (".csv", ".txt") and not f.name.startswith("."))
    if tables:
        expected += f" ({tables[0]} is not a table: expected a .csv with a column 'file', or CelebA's format)"
    likely = _likely_root(path, pictures)
    if likely is not None:
        return f"{path} holds {found}: the pictures are at another folder level; did you mean --data {likely}?"
    return f"{path} holds {found}; {expected}, or a table of labels beside the pictures"


def _likely_root(path: Path, pictures: list[str]) -> Path | None:
    """Find the folder below or just above `path` that has two or more folders of pictures."""
    folders = defaultdict(set)
    for name in pictures:
        holder = (path / name).parent
        folders[holder.parent].add(holder.name)
    inside = [root for root, names in folders.items() if len(names) > 1 and root not in (path, path.parent)]
    if inside:
        root = min(inside, key=lambda folder: len(folder.parts))
        return root.parent if root.name.lower() in SPLIT_WORDS and root.parent != path else root
    if any("/" not in name for name in pictures):  # Perhaps `path` is the folder of one domain, or of a table's pictures.
        above = path.resolve().parent
        if is_table(above) or sum(map(_holds_pictures, above.iterdir())) > 1:
            return above
    return None


def _holds_pictures(path: Path) -> bool:
    try:
        return path.is_dir() and any(f.suffix.lower() in SUFFIXES for f in path.iterdir())
    except PermissionError:  # Someone else's folder, beside the one that was named.
        return False
