"""A protocol: tasks, measures with their required orders, and parameters, with a name and a version."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from asterism.config import ConfigError
from asterism.evaluation.measures import Measure
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.tasks import Task
from asterism.labels import LabelSpace
from asterism.metrics.truth import Partners
from asterism.recipes.base import Recipe


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Everything that a protocol's numbers depend on beside the data and the networks; stored with the scores.

    Args:
        seed: of every random draw.
        pictures: source pictures of each set (`stargan_v2`: of each domain), drawn once; 0 takes all. Without sources:
            generated pictures; 0 makes as many as there are held-out ones.
        real_pictures: training pictures of each set whose features are compared with, drawn once; 0 takes all.
        outputs: translations of each source, for recipes with styles.
        kept: features kept for measures of neighbours and kernels, evenly spaced.
        kid_subsets, kid_size: random subsets for KID, and pictures of each side in one.
        region: difference of a pixel, as a share of the range, above which an edit is said to change it.

    Raises:
        ConfigError: a number that is too small.
    """

    seed: int = 0
    pictures: int = 0
    real_pictures: int = 10_000
    outputs: int = 1
    kept: int = 1000
    kid_subsets: int = 50
    kid_size: int = 500
    region: float = 0.05

    def __post_init__(self) -> None:
        for name, low in {"pictures": 0, "real_pictures": 0, "outputs": 1}.items():
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least {low}")


Order = tuple[tuple[str, str], ...]
"""Pairs of row kinds: the measure is valid only if the first is better than the second."""


@dataclass(frozen=True)
class Protocol:
    """A protocol.

    Args:
        name: as the user calls it.
        version: raised by every change that changes numbers.
        parameters: the defaults.
        tasks: (sets, space, partners, recipe, parameters) to what is translated to what.
        measures: each with its order.
        kinds: rows that are always there.
        pairs: whether its tasks are ordered pairs of domains, so that every measure has a matrix.
        generates: whether it measures pictures of latents, without sources and without the classifier's verdicts.
        about: one sentence.
    """

    name: str
    version: int
    parameters: Parameters
    tasks: Callable[[Sequence[Pictures], LabelSpace, Sequence[Partners], Recipe, Parameters], list[Task]]
    measures: tuple[tuple[Measure, Order], ...]
    about: str
    kinds: tuple[str, ...] = ("translated", "copy", "real")
    pairs: bool = False
    generates: bool = False

    def plan(
        self,
        sets: Sequence[Pictures],
        space: LabelSpace,
        partners: Sequence[Partners],
        recipe: Recipe,
        parameters: Parameters,
    ) -> list[Task]:
        """Return the tasks; of a recipe that does not translate to all domains those whose target it has."""
        found, targets = self.tasks(sets, space, partners, recipe, parameters), recipe.abilities.targets
        return [t for t in found if not targets or (t.index is not None and space.say(t.index, t.value) in targets)]

    def settled(self, changed: Mapping[str, Any]) -> Parameters:
        """Return the parameters, some of them changed.

        Raises:
            ConfigError: a parameter that this protocol does not have, or a value out of range.
        """
        known = [field.name for field in fields(self.parameters)]
        if strange := [name for name in changed if name not in known]:
            raise ConfigError(f"the protocol {self.name} has no parameter {strange[0]!r}; it has {', '.join(known)}")
        return replace(self.parameters, **changed)

    @property
    def compares(self) -> bool:
        """Whether features of outputs are compared with those of real pictures."""
        return any(measure.of_features for measure, _ in self.measures)

    def check(self, recipe: Recipe) -> None:
        """Raise ConfigError unless the recipe can do what the protocol measures."""
        can = recipe.abilities
        if self.generates and not can.generates:
            raise ConfigError(f"the protocol {self.name} is for recipes that generate; this one has {recipe.protocol}")
        if not self.generates and not can.translates:
            raise ConfigError(f"the protocol {self.name} is for recipes that translate; this one has {recipe.protocol}")
