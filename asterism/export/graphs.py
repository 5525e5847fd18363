"""The graphs of a model for other programs: named tensors in, one tensor out.

    translator      image, code (or domain, or difference) -> image, or for recipes with styles: image, style -> image
    generator       latent, and what it is told -> image, for recipes that generate
    classifier      image -> logits, which tell the labels that a target does not name
    mapping         latent, domain -> style
    style_encoder   image, domain -> style
    masks           image -> masks, where the translator also takes `mask_face` and `mask_core` and finds them itself

Shapes: image float32 [N, C, H, W] in [-1, 1], or ids of label maps; code float32 [N, n], labels and mask bits; style float32
[N, S]; latent float32 [N, Z], standard normal; domain int64 [N]; logits float32 [N, L], raw; masks float32 [N, 2, h, w] in
[0, 1], face and core. In every precision these are the types: a float16 graph converts on its way in and out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from asterism.data.batch import Batch
from asterism.recipes.base import Recipe
from asterism.recipes.model import Model
from asterism.recipes.render import generate, translate

LARGEST = 4096
"""Largest side in pixels that a graph with free height and width accepts."""


@dataclass(frozen=True)
class Graph:
    """One function of a model.

    Args:
        name: one of those at the head of this file.
        module: float32 tensors in by position, float32 out.
        inputs: name -> an example with two samples; the first dimension is the batch, and is free.
        output: name of the result.
        side_multiple: the picture's height and width are free, in multiples of this; none: they are those of training.
        fixed_height: of the two only the width is free.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    output: str
    side_multiple: int | None = None
    fixed_height: bool = False

    def axes(self, name: str) -> dict[int, str]:
        """Return the free axes of an input, or of the output: axis -> batch, height or width."""
        free = {0: "batch"}
        if self.side_multiple and name == "image":
            free |= {3: "width"} if self.fixed_height else {2: "height", 3: "width"}
        return free


class _Call(nn.Module):
    """A function of a recipe as a module, in float32 outside and in the recipe's own precision inside."""

    def __init__(self, recipe: Recipe, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.recipe, self.function = recipe, function
        self.dtype = next(recipe.parameters()).dtype

    def forward(self, *inputs: Tensor) -> Tensor:
        """Call the function."""
        own = [x.to(self.dtype) if x.is_floating_point() else x for x in inputs]
        return self.function(self.recipe, *own).float()


def graphs_of(model: Model, precision: str = "float32") -> list[Graph]:
    """Return the graphs of a model, the main one first.

    Args:
        precision: float32, or float16 for weights and arithmetic of half the width.
    """
    recipe = _traceable(model, torch.float16 if precision == "float16" else torch.float32)
    picture, space = model.picture, model.space
    x, y = torch.zeros(2, picture.taken.channels, picture.height, picture.width), torch.zeros(2, dtype=torch.long)
    seen = (
        x if picture.source is None else torch.zeros(2, picture.channels, picture.height, picture.width)
    )  # By encoders of styles.

    def graph(name: str, function: Callable[..., Tensor], output: str, multiple: int | None = None, **inputs: Tensor) -> Graph:
        return Graph(name, _Call(recipe, function).eval(), inputs, output, multiple, recipe.abilities.fixed_height)

    can, graphs = recipe.abilities, []
    labels = torch.zeros(2, space.num_labels)
    told = recipe.condition(Batch(labels=labels, known=labels, dataset=y), labels)
    inputs = {can.told: told} if can.told != "none" else {}
    if can.translates and can.style:
        looks = {"style": torch.zeros(2, can.style)}
        found = model.recipe.find_masks(x)
        if can.masks:
            given = found or tuple(x[:, :1].clone() for _ in can.masks)  # The caller's are of the picture's size.
            looks |= dict(zip(can.masks, given, strict=True))
        noise = not can.reads_style and not can.targets  # Such a style says nothing of the domain, which is told as well.
        looks = inputs | looks if noise else looks
        styled = _translate_to_both if noise else _translate_to_style
        graphs.append(graph("translator", styled, "translation", can.side_multiple, image=x, **looks))
    elif can.translates:
        graphs.append(graph("translator", _translate, "translation", can.side_multiple, image=x, **inputs))
    if can.generates:
        graphs.append(graph("generator", _generate, "picture", None, latent=torch.zeros(2, can.latent), **inputs))
    if can.judges and not model.missing:
        graphs.append(graph("classifier", lambda recipe, x: recipe.classify(x), "logits", image=x))
    if can.style:
        z = torch.zeros(2, can.latent)
        graphs.append(graph("mapping", lambda recipe, z, y: recipe.draw_style(z, y), "style", latent=z, domain=y))
    if can.reads_style:
        graphs.append(graph("style_encoder", lambda recipe, x, y: recipe.read_style(x, y), "style", image=seen, domain=y))
    if can.style and found:
        graphs.append(graph("masks", lambda recipe, x: torch.cat(recipe.find_masks(x), 1), "masks", image=x))
    return graphs


def traced(graph: Graph) -> ExportedProgram:
    """Write down the operations of a graph, for any batch size and, where they are free, any height and width."""
    m = graph.side_multiple or 1
    free: dict[str, Any] = {"batch": Dim("batch", min=1)}  # 2 * m: instance norm needs more than one pixel at the bottom.
    free |= {side: m * Dim(f"{side}_{m}", min=2, max=LARGEST // m) for side in ("height", "width")}
    shapes = tuple({axis: free[name] for axis, name in graph.axes(key).items()} for key in graph.inputs)
    with torch.no_grad():
        return torch.export.export(graph.module, tuple(graph.inputs.values()), dynamic_shapes=(shapes,), strict=False)


def _traceable(model: Model, dtype: torch.dtype) -> Recipe:
    """Return a copy on the CPU, plane by plane, in a precision; pictures pass networks that the model lacks as they are."""
    copied: Recipe = copy.deepcopy(model.recipe)
    for name in model.missing:
        setattr(copied, name, nn.Identity())
    return copied.to("cpu", dtype, memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


def _translate(recipe: Recipe, x: Tensor, told: Tensor | None = None) -> Tensor:
    return translate(recipe, x, x[:, :0, 0, 0] if told is None else told)


def _translate_to_style(recipe: Recipe, x: Tensor, s: Tensor, *masks: Tensor) -> Tensor:
    return translate(recipe, x, s, s, masks)


def _translate_to_both(recipe: Recipe, x: Tensor, told: Tensor, s: Tensor, *masks: Tensor) -> Tensor:
    return translate(recipe, x, told, s, masks)


def _generate(recipe: Recipe, z: Tensor, told: Tensor | None = None) -> Tensor:
    return generate(recipe, z, z[:, :0] if told is None else told)
