"""Translators of random weights."""

from __future__ import annotations

from asterism.inference.translator import Translator
from asterism.labels import LabelSpace
from asterism.recipes.model import Model
from tests.helpers.recipes import tiny

GROUPS = "faces:binary:Black_Hair,Blond_Hair,Glasses;moods:one_of:happy,sad"


def translator(recipe: str = "stargan", groups: str = GROUPS) -> Translator:
    """A translator of random weights, 32 x 32 pixels, so that every target gives another picture."""
    made = tiny(recipe, LabelSpace.from_text(groups)).eval().requires_grad_(False)
    return Translator(Model(made, recipe, made.space, made.picture, made.config, {}), "cpu", "float32")
