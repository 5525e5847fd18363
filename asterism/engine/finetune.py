"""Fine-tuning: start from another model's weights, also onto a label space with other labels."""

from __future__ import annotations

import torch
from torch import Tensor

from asterism.config import to_dict
from asterism.labels import LabelSpace
from asterism.recipes.base import Recipe
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
        raise ModelError(f"--init is a model of recipe {model.name}; this run trains {name}")
    axes, notes = recipe.label_axes(), []
    given, own = model.recipe.state_dict(), recipe.state_dict()
    moved = _move_parts(recipe, model, own, given) if recipe.space != model.space else set()
    for key, tensor in own.items():
        if key in moved:
            continue
        if key.split(".")[0] in model.missing or key.split(".")[0] not in model.recipe.networks:
            continue
        if key not in given:
            raise ModelError(f"--init lacks {key}; {_remedy(recipe, model)}")
        source = given[key].to(tensor)
        axis, start, masked = axes.get(key, (None, 0, False))
        fits = [a == b or i == axis for i, (a, b) in enumerate(zip(source.shape, tensor.shape, strict=False))]
        if axis is not None and recipe.space != model.space and all(fits):
            source = _move(source, tensor, axis, start, masked, model.space, recipe.space)
        if source.shape != tensor.shape:
            shapes = f"{list(source.shape)}, this run {list(tensor.shape)}"
            raise ModelError(f"--init has {key} of shape {shapes}; {_remedy(recipe, model)}")
        tensor.copy_(source)
    new = [label for label in recipe.space.names if label not in model.space.names]
    if new:
        notes.append(f"new labels start from fresh weights: {', '.join(new)}")
    if model.missing:
        notes.append(f"not in the model file, start fresh: {', '.join(model.missing)}")
    return notes


def _move_parts(recipe: Recipe, model: Model, own: dict[str, Tensor], given: dict[str, Tensor]) -> set[str]:
    """Copy what belongs to the labels that both have; return the parameters that belong to labels, which are done with."""
    old, new = model.recipe.label_parts(), recipe.label_parts()
    names = model.space.names
    for index, parts in new.items():
        name = recipe.space.names[index]
        theirs = old.get(names.index(name), []) if name in names else []
        for (key, row), (source, source_row) in zip(parts, theirs, strict=False):
            if key.split(".")[0] not in model.missing:
                to = own[key] if row is None else own[key][row]
                value = given[source] if source_row is None else given[source][source_row]
                if value.shape != to.shape:
                    shapes = f"{list(value.shape)}, this run {list(to.shape)}"
                    raise ModelError(f"--init has {source} of shape {shapes}; {_remedy(recipe, model)}")
                to.copy_(value)
    return {key for parts in new.values() for key, _ in parts}


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


def _move(source: Tensor, fresh: Tensor, axis: int, start: int, masked: bool, old: LabelSpace, new: LabelSpace) -> Tensor:
    """Return `fresh` with the slices of `source` for whatever both label spaces have."""
    result = fresh.clone()
    pairs = [(i, i) for i in range(start)]
    pairs += [(start + old.names.index(n), start + j) for j, n in enumerate(new.names) if n in old.names]
    if masked and old.num_datasets > 1 and new.num_datasets > 1:
        bits = [(old.datasets.index(d), j) for j, d in enumerate(new.datasets) if d in old.datasets]
        pairs += [(start + old.num_labels + i, start + new.num_labels + j) for i, j in bits]
    if pairs:
        from_, to = (torch.tensor(side, device=fresh.device) for side in zip(*pairs, strict=True))
        result.index_copy_(axis, to, source.index_select(axis, from_))
    return result
