"""Fine-tuning: start from another model's weights, also with a different label space."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import torch

from asterism.config import to_dict
from asterism.recipes.base import Recipe, Slot
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError


def adopt(recipe: Recipe, model: Model, name: str) -> list[str]:
    """Copy a model's weights into a recipe, label by label where the label spaces differ.

    Along an axis that runs over labels, a label that both have keeps its slice; a new label keeps its fresh
    initialisation; mask bits go by dataset name. Networks that the model file lacks stay fresh.

    Returns:
        One sentence per thing that was not simply copied, for the log.

    Raises:
        ModelError: another recipe, or parameters of other shapes (another width or depth), named.
    """
    if model.name != name:
        raise ModelError(f"--init has recipe {model.name}; this run trains {name}")
    given, own = model.recipe.state_dict(), recipe.state_dict()
    slots = recipe.label_slots() if recipe.space != model.space else []
    moved = _pairs(model.recipe.label_slots(), slots, recipe.networks.keys() & model.recipe.networks.keys())
    held = {slot.parameter for slot in slots}  # They belong to labels as a whole, or have an axis of them.
    for key, tensor in own.items():
        network = key.split(".")[0]
        if network in model.missing or network not in model.recipe.networks:
            continue
        pairs = [pair for pair in moved if pair[1].parameter == key]
        if key in held and not pairs:
            continue  # It belongs to labels that the model does not have.
        source_key = pairs[0][0].parameter if pairs else key
        if source_key not in given:
            raise ModelError(f"--init lacks {key}; {_remedy(recipe, model)}")
        source, axis = given[source_key].to(tensor), pairs[0][1].axis if pairs else None
        others = [[size for i, size in enumerate(t.shape) if i != axis] for t in (source, tensor)]
        if source.ndim != tensor.ndim or others[0] != others[1]:
            shapes = f"{list(source.shape)}, this run {list(tensor.shape)}"
            raise ModelError(f"--init has {source_key} of shape {shapes}; {_remedy(recipe, model)}")
        if axis is None:
            tensor.copy_(source)
            continue
        first = min(slot.index for slot in slots if slot.parameter == key)  # What stands before the labels belongs to none.
        places = [*((i, i) for i in range(first)), *((old.index, new.index) for old, new in pairs)]
        theirs, ours = (torch.tensor(side, device=tensor.device) for side in zip(*places, strict=True))
        tensor.index_copy_(axis, ours, source.index_select(axis, theirs))
    notes = []
    if new := [label for label in recipe.space.names if label not in model.space.names]:
        notes.append(f"new labels with randomly initialised weights: {', '.join(new)}")
    if model.missing:
        notes.append(f"not in the model file, initialised randomly: {', '.join(model.missing)}")
    return notes


def _pairs(old: list[Slot], new: list[Slot], networks: Collection[str]) -> list[tuple[Slot, Slot]]:
    """Pair the slots of the owners that both have, in their common order, within the networks that both have."""
    theirs, ours = defaultdict[str, list[Slot]](list), defaultdict[str, list[Slot]](list)
    for found, slots in ((theirs, old), (ours, new)):
        for slot in (slot for slot in slots if slot.parameter.partition(".")[0] in networks):
            found[slot.owner].append(slot)
    return [pair for owner in ours if owner in theirs for pair in zip(theirs[owner], ours[owner], strict=True)]


def _remedy(recipe: Recipe, model: Model) -> str:
    """Name the settings in which the model differs, as it has them."""
    own = to_dict(recipe.config)
    keys = [
        f"--recipe.{key} {value}"
        for key, value in to_dict(model.config).items()
        if isinstance(value, int) and value != own[key]
    ]
    if (model.picture.height, model.picture.width) != (recipe.picture.height, recipe.picture.width):
        keys.append(f"--data.size {model.picture.height}x{model.picture.width}")
    if model.picture.channels != recipe.picture.channels:
        keys.append(f"--data.channels {model.picture.channels}")
    return f"set {' '.join(keys)}, as the model has" if keys else "its layout is another"
