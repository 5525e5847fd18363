"""A label group: labels of one dataset that belong together, and how their values are read from words and said in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from asterism.config import closest
from asterism.errors import AsterismError

ROUNDING = 1e-6
"""By which share of its range a number may lie outside: float32 cannot hold most ends of a range exactly."""

_WORDS = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False, "0": False, "off": False, "-1": False}


class LabelError(AsterismError, ValueError):
    """A label or target that the label space does not hold; the message lists what it holds."""


@dataclass(frozen=True)
class LabelGroup:
    """Labels of one dataset that belong together.

    Args:
        dataset: name of the dataset.
        labels: names, unique within the dataset. A binary group may be empty: a dataset without labels.
        kind: `binary`: any may hold; `one_of`: exactly one holds; `number`: each has a value from `low` to `high`.
        exclusive: sub-groups of a binary group of which exactly one label holds.
        low, high: the range of numbers; 0 and 1 for the other kinds.
        conflicts: sets of labels of a binary group: a target that sets one ends the others. Pictures may have none, or several.
    """

    dataset: str
    labels: tuple[str, ...]
    kind: Literal["binary", "one_of", "number"]
    exclusive: tuple[tuple[str, ...], ...] = ()
    low: float = 0.0
    high: float = 1.0
    conflicts: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("binary", "one_of", "number"):
            raise LabelError(f"the kind of a label group is 'binary', 'one_of' or 'number', not {self.kind!r}")
        if not self.labels and self.kind != "binary":
            raise LabelError(f"dataset {self.dataset!r} has a {self.kind} label group without labels")
        if self.kind != "binary" and (self.exclusive or self.conflicts):
            raise LabelError(f"exclusive sets belong to binary groups, not to the {self.kind} group of {self.dataset!r}")
        if self.kind != "number" and (self.low, self.high) != (0, 1):
            raise LabelError(f"a range belongs to numbers, not to the {self.kind} labels of {self.dataset!r}")
        if not -math.inf < self.low < self.high < math.inf:
            raise LabelError(f"the range of {self.labels[0]} is {self.low:g} to {self.high:g}; expected the lower number first")
        listed = [name for names in self.exclusive for name in names]
        for name in (*listed, *(conflicting := [name for names in self.conflicts for name in names])):
            if name in listed and name in conflicting:
                raise LabelError(
                    f"{name!r} of {self.dataset!r} is one of an exclusive set, and conflicts: expected one of both"
                )
            if name not in self.labels:
                raise LabelError(f"exclusive label {name!r} is not a label of {self.dataset!r}: {closest(name, self.labels)}")
        for sequence, what in ((self.labels, "label"), (listed, "exclusive label")):
            if repeated := [name for name, count in Counter(sequence).items() if count > 1]:
                raise LabelError(f"{what} {repeated[0]!r} stands twice in dataset {self.dataset!r}")

    def read(self, name: str, value: Any) -> float:
        """Read the value of the label that is called `name`: whether it holds, or a number in the range.

        Yes and no, or True and False, are a number's highest and lowest value.

        Raises:
            LabelError: neither yes nor no, or a number outside the range.
        """
        word = str(value).strip().lower()
        if self.kind != "number":
            found = _WORDS.get(word.removesuffix(".0"))
            if found is None:
                raise LabelError(f"{name}={value}: expected yes or no")
            return found
        slack = ROUNDING * (self.high - self.low)
        try:
            number = float(word)
        except ValueError:
            on = _WORDS.get(word)
            number = math.nan if on is None else self.high if on else self.low
        if not self.low - slack <= number <= self.high + slack:
            raise LabelError(f"{name}={value}: expected a number from {self.low:g} to {self.high:g}")
        return min(max(number, self.low), self.high)

    def say(self, name: str, value: float) -> str:
        """Return the words of a target that gives the label called `name` a value: `Male`, `Male=no`, `AU12=0.9`."""
        if self.kind == "number":
            return f"{name}={value:g}"
        return name if value else f"{name}=no"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values that `from_json` takes back; only numbers have a range."""
        sets = [list(names) for names in self.exclusive]
        held = {"dataset": self.dataset, "labels": list(self.labels), "kind": self.kind, "exclusive": sets}
        held |= {"conflicts": [list(names) for names in self.conflicts]} if self.conflicts else {}
        return held | ({"low": self.low, "high": self.high} if self.kind == "number" else {})

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> LabelGroup:
        """Rebuild a label group from `to_json`'s values."""
        sets, conflicts = (tuple(map(tuple, held.get(key, ()))) for key in ("exclusive", "conflicts"))
        ends = held.get("low", 0.0), held.get("high", 1.0)
        return cls(held["dataset"], tuple(held["labels"]), held["kind"], sets, *ends, conflicts)
