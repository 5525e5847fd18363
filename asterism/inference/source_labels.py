"""The labels of the sources: stated by the caller, or predicted by the model's class head.

A target that names only some labels of a dataset keeps the others, so they must be known.

Shapes: N batch, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from asterism.inference.target_words import Edit
from asterism.labels import LabelError, LabelSpace


def stated(space: LabelSpace, labels: Any, count: int) -> list[dict[int, float]]:
    """Read what a caller says of the labels of `count` pictures.

    Args:
        labels: {"Male": True, "Young": False} or `Male,Young=no`, for all pictures alike or as a list with one per
            picture (none where nothing is known); or none.

    Returns:
        Per picture: label index -> whether it holds, or its number; where one of several alternatives holds, the others do
        not.

    Raises:
        LabelError: a label that the model does not know, a value that it cannot have, or a list of another length.
    """
    if labels is None or isinstance(labels, (str, Mapping)):
        return [_read(space, labels)] * count
    if len(labels) != count:
        raise LabelError(f"labels has {len(labels)} entries for {count} pictures; give one per picture, or one for all")
    return [_read(space, entry) for entry in labels]


def complete(
    space: LabelSpace,
    known: Sequence[Mapping[int, float]],
    targets: Iterable[Sequence[Edit]],
    classify: Callable[[], Tensor] | None,
    told: str = "code",
) -> Tensor:
    """Return the sources' labels [N, L] as far as the targets depend on them.

    What is not stated is predicted, as `LabelSpace.decide` does: of alternatives the likeliest that is not ruled out.

    Args:
        known: per picture what is stated (see `stated`).
        classify: gives class logits [N, L]; called only where something is not stated. None: there is no class head.
        told: what the model is told, as `Abilities.told`: of a difference the targets depend on the labels that they name,
            their alternatives and what these end; of a change on none; of two codes, and where a strength slides a code
            (`slide`), on all.

    Raises:
        LabelError: something must be predicted and there is no class head; names what to state.
    """
    kept = sorted({i for target in targets for edit in target for i in _needed(space, edit, told)})
    unstated = [i for i in kept if any(i not in values for values in known)]
    mask = torch.tensor([[i in values for i in range(space.num_labels)] for values in known])
    held = torch.tensor([[float(values.get(i, 0.0)) for i in range(space.num_labels)] for values in known])
    if not unstated:
        return held
    if classify is None:
        names = ", ".join(space.names[i] for i in unstated)
        instead = "" if told == "difference" else "name them in the target too, or "
        raise LabelError(
            f"this model has no class head and cannot predict the source's {names}: "
            f"{instead}give the source's (--labels, labels=), such as {space.say(unstated[0], 0)}"
        )
    logits = classify().float().cpu().masked_fill(mask & (held == 0), -torch.inf)
    return torch.where(mask, held, space.decide(logits))


def _needed(space: LabelSpace, edit: Edit, told: str) -> set[int]:
    """Return the labels of the edit's dataset that it leaves as they are, or those that it changes, or none, or all."""
    if told == "change":
        return set()
    span = space.dataset_span(edit.dataset)
    whole = set(range(span.start, span.stop))
    if told in ("slide", "codes"):
        return whole
    ended = {i for index, value in edit.values.items() if value for i in space.cleared(index)}
    settled = _settle(space, edit.values).keys() | ended
    return settled if told == "difference" else whole - settled


def _settle(space: LabelSpace, values: Mapping[int, float]) -> dict[int, float]:
    """Return the values and what follows from them: where one alternative holds, the others do not."""
    others: dict[int, float] = {j: False for choice in space.alternatives if any(values.get(i) for i in choice) for j in choice}
    return others | dict(values)


def _read(space: LabelSpace, labels: str | Mapping[str, Any] | None) -> dict[int, float]:
    values = space.values(labels or {})
    for choice in space.alternatives:
        on = [space.names[i] for i in choice if values.get(i)]
        if len(on) > 1:
            raise LabelError(f"labels: {' and '.join(on)} exclude each other; name only one")
    return _settle(space, values)
