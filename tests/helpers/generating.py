"""Tiny models that generate, for tests: DCGAN, and one that is told labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from asterism.data.pictures import PictureFormat
from asterism.inference.translator import Translator
from asterism.labels import LabelSpace
from asterism.recipes.base import Abilities, Recipe
from asterism.recipes.dcgan import DCGAN, Config
from asterism.recipes.model import Model, save_model

COLOURS = LabelSpace.from_text("discs:one_of:Red,Green,Blue")


def save_dcgan(
    folder: Path, *, size: int = 16, channels: int = 3, depth: int = 8, space: LabelSpace = COLOURS, latent: int = 8
) -> Path:
    """Write a run that is a model file alone; its weights are far enough from the initial ones to make pictures that differ."""
    torch.manual_seed(0)
    picture = PictureFormat(channels, size, size, depth=depth, low=0, high=2**depth - 1)
    recipe = DCGAN(Config(latent_dim=latent, conv_dim=4, discriminator_conv_dim=4), space, picture)
    with torch.no_grad():
        for parameter in recipe.generator.parameters():
            parameter.mul_(10)
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder / "model.safetensors", recipe, "dcgan", recipe.state_dict(), info={"step": 1})
    return folder


@dataclass(frozen=True)
class NoConfig:
    """Nothing to choose."""


class Painter(Recipe):
    """Makes plain pictures of the colour that it is told, a little lighter or darker by its latent."""

    config_type = NoConfig

    def __init__(self, config: NoConfig, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        self.paint = nn.Linear(space.code_size, picture.channels, bias=False)
        nn.init.eye_(self.paint.weight)
        self.abilities = Abilities(generates=True, told="code", latent=1)

    def generate(self, z: Tensor, told: Tensor) -> Tensor:
        """Return the colour of each code, in all pixels."""
        plain = self.paint(told) * 1.5 - 0.75 + 0.05 * z.tanh()
        return plain[:, :, None, None].expand(-1, -1, self.picture.height, self.picture.width)


def painter(space: LabelSpace = COLOURS) -> Translator:
    """Return a loaded model that is told labels."""
    picture = PictureFormat(3, 8, 8)
    recipe = Painter(NoConfig(), space, picture).eval()
    return Translator(Model(recipe, "painter", space, picture, NoConfig(), {}), "cpu", "float32")
