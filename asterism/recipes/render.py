"""From a target to a picture: the one way in which a trained recipe is called, in training previews, evaluation and use."""

from __future__ import annotations

from torch import Tensor

from asterism.data.batch import Batch
from asterism.data.pictures import clipped
from asterism.labels import LabelSpace
from asterism.machine import at_least_float32
from asterism.recipes.base import Recipe


def whole_target(space: LabelSpace, labels: Tensor, dataset: Tensor) -> Batch:
    """Return the target that `Recipe.condition` takes: labels [N, L] of the datasets [N], all of them known."""
    known = space.known(dataset)
    return Batch(labels=labels * known, known=known, dataset=dataset)


def translate(recipe: Recipe, x: Tensor, told: Tensor, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
    """Return the translations of x [N, C, H, W], at least float32, in [-1, 1]; arguments as `Recipe.translate` takes.

    Features are not clamped to that range.
    """
    return clipped(at_least_float32(recipe.translate(x, told, s=s, masks=masks)), recipe.picture)


def generate(recipe: Recipe, z: Tensor, told: Tensor) -> Tensor:
    """Return pictures of latents z [N, Z], at least float32 [N, C, H, W] in [-1, 1]."""
    return clipped(at_least_float32(recipe.generate(z, told)), recipe.picture)
