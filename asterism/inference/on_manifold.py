"""What a loaded model does with its codes: pictures of codes, and codes of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asterism.inference.generator import generate
from asterism.inference.placed import PlacedModel
from asterism.inference.projecting import Projected, project_pictures


class OnManifold(PlacedModel):
    """A model whose codes can be drawn, found and changed.

    Attributes:
        path: the model file that it was loaded from; None for a model from memory.
    """

    path: Path | None = None

    def generate(self, count: int | None = None, *, seeds: Any = None, to: Any = None, batch_size: int = 16) -> list[Any]:
        """Make pictures of latents, for recipes that generate; as `asterism.inference.generator.generate`."""
        return generate(self, count, seeds=seeds, to=to, batch_size=batch_size)

    def project(self, images: Any, **how: Any) -> Projected:
        """Find the codes of pictures; as `asterism.inference.projecting.project_pictures`."""
        return project_pictures(self, images, **how)
