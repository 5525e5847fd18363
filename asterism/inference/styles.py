"""How a translation is to look, for recipes with styles: a seed, a reference picture, or the domain's mean style."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.labels import Edit
from asterism.recipes.base import Recipe


@dataclass(frozen=True)
class Target:
    """What pictures are translated to.

    Args:
        edits: one per pass of the model.
        style: how the result is to look, for recipes with styles; none takes the mean style.
    """

    edits: tuple[Edit, ...]
    style: Style | None = None


@dataclass(frozen=True)
class Style:
    """A style for all sources alike.

    Args:
        seed: draws the latent; the same seed is the same style for every picture.
        like: a reference picture, float32 [1, C, H, W] in [-1, 1] at the model's size, whose style is read; none and no
            seed: the domain's mean style.
        truncation: psi, draws the style towards the domain's mean: 1 leaves it, 0 is the mean (StarGAN v2, Appendix).
        strength: 1 is the style, 0 the source's own, read with the head of `source`: the model's reconstruction of it.
        source: labels [1, L] of the domain that the sources are read as; none reads them as the target's.
    """

    seed: int | None = None
    like: Tensor | None = None
    truncation: float = 1.0
    strength: float = 1.0
    source: Tensor | None = None

    def __post_init__(self) -> None:
        if self.seed is not None and self.like is not None:
            raise ConfigError("a style comes from a seed or from a reference picture: give one of them")
        for name in ("truncation", "strength"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected between 0 and 1")

    def of(self, recipe: Recipe, x: Tensor, labels: Tensor) -> Tensor:
        """Return the styles [N, S] for sources x [N, C, H, W] and target labels [N, L]."""
        s = self._wanted(recipe, labels)
        if self.strength < 1:
            own = labels if self.source is None else self.source.to(labels).expand_as(labels)
            s = torch.lerp(recipe.read_style(x, own).float(), s, self.strength)
        return s

    def _wanted(self, recipe: Recipe, labels: Tensor) -> Tensor:
        if self.seed is None and self.like is None:
            return recipe.mean_style(labels).float()
        if self.like is not None:
            s = recipe.read_style(self.like.to(labels.device).expand(len(labels), -1, -1, -1), labels).float()
        else:
            z = torch.randn(1, recipe.latent_dim, generator=torch.Generator().manual_seed(self.seed))
            s = recipe.draw_style(z.to(labels.device).expand(len(labels), -1), labels).float()
        return s if self.truncation == 1 else torch.lerp(recipe.mean_style(labels).float(), s, self.truncation)
