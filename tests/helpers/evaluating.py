"""What the tests of the evaluation share: a classifier that is trained in seconds, and the rows of a record."""

from __future__ import annotations

from typing import Any

JUDGE = {"recipe.width": 8, "train.steps": 60, "train.decay_steps": 60, "recipe.lr": 3e-3}
"""Right on nearly all the discs, and trained in seconds."""
CPU: dict[str, Any] = {"device": "cpu", "classifier": JUDGE}
STARGAN, TRUTH = "stargan/classifier/test/last", "truth/classifier/test/last"


def values(record: dict[str, Any], kind: str) -> dict[str, float | None]:
    """The row of a kind over all targets."""
    return [row["values"] for row in record["rows"] if row["kind"] == kind][-1]
