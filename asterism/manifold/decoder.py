"""What decodes a code: the latent of a generator, the style of a translation, or the labels that one is told.

Shapes: N codes of D numbers; pictures [N, C, h, w] in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from asterism.manifold.spaces import Ball, Box, Space, Styles
from asterism.recipes import render
from asterism.recipes.base import Recipe

STYLES = 512
"""Styles of random latents that searches for a style start from."""


@dataclass(frozen=True)
class Decoder:
    """A code's picture.

    Args:
        kind: what a code is.
        space: where codes lie.
        decode: from codes [N, D] to pictures; a picture depends on its own code alone, and gradients pass.
        own: the code [1, D] that the model itself reads from the source, where it does.
    """

    kind: Literal["latent", "style", "labels"]
    space: Space
    decode: Callable[[Tensor], Tensor]
    own: Tensor | None = None


def pausing(decoder: Decoder, pause: Callable[[], None] | None) -> Decoder:
    """Return a decoder that calls `pause` before it makes pictures; what that raises is the end."""
    if pause is None:
        return decoder

    def decode(codes: Tensor) -> Tensor:
        pause()
        return decoder.decode(codes)

    return replace(decoder, decode=decode)


def of_latents(recipe: Recipe, told: Tensor) -> Decoder:
    """Return the decoder of a recipe that generates.

    Args:
        told: [1, ...], of `Recipe.condition`.
    """

    def decode(z: Tensor) -> Tensor:
        return render.generate(recipe, z, told.expand(len(z), *told.shape[1:]))

    return Decoder("latent", Ball(recipe.abilities.latent), decode)


def of_styles(recipe: Recipe, x: Tensor, told: Tensor) -> Decoder:
    """Return the decoder of the styles in which one picture x [1, C, h, w] is translated to what is told, [1, ...]."""
    drawn = torch.randn(STYLES, recipe.abilities.latent, generator=torch.Generator().manual_seed(0)).to(x)
    with torch.no_grad():
        styles = recipe.draw_style(drawn, told.expand(STYLES, *told.shape[1:]))
        own = recipe.read_style(x, told) if recipe.abilities.reads_style else None

    def decode(s: Tensor) -> Tensor:
        return render.translate(recipe, x.expand(len(s), -1, -1, -1), told.expand(len(s), *told.shape[1:]), s)

    return Decoder("style", Styles(styles.float().cpu()), decode, own)


def of_labels(recipe: Recipe, x: Tensor, told: Tensor, labels: slice) -> Decoder:
    """Return the decoder of the labels that a translation of one picture x [1, C, h, w] is told, as numbers.

    Args:
        told: [1, n] float, of `Recipe.condition`: the picture's own, or no change.
        labels: those of `told` that a code holds; the others, of other datasets and the mask, stay.
    """
    low = 0.0 if recipe.abilities.told == "code" else -1.0  # Labels, or differences of labels.
    size = len(range(told.shape[1])[labels])

    def decode(code: Tensor) -> Tensor:
        whole = told.expand(len(code), -1).clone()
        whole[:, labels] = code
        return render.translate(recipe, x.expand(len(code), -1, -1, -1), whole)

    return Decoder("labels", Box(size, low, 1.0), decode, told[:, labels])
