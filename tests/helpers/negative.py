"""A model whose pictures can be foretold: it inverts brightness and notes what it is asked for."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from asterism.data.pictures import PictureFormat
from asterism.inference.translator import Translator
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.base import Abilities, Recipe
from asterism.recipes.model import Model

FACES = LabelGroup("faces", ("Black_Hair", "Blond_Hair", "Male", "Young"), "binary", (("Black_Hair", "Blond_Hair"),))
MOODS = LabelGroup("moods", ("happy", "sad"), "one_of")


class Negative(Recipe):
    """Inverts pictures, notes them and the codes, and reads labels from the first pixels of the first row."""

    def __init__(self, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(None, space, picture)
        self.network = nn.Identity()
        self.asked: list[tuple[Tensor, Tensor]] = []
        self.abilities = Abilities(translates=True, told="code", judges=True)
        self.classified = 0

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        self.asked.append((x, told))
        return -1.5 * x  # Raw: beyond [-1, 1].

    def classify(self, x: Tensor) -> Tensor:
        self.classified += 1
        return 10 * x[:, 0, 0, : self.space.num_labels]


def negative(
    *groups: LabelGroup,
    channels: int = 3,
    size: tuple[int, int] = (16, 16),
    depth: int = 8,
    crop: int = 0,
    missing: tuple = (),
    high: float = 0,
) -> Translator:
    space = LabelSpace(groups or (FACES,))
    picture = PictureFormat(channels, *size, high=high or float(2**depth - 1), depth=depth, crop=crop)
    recipe = Negative(space, picture)
    return Translator(Model(recipe, "negative", space, picture, None, {}, missing), "cpu", "float32")


def asked(translator: Translator, call: int = -1) -> list[list[int]]:
    """Return the labels that a call was asked for."""
    return translator.recipe.asked[call][1][:, : translator.model.space.num_labels].int().tolist()


def inverted(stored: np.ndarray) -> np.ndarray:
    """What the model makes of stored 8-bit values."""
    x = stored.astype(np.float64) / 127.5 - 1
    return np.rint((np.clip(-1.5 * x, -1, 1) + 1) * 127.5).astype(np.uint8)
