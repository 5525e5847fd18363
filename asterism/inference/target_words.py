"""Targets in words: which labels are to change to what, and by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from asterism.labels import LabelError, LabelSpace


@dataclass(frozen=True)
class Edit:
    """A target from words: what one pass of the generator is asked for.

    Args:
        dataset: index of the dataset whose labels are set.
        values: label index -> whether it is to hold, or the wanted number.
        name: the words, fit for a file name.
        strengths: label index -> how much of its change is asked for; labels without are changed as a whole.
    """

    dataset: int
    values: Mapping[int, float]
    name: str
    strengths: Mapping[int, float] = field(default_factory=dict)

    def apply(self, space: LabelSpace, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the target's (labels, known, dataset) for sources with `labels` [N, L].

        Labels that the edit does not name keep the source's value, or are `cleared` by one that it sets.
        """
        dataset = torch.full((len(labels),), self.dataset, dtype=torch.long, device=labels.device)
        known = space.known(dataset)
        result = labels * known
        for index, value in self.values.items():
            if value:
                result[:, list(space.cleared(index))] = 0.0
            result[:, index] = float(value)
        return result, known, dataset


def read_target(space: LabelSpace, target: str | Mapping[str, Any]) -> tuple[Edit, ...]:
    """Read a target: `Blond_Hair`, `Eyeglasses=no`, `Blond_Hair,AU12=0.8`, or {"Blond_Hair": True}.

    `Smiling=0.5`, of a label that is no number, asks for half of the change to Smiling.

    Returns:
        One edit per dataset that the target names, in the order named: no code with two mask bits was ever
        trained, so a target over two datasets is two passes.

    Raises:
        LabelError: unknown label, a value that it cannot have, a contradiction, or a choice that is only switched off.
    """
    named = space.words_of(target)
    strengths = {name: s for name, value in named.items() if (s := _strength(space, name, value)) is not None}
    wanted = space.values({**named, **dict.fromkeys(strengths, True)})
    asked = {space.index(name): s for name, s in strengths.items()}
    if not wanted:
        valid = f"name one or more of: {', '.join(space.names)}" if space.names else "there are no labels to name"
        raise LabelError(f"the target is empty; {valid}")
    passes: dict[int, dict[int, float]] = {}
    for index, value in wanted.items():
        passes.setdefault(space.dataset_of[index], {})[index] = value
    for values in passes.values():
        _check(space, values)
    parts = [(d, values, {i: asked[i] for i in values if i in asked}) for d, values in passes.items()]
    return tuple(Edit(d, values, _file_name(space, values, part), part) for d, values, part in parts)


def _strength(space: LabelSpace, name: str, value: Any) -> float | None:
    """Return how much of a label's change is asked for; none for a number's value, and for yes and no, 1 and 0."""
    try:
        strength = float(value)
    except (TypeError, ValueError):
        return None
    return None if space.index(name) in space.numbers or strength in (0, 1) or not math.isfinite(strength) else strength


def _file_name(space: LabelSpace, values: Mapping[int, float], strengths: Mapping[int, float]) -> str:
    words = (space.say(i, v) if v or i in space.numbers else f"no-{space.names[i]}" for i, v in values.items())
    words = (f"{word}={strengths[i]:g}" if i in strengths else word for i, word in zip(values, words, strict=True))
    return "+".join(words).replace(":", ".").replace("/", "-").replace("\\", "-").replace(" ", "_")


def _check(space: LabelSpace, values: Mapping[int, float]) -> None:
    for choice in (*space.alternatives, *space.conflicts):
        on = [space.names[i] for i in choice if values.get(i)]
        off = [space.names[i] for i in choice if values.get(i) is False]
        if len(on) > 1:
            raise LabelError(f"{' and '.join(on)} exclude each other: name one of them")
        if off and not on and choice in space.alternatives:
            others = [space.names[i] for i in choice if space.names[i] not in off]
            raise LabelError(f"{off[0]} can only be replaced: name one of {', '.join(others)} instead")
