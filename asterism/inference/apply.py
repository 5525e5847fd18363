"""Pictures that share a batch and nothing else: each has a target of its own. What serving needs.

Shapes: N batch, C channels, h x w pixels of the model, L labels, S style size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from asterism.data.batch import Batch
from asterism.inference import source_labels
from asterism.inference.styles import Style, Target
from asterism.inference.translator import Translator
from asterism.labels import Edit, LabelSpace
from asterism.storage.model_file import ModelError


def translate_each(translator: Translator, x: Tensor, targets: Sequence[Target], known: Sequence[Mapping[int, bool]]) -> Tensor:
    """Translate pictures of the model's size, each to a target of its own, as one batch.

    Args:
        x: float32 [N, C, h, w] in [-1, 1], as `fit_in` makes them.
        targets: per picture its target; pictures with the very same Target object share the making of its style.
        known: per picture what is stated of its labels: label index -> holds.

    Returns:
        float32 [N, C, h, w] in [-1, 1], on the translator's device.

    Raises:
        LabelError: as for `Translator.translate`.
    """
    machine, space, recipe = translator.machine, translator.model.space, translator.recipe
    x = machine.take(x)
    with torch.no_grad(), machine.backend_flags(), machine.autocast():
        labels = _own_labels(translator, x, targets, known).to(x)
        for number in range(max(len(target.edits) for target in targets)):
            rows = [i for i, target in enumerate(targets) if number < len(target.edits)]
            batch = _batch(space, [targets[i].edits[number] for i in rows], labels[rows])
            if recipe.styled:
                batch = batch.extend(s=_styles(translator, x[rows], [targets[i] for i in rows], batch.labels))
            y = translator.render(x[rows], batch)
            x = y if len(rows) == len(x) else x.index_copy(0, torch.tensor(rows, device=x.device), y)
    return x


def predict_labels(translator: Translator, x: Tensor) -> Tensor:
    """Return the labels [N, L], each 0 or 1, that the class head reads in pictures of the model's size.

    Args:
        x: float32 [N, C, h, w] in [-1, 1], as `fit_in` makes them.

    Raises:
        ModelError: the model has no class head.
    """
    machine = translator.machine
    x = machine.take(x)
    classify = translator.classifier(x) if translator.recipe.classifies else None
    if classify is None:
        raise ModelError(f"this model of {translator.model.name} has no class head to tell a picture's labels")
    with torch.no_grad(), machine.backend_flags(), machine.autocast():
        return translator.model.space.decide(classify().float().cpu())


def _own_labels(translator: Translator, x: Tensor, targets: Sequence[Target], known: Sequence[Mapping[int, bool]]) -> Tensor:
    """Return the labels [N, L] of x as far as each one's target depends on them."""
    classify, complete, space = translator.classifier(x), source_labels.complete, translator.model.space
    edits = [target.edits for target in targets]
    if classify is None:  # What one target needs must not be asked of another's picture.
        return torch.cat([complete(space, [own], [wanted], None) for own, wanted in zip(known, edits, strict=True)])
    return complete(space, known, edits, classify)


def _batch(space: LabelSpace, edits: Sequence[Edit], labels: Tensor) -> Batch:
    """Return the targets of pictures with `labels` [N, L], one edit each; equal edits are applied together."""
    parts: dict[tuple[object, ...], list[int]] = {}
    for i, edit in enumerate(edits):
        parts.setdefault((edit.dataset, *edit.values.items()), []).append(i)
    told = [space.apply(edits[rows[0]], labels[rows]) for rows in parts.values()]
    order = torch.tensor([i for rows in parts.values() for i in rows], device=labels.device).argsort()
    wanted, stated, dataset = (torch.cat(part)[order] for part in zip(*told, strict=True))
    return Batch(labels=wanted, known=stated, dataset=dataset)


def _styles(translator: Translator, x: Tensor, targets: Sequence[Target], wanted: Tensor) -> Tensor:
    """Return the styles [N, S] for x with target labels `wanted` [N, L]; each target's style is made once."""
    parts: dict[int, list[int]] = {}
    for i, target in enumerate(targets):
        parts.setdefault(id(target), []).append(i)
    made = [(targets[rows[0]].style or Style()).of(translator.styles, x[rows], wanted[rows]) for rows in parts.values()]
    order = torch.tensor([i for rows in parts.values() for i in rows], device=x.device)
    return torch.cat(made)[order.argsort()]
