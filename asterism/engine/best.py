"""The best checkpoint of a run: the score that chooses it, its step, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from asterism.recipes.base import Recipe


class Evaluation(Protocol):
    """Measures a recipe while it trains; nothing that it does may change the recipe or the random numbers of the run."""

    criterion: str
    better: str
    measured_by: str  # What its numbers depend on beside the recipe: those of others cannot be compared.

    def measure(self, recipe: Recipe) -> dict[str, float | None]:
        """Return numbers by name, for the weights that the recipe now has; none where nothing can be measured."""


@dataclass
class Best:
    """The best of the evaluations so far; a part of every checkpoint.

    Args:
        step: at which it was, or none while there was none.
        scores: what was measured there.
        criterion: the number that decides.
        evaluations_since_best: evaluations after `step`.
        measured_by: that of the evaluation whose numbers they are.
    """

    step: int | None = None
    scores: dict[str, float | None] = field(default_factory=dict)
    criterion: str = ""
    evaluations_since_best: int = 0
    measured_by: str = ""

    @classmethod
    def of_checkpoint(cls, state: Mapping[str, Any]) -> Best:
        """Rebuild what a checkpoint holds; older ones call `evaluations_since_best` `waited`."""
        return cls(**{"evaluations_since_best" if key == "waited" else key: value for key, value in state.items()})

    def take(self, step: int, scores: Mapping[str, float | None], by: Evaluation) -> bool:
        """Say whether an evaluation is the best so far, and remember it. A number that is missing or not finite is worst.

        The first that is measured by something else than those before is the best: numbers of both cannot be compared.
        """

        def value(of: Mapping[str, float | None]) -> float:
            found = of.get(by.criterion)
            if found is None or not math.isfinite(found):
                return -math.inf
            return found if by.better == "higher" else -found

        if self.step is not None and self.measured_by == by.measured_by and value(scores) <= value(self.scores):
            self.evaluations_since_best += 1
            return False
        self.step, self.scores, self.criterion, self.evaluations_since_best = step, dict(scores), by.criterion, 0
        self.measured_by = by.measured_by
        return True
