"""Apply targets to pictures of the model's size: run the passes of the model that a target needs.

Every picture of a batch may have a target of its own, which is what serving needs.

Shapes: N batch, C channels, h x w pixels of the model, L labels, S style size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from asterism.data.batch import Batch
from asterism.inference import source_labels
from asterism.inference.placed import PlacedModel
from asterism.inference.styles import Style, Target
from asterism.labels import Edit, LabelSpace
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
    """Run the passes of each picture's target: over two datasets two passes, in its order, and one if told the change.

    Args:
        x: [N, C, h, w] on the device.
        targets: of each picture.
        labels: of the pictures [N, L], as far as the targets depend on them.
        masks: [N, 1, h, w] each, for models that take masks; empty: the model finds its own.

    Returns:
        [N, C, h, w]: translations in [-1, 1], or in [0, 1], alike in all channels, the attention, for targets that show it:
        of several passes, how much of a pixel any of them paints anew.
    """
    space, recipe = placed.model.space, placed.recipe
    shown = [target.attention for target in targets]
    kept = torch.ones_like(x)
    at_once = recipe.abilities.told == "change"
    for number in range(1 if at_once else max(len(target.edits) for target in targets)):
        rows = [i for i, target in enumerate(targets) if number < len(target.edits)]
        those = [targets[i] for i in rows]
        source = labels if len(rows) == len(x) else labels[rows]
        wanted = _changes(space, those, x) if at_once else _batch(space, [target.edits[number] for target in those], source)
        strength = torch.tensor([[target.strength] for target in those], device=x.device)
        told = recipe.condition(wanted, source, strength)
        own = x if len(rows) == len(x) else x[rows]
        s = _styles(placed, own, those, told) if recipe.abilities.style else None
        if any(shown):
            kept[rows] *= 1 - recipe.attend(own, told)
        y = placed.render(own, told, s, tuple(mask[rows] for mask in masks))
        x = y if len(rows) == len(x) else x.index_copy(0, torch.tensor(rows, device=x.device), y)
    return torch.where(torch.tensor(shown, device=x.device)[:, None, None, None], 1 - kept, x) if any(shown) else x


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
    told = placed.recipe.abilities.told
    edits = [target.edits for target in targets]
    if classify is None:  # What one target needs must not be asked of another's picture.
        rows = [source_labels.complete(space, [own], [to], None, told) for own, to in zip(known, edits, strict=True)]
        return torch.cat(rows).to(x.device)
    return source_labels.complete(space, known, edits, classify, told).to(x.device)


def _batch(space: LabelSpace, edits: Sequence[Edit], labels: Tensor) -> Batch:
    """Return the targets of pictures with `labels` [N, L], one edit each; equal edits are applied together."""
    parts: dict[tuple[object, ...], list[int]] = {}
    for i, edit in enumerate(edits):
        parts.setdefault((edit.dataset, *edit.values.items()), []).append(i)
    told = [space.apply(edits[rows[0]], labels[rows]) for rows in parts.values()]
    order = torch.tensor([i for rows in parts.values() for i in rows], device=labels.device).argsort()
    wanted, stated, dataset = (torch.cat(part)[order] for part in zip(*told, strict=True))
    return Batch(labels=wanted, known=stated, dataset=dataset)


def _changes(space: LabelSpace, targets: Sequence[Target], x: Tensor) -> Batch:
    """Return what targets ask for, and nothing of the labels that they leave as they are."""
    labels, known = x.new_zeros(len(targets), space.num_labels), x.new_zeros(len(targets), space.num_labels)
    for row, target in enumerate(targets):
        for edit in target.edits:
            for index, value in edit.values.items():
                known[row, [index, *(space.siblings(index) if value else ())]] = 1
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
