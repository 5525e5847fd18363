"""A folder per domain: DIR/cat/*.jpg, DIR/dog/*.jpg, or the same below DIR/train, DIR/val and DIR/test.

The split may also follow the domain (cat/train), or stand in one name with it (trainA, train_cat, cat_train).
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.halves import HALVES
from asterism.data.listing import SPLIT_WORDS, DataError, Listing, list_pictures, list_recordings, some, split_of
from asterism.data.pairs import INSTANCES, by_names, in_order, name_of_pair
from asterism.data.pictures import SUFFIXES
from asterism.data.table import is_table
from asterism.labels import LabelGroup

UNLABELLED = ("unlabelled", "unlabeled")
"""Names of the folder of unlabelled pictures, if `config.unlabelled` is keep."""

_WORDS = f"(?P<split>(?i:{'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))}))"
_JOINED = (rf"{_WORDS}(?P<domain>[A-Z])", rf"{_WORDS}[_-](?P<domain>.+)", rf"(?P<domain>.+)[_-]{_WORDS}")
"""How one folder's name says split and domain."""


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
        if list_recordings(path):
            raise DataError(
                f"{path} holds recordings, which are packed first: asterism pack {path} --out PACK, then --data PACK"
            )
        there = f" but {some(listing.others, 'other files')}" if listing.others else ""
        raise DataError(
            f"{path} holds no pictures{there}; expected one folder of pictures per domain in it, or a table of labels"
        )
    level, placed = _places(pictures)
    beside = {name: place for name, place in placed.items() if place[1].lower() in INSTANCES}
    if len({domain for _, domain in placed.values() if domain}) == 3:  # They belong to the pictures of the other two.
        placed = {name: place for name, place in placed.items() if name not in beside}
    else:
        beside = {}
    named = {domain for _, domain in placed.values() if domain}
    nameless = {name for name in named if name.lower() in UNLABELLED} if config.unlabelled == "keep" else set()
    domains, no_labels, taken = sorted(named - nameless), "", {*placed, *beside}
    domains = in_order(domains) or domains
    instances = {(split, name_of_pair(name)): name for name, (split, _) in beside.items()}
    flat = all(name.count("/") == level for name in pictures)
    if flat and config.pairs:
        domains = ["A", "B"]
        sides = tuple(zip(HALVES, domains, strict=True))
        placed = {name + half: (split, domain) for name, (split, _) in placed.items() for half, domain in sides}
    elif len(domains) < 2:
        no_labels = _explain_level(path, pictures, domains)
        levels = {name.count("/"): name for name in reversed(pictures)}
        if config.pairs and len(levels) > 1:
            raise DataError(
                f"--data.pairs {config.pairs}: {path} holds pictures at several levels, such as "
                f"{' and '.join(sorted(levels.values()))}; expected two folders of pictures of equal names, or no folders but "
                "splits, of pictures that are two side by side"
            )
        if not flat:
            raise DataError(no_labels)

    files = list(placed)
    held = [[own == domain for domain in domains] for _, own in placed.values()]
    labels = np.array(held, np.float32).reshape(len(files), len(domains))
    notes = [
        f"the folder {name} is a domain like the others; --data.unlabelled keep takes its pictures without a label"
        for name in domains
        if name.lower() in UNLABELLED
    ]
    if flat and config.pairs:
        notes.append("every picture is two side by side: A is its left half, B its right half")
    if packed is None and (empty := _empty(path, pictures, level)):
        notes.append(some(empty, "folders without pictures, which make no domain"))
    return Collection(
        name=listing.name,
        root=path,
        files=files,
        groups=(LabelGroup(listing.name, tuple(domains), "one_of" if domains else "binary"),),
        labels=labels,
        known=np.repeat(labels.any(1, keepdims=True), len(domains), axis=1),
        split=[split or split_of(name, name_of_pair(name)) for name, (split, _) in placed.items()],
        identity=by_names(placed, domains, config.pairs, notes),
        unlabelled=[name for name in pictures if name not in taken],
        stray=listing.others,
        notes=notes,
        no_labels=no_labels,
        instances={name: found for name, (split, _) in placed.items() if (found := instances.get((split, name_of_pair(name))))},
    )


def _places(pictures: list[str]) -> tuple[int, dict[str, tuple[str, str]]]:
    """Return the level at which domains stand, and the split and domain of each picture in one, empty where that is not said.

    Where all pictures lie where folders of domains should, none has a domain.
    """
    folders = {name: name.split("/")[:-1] for name in pictures}
    tops = {f[0] for f in folders.values() if f}
    if not tops:
        return 0, dict.fromkeys(pictures, ("", ""))
    if all(top.lower() in SPLIT_WORDS for top in tops):
        flat = all(len(f) == 1 for f in folders.values())
        inside = {name: f for name, f in folders.items() if flat or len(f) == 2}
        return 1, {name: (SPLIT_WORDS[f[0].lower()], "" if flat else f[1]) for name, f in inside.items()}
    if len(tops) > 1 and all(len(f) == 2 and f[1].lower() in SPLIT_WORDS for f in folders.values()):
        return 0, {name: (SPLIT_WORDS[f[1].lower()], f[0]) for name, f in folders.items()}
    said = {top: ("", top) for top in tops}
    for pattern in _JOINED:
        found = {top: (SPLIT_WORDS[m["split"].lower()], m["domain"]) for top in tops if (m := re.fullmatch(pattern, top))}
        said = found if len(found) == len(tops) and len({domain for _, domain in found.values()}) > 1 else said
    return 0, {name: said[f[0]] for name, f in folders.items() if len(f) == 1}


def _empty(path: Path, pictures: list[str], level: int) -> list[str]:
    """Return the folders that could be domains, below `path` or below its splits, and hold no pictures."""
    tops = {path / name.split("/")[0] for name in pictures if "/" in name} if level else {path}
    inside = {f.name for top in tops for f in top.iterdir() if f.is_dir() and not f.name.startswith((".", "__MACOSX"))}
    return sorted(inside - {name.split("/")[level] for name in pictures if name.count("/") > level})


def _explain_level(path: Path, pictures: list[str], domains: list[str]) -> str:
    """Say why there are fewer than two domains at `path`, and where they probably are."""
    expected = f"expected two or more folders of pictures, one per domain, such as {path / 'cat'} and {path / 'dog'}"
    bare = f"pictures, such as {pictures[0]} (--data.pairs AtoB reads each as two side by side), but no folder per domain"
    found = f"one domain only ({domains[0]})" if domains else bare
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
