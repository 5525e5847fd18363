"""What a model is made of for a program that uses it: a few graphs, tensors with meaning in, one tensor out.

    translator      image, code -> image, or for recipes with styles: image, style -> image
    classifier      image -> logits, which tell the labels that a target does not name
    mapping         latent, domain -> style
    style_encoder   image, domain -> style
    masks           image -> masks, where the translator also takes `mask_face` and `mask_core` and finds them itself

Shapes: image float32 [N, C, H, W] in [-1, 1]; code float32 [N, n], labels and mask bits; style float32 [N, S]; latent
float32 [N, Z], standard normal; domain int64 [N]; logits float32 [N, L], raw; masks float32 [N, 2, h, w] in [0, 1], face and
core. In every precision these are the types: a float16 graph converts on its way in and out.
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

LARGEST = 4096
"""Pixels of a side that a graph with free height and width takes."""


@dataclass(frozen=True)
class Graph:
    """One function of a model.

    Args:
        name: one of those at the head of this file.
        module: float32 tensors in by position, float32 out.
        inputs: name -> an example with two samples; the first dimension is the batch, and is free.
        output: name of the result.
        side_multiple: the picture's height and width are free, in multiples of this; none: they are those of training.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    output: str
    side_multiple: int | None = None

    def axes(self, name: str) -> dict[int, str]:
        """Return the free axes of an input, or of the output: axis -> batch, height or width."""
        free = {0: "batch"}
        return free | {2: "height", 3: "width"} if self.side_multiple and name == "image" else free


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


class _Given:
    """Stands for a label space where the caller has made the code already."""

    def encode(self, labels: Tensor, known: Tensor, dataset: Tensor) -> Tensor:
        """Return the code."""
        return labels


def graphs_of(model: Model, precision: str = "float32") -> list[Graph]:
    """Return the graphs of a model, the main one first.

    Args:
        precision: float32, or float16 for weights and arithmetic of half the width.
    """
    recipe = _traceable(model.recipe, torch.float16 if precision == "float16" else torch.float32)
    picture, space = model.picture, model.space
    x, y = torch.zeros(2, picture.channels, picture.height, picture.width), torch.zeros(2, dtype=torch.long)

    def graph(name: str, function: Callable[..., Tensor], output: str, multiple: int | None = None, **inputs: Tensor) -> Graph:
        return Graph(name, _Call(recipe, function).eval(), inputs, output, multiple)

    graphs = []
    if recipe.translates and recipe.styled:
        told = {"style": recipe.mean_style(y).float()}
        if recipe.masked:
            masks = masks_of(model.recipe, x) or (x[:, :1], x[:, :1])  # The caller's are of the picture's size.
            told |= dict(zip(("mask_face", "mask_core"), masks, strict=True))
        graphs.append(graph("translator", _translate_to_style, "translation", recipe.side_multiple, image=x, **told))
    elif recipe.translates:
        c = torch.zeros(2, space.code_size)
        graphs.append(graph("translator", _translate_to_code, "translation", recipe.side_multiple, image=x, code=c))
    if recipe.classifies and not model.missing:
        graphs.append(graph("classifier", lambda recipe, x: recipe.classify(x), "logits", image=x))
    if recipe.styled:
        z = torch.zeros(2, recipe.latent_dim)
        graphs.append(graph("mapping", lambda recipe, z, y: recipe.draw_style(z, y), "style", latent=z, domain=y))
        graphs.append(graph("style_encoder", lambda recipe, x, y: recipe.read_style(x, y), "style", image=x, domain=y))
        if recipe.masked and masks_of(model.recipe, x):
            graphs.append(graph("masks", lambda recipe, x: torch.cat(masks_of(recipe, x), 1), "masks", image=x))
    return graphs


def traced(graph: Graph) -> ExportedProgram:
    """Write down the operations of a graph, for any batch size and, where they are free, any height and width."""
    m = graph.side_multiple or 1
    free: dict[str, Any] = {"batch": Dim("batch", min=1)}  # 2 * m: instance norm needs more than one pixel at the bottom.
    free |= {side: m * Dim(f"{side}_{m}", min=2, max=LARGEST // m) for side in ("height", "width")}
    shapes = tuple({axis: free[name] for axis, name in graph.axes(key).items()} for key in graph.inputs)
    with torch.no_grad():
        return torch.export.export(graph.module, tuple(graph.inputs.values()), dynamic_shapes=(shapes,), strict=False)


def _traceable(recipe: Recipe, dtype: torch.dtype) -> Recipe:
    """Return a copy on the CPU whose code, or whose domain, is given as such and not made from labels."""
    recipe = copy.deepcopy(recipe).to("cpu", dtype, memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    recipe.space = _Given()  # type: ignore[assignment]
    recipe.domain = lambda labels: labels  # type: ignore[assignment]
    return recipe


def _translate_to_code(recipe: Recipe, x: Tensor, c: Tensor) -> Tensor:
    return recipe.translate(x, Batch(labels=c, known=c, dataset=c)).clamp(-1, 1)


def _translate_to_style(recipe: Recipe, x: Tensor, s: Tensor, *masks: Tensor) -> Tensor:
    given = dict(zip(("mask_face", "mask_core"), masks, strict=False))
    return recipe.translate(x, Batch(labels=s, known=s, dataset=s, s=s, **given)).clamp(-1, 1)


def masks_of(recipe: Recipe, x: Tensor) -> tuple[Tensor, ...]:
    """Return the two masks [N, 1, h, w] that a recipe finds in pictures x [N, C, H, W]; none where the caller gives them."""
    return tuple(recipe.observe(Batch(labels=x, x=x)).values())
