"""From a target to a picture: the one way in which a trained recipe is called, in training previews, evaluation and use."""

from __future__ import annotations

from torch import Tensor

from asterism.data.batch import Batch
from asterism.data.values import clipped
from asterism.labels import LabelSpace
from asterism.machine import at_least_float32
from asterism.recipes.base import Recipe


def whole_target(space: LabelSpace, labels: Tensor, dataset: Tensor) -> Batch:
    """Return the target that `Recipe.condition` takes: labels [N, L] of the datasets [N], all of them known."""
    known = space.known(dataset).to(labels)
    return Batch(labels=labels * known, known=known, dataset=dataset)


def asked(recipe: Recipe, wanted: Tensor, dataset: Tensor, labels: Tensor) -> Tensor:
    """Return what a recipe is told, as in use, to give pictures with `labels` the labels `wanted`, both [N, L].

    Where it is told the change: of labels that differ, of alternatives all, and of a picture that is to stay every label.
    """
    target = whole_target(recipe.space, wanted, dataset)
    if recipe.abilities.told == "change":
        differ = labels != wanted
        for choice in map(list, recipe.space.alternatives):
            differ[:, choice] = differ[:, choice].any(1, keepdim=True)
        target = target.extend(known=target.known * (differ | ~differ.any(1, keepdim=True)))
    return recipe.condition(target, labels)


def translate(recipe: Recipe, x: Tensor, told: Tensor, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
    """Return the translations of x [N, C, H, W], at least float32, in [-1, 1]; arguments as `Recipe.translate` takes.

    Features are not clamped to that range.
    """
    return clipped(at_least_float32(recipe.translate(x, told, s=s, masks=masks)), recipe.picture)


def generate(recipe: Recipe, z: Tensor, told: Tensor) -> Tensor:
    """Return pictures of latents z [N, Z], at least float32 [N, C, H, W] in [-1, 1]."""
    return clipped(at_least_float32(recipe.generate(z, told)), recipe.picture)
