"""What a loaded model does with its codes: pictures of codes, and codes of pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.inference.codes import chosen_codes, written
from asterism.inference.decoding import code_in_words, moved, saved_codes
from asterism.inference.editing import Edited, edit_pictures
from asterism.inference.generator import chosen_seeds, decoded, latents, told_of
from asterism.inference.images import rebuilt
from asterism.inference.placed import PlacedModel
from asterism.inference.projecting import Projected, project_pictures


class OnManifold(PlacedModel):
    """A model whose codes can be drawn, found and changed.

    Attributes:
        path: the model file that it was loaded from; None for a model from memory.
    """

    path: Path | None = None

    def generate(
        self,
        count: int | None = None,
        *,
        seeds: Sequence[int] | None = None,
        code: str | Tensor | None = None,
        codes: str | Mapping[str, float] | None = None,
        to: str | Mapping[str, Any] | None = None,
        along: Mapping[str, float] | None = None,
        truncation: float = 1.0,
        batch_size: int = 16,
    ) -> list[Any]:
        """Make pictures of latents, for recipes that generate.

        Args:
            count: that many, of the seeds 0, 1, ...; none takes 16.
            seeds: of each its picture, in this order, in place of `count`.
            code: instead of seeds: latents [N, Z] or [Z], or a sum of saved ones in words, `smiling - neutral + 0.5*seed3`.
            codes: the values of codes by name, for recipes that have them, in words (`digit=3,tilt=0.5`) or as {"digit": 3,
                "tilt": 0.5}; a code that it does not name has the value that the seed gives it.
            to: the target in words (`Blond_Hair`) or as {"Blond_Hair": True}, for recipes that are told labels; labels that it
                does not name do not hold.
            along: directions that are kept beside the model, by name, and how far to go: {"Smiling": 2}.
            truncation: draws latents towards their mean: 1 leaves them, 0 is the mean.
            batch_size: pictures at once; changes no picture beyond rounding.

        Returns:
            PIL images of the model's size; arrays [h, w, C] where Pillow cannot hold the pictures.

        Raises:
            ModelError, LabelError: as for `asterism.inference.generator.told_of`.
            ConfigError: a count, batch size, seed or code that is out of range, names that are unknown, both `count` and
                `seeds`, or latents longer than any that are drawn.
        """
        told = told_of(self, to)
        z = written(moved(self, self.latents(count, seeds=seeds, code=code), along, truncation), chosen_codes(self, codes))
        return [rebuilt(y, self.model.picture) for y in decoded(self, z, told, batch_size)]

    def latents(
        self,
        count: int | None = None,
        *,
        seeds: Sequence[int] | None = None,
        code: str | Tensor | Sequence[str] | None = None,
        codes_file: str | os.PathLike[str] | None = None,
    ) -> Tensor:
        """Return the latents [N, Z] of seeds, or those that sums describe; arguments as for `generate`.

        Args:
            codes_file: a file of codes that names come from, in place of the codes beside the model.

        Raises:
            ModelError: the model does not generate.
            ConfigError: both seeds and a code, an unknown name, or codes of another size.
        """
        self.model.require("generates")
        size = self.recipe.abilities.latent
        if code is None:
            return latents(chosen_seeds(count, seeds), size)
        if count is not None or seeds is not None:
            raise ConfigError("give seeds, or a code, not both")
        if isinstance(code, Tensor):
            z = code.detach().float().cpu()
            return z[None] if z.ndim == 1 else z
        saved = saved_codes(self, size, codes_file)
        return torch.stack([code_in_words(self, words, saved) for words in ([code] if isinstance(code, str) else code)])

    def project(self, images: Any, **how: Any) -> Projected:
        """Find the codes of pictures; as `asterism.inference.projecting.project_pictures`."""
        return project_pictures(self, images, **how)

    def edit(self, start: Tensor | str | None = None, **how: Any) -> Edited:
        """Edit a code by strokes; as `asterism.inference.editing.edit_pictures`."""
        return edit_pictures(self, start, **how)
