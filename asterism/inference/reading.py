"""A trained projector: the network that reads the codes of one model's pictures."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.inference.placed import PlacedModel
from asterism.inference.projecting import Read
from asterism.manifold.projector import Projector
from asterism.recipes.model import load_model
from asterism.storage.model_file import FILE_NAME, find_model

FOLDER = "projector"
"""In a run's folder, the run that trained its projector."""


def own_projector(placed: PlacedModel) -> Path | None:
    """Return the model file of the projector that lies in the folder of a model's run; none where there is none."""
    path: Path | None = getattr(placed, "path", None)
    file = path.parent / FOLDER / FILE_NAME if path is not None else None
    return file if file is not None and file.is_file() else None


def read_by(placed: PlacedModel, file: str | os.PathLike[str]) -> Read:
    """Return what reads codes from pictures, by a trained projector on the model's device.

    Raises:
        ModelError: no model file.
        ConfigError: a model that is no projector, or one of other pictures or codes.
    """
    model, machine, picture = load_model(find_model(file)), placed.machine, placed.model.picture
    recipe = model.recipe
    if not isinstance(recipe, Projector):
        raise ConfigError(f"{file} is a model of {model.name} and reads no codes: asterism train projector makes one that does")
    theirs, ours = (
        f"{size} numbers from pictures of {p.channels} x {p.height} x {p.width}"
        for size, p in ((recipe.config.latent_dim, model.picture), (placed.recipe.abilities.latent, picture))
    )
    if theirs != ours:
        raise ConfigError(f"the projector {file} reads {theirs}; this model needs {ours}")
    machine.place(recipe)

    def read(x: Tensor) -> Tensor:
        with torch.no_grad(), machine.backend_flags():
            return recipe.read(x)

    return read
