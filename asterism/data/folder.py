"""A folder per domain: DIR/cat/*.jpg, DIR/dog/*.jpg, or the same below DIR/train, DIR/val and DIR/test."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from asterism.config import DataConfig
from asterism.data.collection import SPLIT_WORDS, Collection, DataError, Listing, list_pictures, some, split_of
from asterism.data.pictures import SUFFIXES
from asterism.data.table import is_table
from asterism.labels import LabelGroup


def is_folder(path: Path) -> bool:
    """Say whether this source reads `path`."""
    return path.is_dir()


def read_folder(path: Path, config: DataConfig, packed: Listing | None = None) -> Collection:
    """Read a folder per domain: one `one_of` group, its labels the folders' names in sorted order.

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
    domains = sorted({parts[level] for parts in placed.values()})
    if len(domains) < 2:
        raise DataError(_explain_level(path, pictures, domains))

    files = list(placed)
    labels = np.zeros((len(files), len(domains)), np.uint8)
    labels[np.arange(len(files)), [domains.index(parts[level]) for parts in placed.values()]] = 1
    return Collection(
        name=listing.name,
        root=path,
        files=files,
        groups=(LabelGroup(listing.name, tuple(domains), "one_of"),),
        labels=labels,
        known=np.ones(labels.shape, bool),
        split=[SPLIT_WORDS[parts[0].lower()] if has_splits else split_of(name) for name, parts in placed.items()],
        unlabelled=[name for name in pictures if name not in placed],
        stray=listing.others,
        notes=[some(empty, "folders without pictures, which make no domain")]
        if packed is None and (empty := _empty(path, pictures, level))
        else [],
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
        expected += f" ({tables[0]} is none: expected a .csv with a column 'file', or CelebA's format)"
    likely = _likely_root(path, pictures)
    if likely is not None:
        return f"{path} holds {found}: the data lie at another level; did you mean --data {likely}?"
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
