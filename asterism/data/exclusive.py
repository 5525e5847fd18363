"""Find labels that exclude each other in a table: sets of columns of which exactly one holds in every row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from asterism.tables.compact import different_rows

MAX_COVERS = 1000
"""Sets that are looked at; tables made of interchangeable columns have exponentially many."""


def exclusive_sets(values: np.ndarray) -> list[tuple[int, ...]]:
    """Find the sets of columns of which exactly one holds in every row; no column is in two of them.

    Larger sets win, and among equals the one that starts further left.

    Args:
        values: bool [M, D].

    Returns:
        Column indices of each set, ascending.
    """
    patterns = different_rows(values)
    if len(patterns) < 2 or not patterns.any(axis=1).all():  # Some row has none, so no set covers it.
        return []
    covers = {tuple(sorted(cover)) for cover in islice(_covers(patterns), MAX_COVERS)}
    chosen: list[tuple[int, ...]] = []
    for cover in sorted(covers, key=lambda cover: (-len(cover), cover)):
        if len(cover) > 1 and not any(set(cover) & set(other) for other in chosen):
            chosen.append(cover)
    return sorted(chosen)


def _covers(patterns: np.ndarray) -> Iterator[tuple[int, ...]]:
    """Yield every set of columns that covers each row of bool [P, D] exactly once."""

    def extend(chosen: tuple[int, ...], covered: np.ndarray) -> Iterator[tuple[int, ...]]:
        if covered.all():
            yield chosen
            return
        row = int(covered.argmin())  # One of the columns that hold in this row has to be in the set.
        for column in np.flatnonzero(patterns[row]):
            if not (patterns[:, column] & covered).any():
                yield from extend((*chosen, int(column)), covered | patterns[:, column])

    yield from extend((), np.zeros(len(patterns), bool))
