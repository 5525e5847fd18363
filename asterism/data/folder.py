"""A folder per domain: DIR/cat/*.jpg, DIR/dog/*.jpg, or the same below DIR/train, DIR/val and DIR/test.

The split may also follow the domain (cat/train), or stand in one name with it (trainA, train_cat, cat_train). What lies in
folders inside a domain belongs to it.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.halves import HALVES
from asterism.data.listing import DataError, Listing, as_text, list_pictures, list_recordings, some, split_of, told_apart
from asterism.data.pairs import INSTANCES, by_names, in_order, name_of_pair
from asterism.labels import LabelGroup
from asterism.sound.recordings import is_recording
from asterism.tables.cells import READERS, is_table
from asterism.tables.names import SPLIT_WORDS

UNLABELLED = ("unlabelled", "unlabeled")
"""Names of the folder of unlabelled pictures, if `config.unlabelled` is keep."""

_SPLIT = f"(?P<split>(?i:{'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))}))"
_DOMAIN, _INSIDE = "(?P<domain>[^/]+)", "(?:/(?P<inside>.*))?"
LAYOUTS = (
    f"{_SPLIT}/{_DOMAIN}{_INSIDE}",
    f"{_DOMAIN}/{_SPLIT}{_INSIDE}",
    f"{_SPLIT}(?P<domain>[A-Z]){_INSIDE}",
    f"{_SPLIT}[_-]{_DOMAIN}{_INSIDE}",
    f"{_DOMAIN}[_-]{_SPLIT}{_INSIDE}",
    f"{_SPLIT}(?P<domain>)(?P<inside>)",
    f"{_DOMAIN}{_INSIDE}",
)
"""How the path of a folder with pictures says their split and domain; the first that fits all folders is taken.

Pictures in a folder above those are left out.
"""

Place = tuple[str, str, str]
"""Split and domain of a picture, empty where that is not said, and the folder inside the domain."""


def read_folder(path: Path, config: DataConfig, packed: Listing | None = None) -> Collection:
    """Read a folder per domain: one `one_of` group, its labels the folders' names in sorted order.

    Pictures that all lie in `path` itself, or in its splits, are a data set without labels.

    Args:
        packed: the files that the folder held when it was packed into `path`.

    Raises:
        DataError: fewer than two domains, where a folder below holds some, it is named; splits beside what is no split.
    """
    listing = packed or list_pictures(path)
    pictures = listing.pictures
    if packed is None and any(map(is_recording, listing.others)) and list_recordings(path):
        raise DataError(f"{path} holds recordings, which are packed first: asterism pack {path} --out PACK, then --data PACK")
    if not pictures:
        there = f" but {some(listing.others, 'other files')}" if listing.others else ""
        raise DataError(
            f"{path} holds no pictures{there}; expected one folder of pictures per domain in it, or a table of labels"
        )
    places = layout(path, pictures)
    placed = {name: (split, domain) for name, (split, domain, _) in places.items()}
    named = {domain for _, domain in placed.values() if domain}
    apart = {domain for domain in named if domain.lower() in INSTANCES and len(named) == 3}  # Of pictures of the other two.
    beside = {name: place for name, place in placed.items() if place[1] in apart}
    placed = {name: place for name, place in placed.items() if name not in beside}
    named -= apart
    nameless = {name for name in named if name.lower() in UNLABELLED} if config.unlabelled == "keep" else set()
    domains, no_labels = sorted(named - nameless), ""
    domains = in_order(domains) or domains
    instances = {(split, name_of_pair(name)): name for name, (split, _) in beside.items()}
    flat = not named and len(placed) == len(pictures)
    if halves := flat and config.pairs not in (None, "names"):
        domains = ["A", "B"]
        sides = tuple(zip(HALVES, domains, strict=True))
        placed = {name + half: (split, domain) for name, (split, _) in placed.items() for half, domain in sides}
    elif len(domains) < 2:
        no_labels = _explain_level(path, pictures, domains, listing.others)
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
    labels = np.array(held, np.uint8).reshape(len(files), len(domains))
    notes = [
        f"the folder {name} is a domain like the others; --data.unlabelled keep takes its pictures without a label"
        for name in domains
        if name.lower() in UNLABELLED
    ]
    if halves:
        notes.append("every picture is two side by side: A is its left half, B its right half")
    said = sorted({split for split, _ in placed.values() if split})
    if domains and said and not all(re.match(f"{_SPLIT}/", file) for file, (_, domain) in placed.items() if domain):
        notes.append(f"folders are the splits {', '.join(said)} of the domains {', '.join(domains[:3])}")
    if deeper := [name for name, (*_, inside) in places.items() if inside]:
        notes.append(some(deeper, "pictures in folders inside a domain, which belong to it", 1))
    if packed is None and (empty := _empty(path, pictures)):
        notes.append(some(empty, "folders without pictures, which make no domain"))
    inner = [f"{places[name][2]}/{name_of_pair(name)}" if name in places else name for name in files]
    cases = told_apart(inner, notes)
    return Collection(
        name=listing.name,
        root=path,
        files=files,
        groups=(LabelGroup(listing.name, tuple(map(as_text, domains)), "one_of" if domains else "binary"),),
        labels=labels,
        known=np.repeat(labels.any(1, keepdims=True), len(domains), axis=1),
        split=[
            split or split_of(name, who or name_of_pair(name))
            for (name, (split, _)), who in zip(placed.items(), cases, strict=True)
        ],
        identity=by_names(placed, domains, config.pairs, notes),
        unlabelled=[name for name in pictures if name not in places],
        stray=listing.others,
        notes=notes,
        no_labels=no_labels,
        instances={name: found for name, (split, _) in placed.items() if (found := instances.get((split, name_of_pair(name))))},
    )


def layout(path: Path, pictures: Sequence[str]) -> dict[str, Place]:
    """Return the place of each picture that lies in a folder, by the first of LAYOUTS that fits; of all where none does.

    Raises:
        DataError: some folders are splits of domains, and others are neither.
    """
    folders = {name: name.rpartition("/")[0] for name in pictures}
    present = sorted({folder for folder in folders.values() if folder})
    if not present:
        return dict.fromkeys(pictures, ("", "", ""))
    for number, pattern in enumerate(LAYOUTS):
        found = {f: {"split": ""} | m.groupdict() for f in present if (m := re.fullmatch(pattern, f))}
        above = {f for f in present if re.fullmatch(_SPLIT, f) or any(inner.startswith(f + "/") for inner in found)}
        others = [folder for folder in present if folder not in found and folder not in above]
        splits = defaultdict(set)
        for said in found.values():
            splits[said["domain"]].add(SPLIT_WORDS.get(said["split"].lower(), ""))
        if found and others and (any(len(held) > 1 for held in splits.values()) or (number == 0 and len(splits) > 1)):
            words = sorted({said["split"] for said in found.values()})
            raise DataError(
                f"{path} holds the splits {' and '.join(words)}, and beside them {some(others, 'folders')} that belong to "
                "none: move these to another place, or into a split"
            )
        joined = 2 <= number <= 4 and sum("train" in held for held in splits.values()) < 2
        if found and not others and not joined and (number != 1 or len(splits) > 1):
            places = {f: (SPLIT_WORDS.get(m["split"].lower(), ""), m["domain"], m["inside"] or "") for f, m in found.items()}
            return {name: places[folder] for name, folder in folders.items() if folder in places}
    raise AssertionError("the last layout fits all folders")


def _empty(path: Path, pictures: Sequence[str]) -> list[str]:
    """Return the folders that could be domains, below `path` or below its splits, and hold no pictures."""
    folders = [name.split("/")[:-1] for name in pictures if "/" in name]
    level = int(all(folder[0].lower() in SPLIT_WORDS for folder in folders))
    tops = {path / folder[0] for folder in folders} if level else {path}
    inside = {f.name for top in tops for f in top.iterdir() if f.is_dir() and not f.name.startswith((".", "__MACOSX"))}
    return sorted(inside - {folder[level] for folder in folders if len(folder) > level})


def _explain_level(path: Path, pictures: Sequence[str], domains: list[str], others: list[str]) -> str:
    """Say why there are fewer than two domains at `path`, and where there are some, if that can be seen."""
    expected = f"expected two or more folders of pictures, one per domain, such as {path / 'cat'} and {path / 'dog'}"
    bare = f"pictures, such as {pictures[0]} (--data.pairs AtoB reads each as two side by side), but no folder per domain"
    found = f"one domain only ({domains[0]})" if domains else bare
    if tables := [n for n in others if "/" not in n and n.lower().endswith((*READERS, ".xlsx", ".ods")) and n[0] != "."]:
        expected += f" ({tables[0]} is not read as a table: expected a .csv with a column 'file', or CelebA's format)"
    likely = _likely_root(path, pictures)
    hint = f"; the pictures are at another folder level: did you mean --data {likely}?" if likely else ""
    return f"{path} holds {found}; {expected}, or a table of labels beside the pictures{hint}"


def _likely_root(path: Path, pictures: Sequence[str]) -> Path | None:
    """Find the folder below `path` that holds two domains or more, or that above it with a table of its pictures."""
    folders = [name.rpartition("/")[0] for name in pictures]
    if not all(folders):
        above = path.resolve().parent
        return above if os.access(above, os.R_OK) and is_table(above) else None
    common = Path(os.path.commonpath(folders))
    for root in (common, *common.parents[:-1]):
        inside = [str(Path(name).relative_to(root).as_posix()) for name in pictures]
        if root.name.lower() not in SPLIT_WORDS and len({domain for _, domain, _ in layout(path / root, inside).values()}) > 1:
            return path / root
    return None
