"""The recipes, one file each; adding one is a file and a line here."""

from __future__ import annotations

import importlib
from typing import Any

from asterism.config import ConfigError, closest

RECIPES = {
    "stargan": "asterism.recipes.stargan:StarGAN",
    "fixed_point": "asterism.recipes.fixed_point:FixedPointGAN",
    "stargan_v2": "asterism.recipes.stargan_v2:StarGANv2",
    "dcgan": "asterism.recipes.dcgan:DCGAN",
}

JUDGES = {
    "classifier": "asterism.recipes.classifier:Classifier",
}
"""Recipes that evaluation trains for itself."""


def recipe_class(name: str) -> Any:
    """Return the recipe class of that name; imported here, since a recipe's file imports PyTorch.

    Raises:
        ConfigError: no such recipe; names the closest.
    """
    known = RECIPES | JUDGES
    if name not in known:
        raise ConfigError(f"no recipe {name!r}: {closest(name, RECIPES)}")
    module, _, attribute = known[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
