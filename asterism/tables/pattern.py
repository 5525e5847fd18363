"""Tables from the names of files: `{age}_{gender}_*` reads 25_1_0_2017.jpg as age 25 and gender 1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from asterism.errors import DataError
from asterism.tables.cells import Table, as_table
from asterism.tables.compact import columns_of


def by_pattern(pattern: str, files: Sequence[str], root: Path) -> Table:
    """Return a table of the files that a pattern fits.

    Args:
        pattern: of a file's name without its suffix, or of the last parts of its path where it has a slash; {name} is a
            column, * stands for anything.
        files: names relative to `root`, which errors name.

    Raises:
        DataError: a pattern without a column, or that fits no file.
    """
    pieces = re.split(r"\{([^{}]+)\}|(\*)", pattern)
    names, words = [name for name in pieces[1::3] if name], [re.escape(pieces[0])]
    for before, name, text in zip(pieces[0::3], pieces[1::3], pieces[3::3], strict=False):
        around = re.escape(before[-1:] + text[:1])  # {a}_{b} is two words without an underscore.
        words.append((f"([^/{around}]+)" if name else "[^/]*?") + re.escape(text))
    fits, depth = re.compile("".join(words)), pattern.count("/") + 1
    rows = []
    for file in files:
        path = PurePosixPath(file)
        if found := fits.fullmatch("/".join([*path.parts[-depth:-1], path.stem])):
            rows.append((file, *found.groups()))
    if not names or not rows:
        example = f" such as {files[0]}" if files else ""
        what = "fits no picture" if names else "names no column"
        raise DataError(f"--data.pattern {pattern} {what} of {root}{example}; expected a pattern like {{age}}_{{gender}}_*")
    return as_table(root, ["file", *names], columns_of(rows, len(names) + 1))
