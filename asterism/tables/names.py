"""Which pictures the names in a table mean: by their own words, or by the last parts of paths, in any case and Unicode form."""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from asterism.errors import DataError
from asterism.wording import some

SUFFIXES: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".npy", ".pgm", ".ppm")
SUFFIXES += (".jpe", ".jfif", ".jp2", ".j2k", ".jpx", ".avif", ".apng", ".pbm", ".pnm", ".tga", ".dib", ".heic", ".heif")
"""Endings of picture files."""

SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val"}
SPLIT_WORDS |= {"test": "test", "testing": "test"}
"""Names of the splits in folders and tables, in lower case."""

PICTURE_FOLDERS = ("", "images/", "img_align_celeba/")
"""Where a table's pictures lie beside it; of several pictures of one name those in such a folder are meant."""


def is_picture(cell: str) -> bool:
    """Say whether a cell is the name of a picture file."""
    return cell.lower().endswith(SUFFIXES)


def match(names: Sequence[str], pictures: Sequence[str], notes: list[str]) -> list[str | None]:
    """Return for each name the picture that it means, or none.

    Names count first as they are written, then by their last part, then by this without its suffix. Where both have folders,
    the path of one has to end with the other's, but for paths of another machine. A picture that one name means by its own
    words is not found for another.

    Args:
        notes: to which a sentence is added where names are not those of the files.

    Raises:
        DataError: a name that may mean several pictures.
    """
    left, plain = set(pictures), [name.replace("\\", "/").removeprefix("./") for name in names]
    found = [
        next((file for base in PICTURE_FOLDERS if (file := base + name) in left), None) if name else None for name in plain
    ]
    loosely = []
    for suffixes in ((), SUFFIXES):
        missing = [i for i, name in enumerate(plain) if name and found[i] is None]
        if not missing:
            break
        left -= {*found}
        held = defaultdict(list)
        for file in left:
            held[_parts(file, suffixes)[0]].append(file)
        for i in missing:
            if candidates := held.get(_parts(plain[i], suffixes)[0]):
                found[i] = _choose(plain[i], candidates, suffixes)
                loosely += [f"{plain[i]} is {found[i]}"] if found[i] else []
    if loosely:
        notes.append(some(loosely, "pictures found by the last part of a name", 1))
    return found


def repeated(names: Sequence[str]) -> list[str]:
    """Return the names that come more than once, each once."""
    hashes = np.fromiter(map(hash, names), np.int64, len(names))  # Of millions: to count names themselves takes much memory.
    held, counts = np.unique(hashes, return_counts=True)
    if len(held) == len(names):
        return []
    likely = np.flatnonzero(np.isin(hashes, held[counts > 1])).tolist()
    return [name for name, count in Counter(names[row] for row in likely).items() if count > 1]


def nearest(name: str, pictures: Sequence[str]) -> str:
    """Say which picture's name is most like a name that none has; empty where there are no pictures."""
    close = difflib.get_close_matches(name, pictures[:10_000], 1, 0.0)
    return f"; of the pictures there, {close[0]} is most like {name}" if close else "; there are no pictures"


def _parts(name: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return the parts of a path from the last to the first, alike for names that differ in case or Unicode form only."""
    last, *folders = reversed(unicodedata.normalize("NFC", name).casefold().split("/"))
    ending = PurePosixPath(last).suffix
    return [last.removesuffix(ending) if ending in suffixes else last, *folders]


def _choose(name: str, candidates: list[str], suffixes: tuple[str, ...]) -> str | None:
    wanted = _parts(name, suffixes)
    agreeing = [f for f in candidates if all(a == b for a, b in zip(_parts(f, suffixes), wanted, strict=False))]
    usual = [f for f in agreeing if f"{PurePosixPath(f).parent.name}/" in PICTURE_FOLDERS]
    elsewhere = name.startswith("/") or name[1:2] == ":"  # Of another machine, where folders may be others.
    chosen = usual if len(usual) == 1 else agreeing or (candidates if elsewhere else [])
    if len(chosen) > 1 and agreeing:
        raise DataError(
            f"{name} may mean {' or '.join(sorted(chosen)[:2])}: write more of the path in the table, or move away what is not "
            "meant"
        )
    return chosen[0] if len(chosen) == 1 else None
