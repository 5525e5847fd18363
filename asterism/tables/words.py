"""What the words in a table mean: names of columns, yes and no, nothing known, several labels in a cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from asterism.tables.compact import distinct, kinds_in

UNKNOWN = frozenset("nan -nan na n/a n.a. n.d. #n/a #na <na> nat null none nil ? - -- – — unknown missing".split())
"""What cells say that say nothing, in lower case."""

MARKS = frozenset(("x", "✓", "✔", "☑"))
"""What a column holds that is marked where its label holds, and empty elsewhere."""

YES = frozenset("1 true t yes y on present positive pos + ja wahr oui vrai sí si sì verdadero vero".split())
NO = frozenset("0 -1 false f no n off absent negative neg - nein falsch non faux falso".split())
"""What the cells of a binary label hold, in lower case, numbers as they are written shortest; as Excel writes them, too."""

MEANT = YES | NO | MARKS | {""}


def plain_name(column: str) -> str:
    """Return a column's name as names with a meaning are written: `Patient ID` is patient_id."""
    return re.sub(r"[\s-]+", "_", column.strip().casefold())


def unknown_in(cells: Iterable[str]) -> set[str]:
    """Return the words of a column that say that nothing is known; of + and - none does."""
    words = {cell for cell in kinds_in(cells) if cell.casefold() in UNKNOWN}
    return words - {"-"} if "-" in words and "+" in cells else words


def truth_of(cells: Iterable[str]) -> dict[str, int] | None:
    """Return what each value of a column says, 1 or 0, an unknown one left out; none where it is no binary label."""
    words = dict[str, str]()
    for cell in kinds_in(cells):
        if cell not in words:
            words[cell] = _shortest(cell)
            if words[cell] not in MEANT:  # So of a column of many different cells few are gone through.
                return None
    held = {*words.values()} - {""}
    if not held or not (held <= YES | NO or held <= MARKS) or {"0", "-1"} <= held:
        return None
    return {cell: int(word in YES | MARKS) for cell, word in sorted(words.items()) if word or held <= MARKS}


def _shortest(cell: str) -> str:
    try:
        return f"{float(cell.replace(',', '.')) + 0.0:g}"
    except ValueError:
        return cell.casefold()


def says_label(row: Sequence[str]) -> bool:
    """Say whether a cell of a row holds what binary labels hold."""
    return any(_shortest(cell.strip()) in YES | NO | MARKS for cell in row)


def is_plain(truth: Iterable[str]) -> bool:
    """Say whether the values of a binary column are those that programs write: numbers, true and false."""
    return all(_shortest(cell) in ("0", "1", "-1", "true", "false") for cell in truth)


def mark_between(cells: Sequence[str]) -> str:
    """Return what stands between the labels in a cell that holds several: a comma only if some of these also stand alone."""
    held = distinct(cells)
    several = {mark: {word.strip() for cell in held if mark in cell for word in cell.split(mark)} for mark in "|;,"}
    return next((mark for mark, words in several.items() if words and (mark != "," or words & held)), "")
