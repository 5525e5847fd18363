"""Apply targets to pictures of the model's size: run the passes of the model that a target needs.

Every picture of a batch may have a target of its own, which is what serving needs.

Shapes: N batch, C channels, h x w pixels of the model, L labels, S style size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from asterism.data.batch import Batch
from asterism.inference import source_labels
from asterism.inference.placed import PlacedModel
from asterism.inference.styles import Style, Target
from asterism.inference.target_words import Edit
from asterism.labels import LabelSpace
from asterism.storage.model_file import ModelError


def translate_each(placed: PlacedModel, x: Tensor, targets: Sequence[Target], known: Sequence[Mapping[int, float]]) -> Tensor:
    """Translate pictures of the model's size, each to a target of its own, as one batch.

    Args:
        x: float32 [N, C, h, w] in [-1, 1], as `fit_in` makes them.
        targets: per picture its target; pictures with the very same Target object share the making of its style.
        known: per picture what is stated of its labels: label index -> value.

    Returns:
        float32 [N, C, h, w] in [-1, 1], on the translator's device.

    Raises:
        LabelError: as for `Translator.translate`.
    """
    machine = placed.machine
    x = machine.take(x)
    with torch.no_grad(), machine.backend_flags(), machine.autocast():
        return passes(placed, x, targets, own_labels(placed, x, targets, known))


def passes(placed: PlacedModel, x: Tensor, targets: Sequence[Target], labels: Tensor, masks: tuple[Tensor, ...] = ()) -> Tensor:
    """Run the passes of each picture's target: over two datasets two passes, in its order.

    A model that is told the change takes one for all labels that change by the same strength.

    Args:
        x: [N, C, h, w] on the device.
        targets: of each picture.
        labels: of the pictures [N, L], as far as the targets depend on them.
        masks: [N, 1, h, w] each, for models that take masks; empty: the model finds its own.

    Returns:
        [N, C, h, w]: translations in [-1, 1], or in [0, 1], alike in all channels, the attention, for targets that show it:
        of several passes, how much of a pixel any of them paints anew.
    """
    shown = [target.attention for target in targets]
    kept = torch.ones_like(x)
    parts = {id(target): _parts(placed, target) for target in targets}
    for number in range(max(map(len, parts.values()))):
        rows = [i for i, target in enumerate(targets) if number < len(parts[id(target)])]
        every = len(rows) == len(x)
        own = x if every else x[rows]
        told, s = _told(placed, own, [parts[id(targets[i])][number] for i in rows], labels if every else labels[rows])
        if any(shown):
            kept[rows] *= 1 - placed.recipe.attend(own, told)
        y = placed.render(own, told, s, tuple(mask[rows] for mask in masks))
        x = y if every else x.index_copy(0, torch.tensor(rows, device=x.device), y)
    return torch.where(torch.tensor(shown, device=x.device)[:, None, None, None], 1 - kept, x) if any(shown) else x


def steps(placed: PlacedModel, x: Tensor, target: Target, labels: Tensor) -> list[tuple[Tensor, Tensor | None]]:
    """Return what each pass of a target is told, and its style, for what is translated in parts that must not differ in them.

    Args:
        x: [1, C, h, w] on the device: the picture, at the model's size.
        labels: of the picture [1, L], as far as the target depends on them.
    """
    made: list[tuple[Tensor, Tensor | None]] = []
    for part in _parts(placed, target):
        x = placed.render(x, *made[-1]) if made else x
        made.append(_told(placed, x, [part], labels))
    return made


def _parts(placed: PlacedModel, target: Target) -> list[Target]:
    """Divide a target into what each pass of the model is told."""
    return _by_strength(target) if placed.recipe.abilities.told == "change" else _by_dataset(target)


def _told(placed: PlacedModel, x: Tensor, targets: Sequence[Target], labels: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return what a pass is told of the target of each picture of x, one edit each, and the styles where there are any."""
    space, recipe = placed.model.space, placed.recipe
    if recipe.abilities.told == "change":
        wanted = _changes(space, targets, x)
        strength = torch.tensor([[target.strength] for target in targets], device=x.device)
    else:
        wanted = _batch(space, [target.edits[0] for target in targets], labels)
        strength = torch.tensor([_strengths(space, target) for target in targets], device=x.device)
    told = recipe.condition(wanted, labels, strength)
    return told, _styles(placed, x, targets, told) if recipe.abilities.style else None


def predict_labels(placed: PlacedModel, x: Tensor) -> Tensor:
    """Return the labels [N, L] that the class head reads in pictures of the model's size.

    Args:
        x: float32 [N, C, h, w] in [-1, 1], as `fit_in` makes them.

    Raises:
        ModelError: the model has no class head.
    """
    machine = placed.machine
    x = machine.take(x)
    classify = placed.classifier(x) if placed.recipe.abilities.judges else None
    if classify is None:
        raise ModelError(f"this model of {placed.model.name} has no class head to predict a picture's labels")
    with torch.no_grad(), machine.backend_flags(), machine.autocast():
        return placed.model.space.decide(classify().float().cpu())


def own_labels(placed: PlacedModel, x: Tensor, targets: Sequence[Target], known: Sequence[Mapping[int, float]]) -> Tensor:
    """Return the labels [N, L] of x as far as each one's target depends on them."""
    classify, space = placed.classifier(x), placed.model.space
    told = told_of(placed, targets)
    edits = [target.edits for target in targets]
    if classify is None:  # What one target needs must not be asked of another's picture.
        rows = [source_labels.complete(space, [own], [to], None, told) for own, to in zip(known, edits, strict=True)]
        return torch.cat(rows).to(x.device)
    return source_labels.complete(space, known, edits, classify, told).to(x.device)


def told_of(placed: PlacedModel, targets: Sequence[Target]) -> str:
    """Say what targets depend on, as `Abilities.told`; `slide`: a code that a strength slides depends on all labels."""
    can = placed.recipe.abilities
    return "slide" if can.slides and any(t.strength != 1 or any(e.strengths for e in t.edits) for t in targets) else can.told


def _by_dataset(target: Target) -> list[Target]:
    return [replace(target, edits=(edit,)) for edit in target.edits]


def _by_strength(target: Target) -> list[Target]:
    """Divide a target into targets whose labels change by one strength each."""
    strengths = dict.fromkeys(edit.strengths.get(i, 1.0) for edit in target.edits for i in edit.values)
    result = []
    for strength in strengths:
        parts = [
            (edit, {i: v for i, v in edit.values.items() if edit.strengths.get(i, 1.0) == strength}) for edit in target.edits
        ]
        edits = tuple(replace(edit, values=values, strengths={}) for edit, values in parts if values)
        result.append(replace(target, edits=edits, strength=target.strength * strength))
    return result


def _strengths(space: LabelSpace, target: Target) -> list[float]:
    """Return by how much each label [L] is to change; alternatives go by the one that is named."""
    result = [target.strength] * space.num_labels
    for index, strength in ((i, s) for edit in target.edits for i, s in edit.strengths.items()):
        for i in (index, *space.cleared(index)):
            result[i] = target.strength * strength
    return result


def _batch(space: LabelSpace, edits: Sequence[Edit], labels: Tensor) -> Batch:
    """Return the targets of pictures with `labels` [N, L], one edit each; equal edits are applied together."""
    parts: dict[tuple[object, ...], list[int]] = {}
    for i, edit in enumerate(edits):
        parts.setdefault((edit.dataset, *edit.values.items()), []).append(i)
    told = [edits[rows[0]].apply(space, labels[rows]) for rows in parts.values()]
    order = torch.tensor([i for rows in parts.values() for i in rows], device=labels.device).argsort()
    wanted, stated, dataset = (torch.cat(part)[order] for part in zip(*told, strict=True))
    return Batch(labels=wanted, known=stated, dataset=dataset)


def _changes(space: LabelSpace, targets: Sequence[Target], x: Tensor) -> Batch:
    """Return what targets ask for, and nothing of the labels that they leave as they are."""
    labels, known = x.new_zeros(len(targets), space.num_labels), x.new_zeros(len(targets), space.num_labels)
    for row, target in enumerate(targets):
        for edit in target.edits:
            for index, value in edit.values.items():
                known[row, [index, *(space.cleared(index) if value else ())]] = 1
                labels[row, index] = float(value)
    dataset = torch.tensor([target.edits[0].dataset for target in targets], device=x.device)
    return Batch(labels=labels, known=known, dataset=dataset)


def _styles(placed: PlacedModel, x: Tensor, targets: Sequence[Target], told: Tensor) -> Tensor:
    """Return the styles [N, S] for x and what is told of its targets; each target's style is made once."""
    parts: dict[int, list[int]] = {}
    for i, target in enumerate(targets):
        parts.setdefault(id(target), []).append(i)
    made = [(targets[rows[0]].style or Style()).of(placed.styles, x[rows], told[rows]) for rows in parts.values()]
    order = torch.tensor([i for rows in parts.values() for i in rows], device=x.device)
    return torch.cat(made)[order.argsort()]
