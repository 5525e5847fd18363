"""A network that reads the codes of pictures (iGAN, arXiv:1609.03552, Section 4.1.1), trained for one generator.

The generator rests. Its own samples have codes that are known; the data's pictures have none, and are to be made again:

    code     the squared error of the latents of generated pictures
    pixels   the squared error of what the generator makes of the codes that are read from real pictures, Eq. (5)

Shapes: x [N, C, S, S] in [-1, 1]; z [N, Z] standard normal.

What differs from the published code: the pictures' features in AlexNet do not count, whose file is nobody's to bring along;
the generator's own samples do; a code is what the network says, where theirs, for uniform latents, is its tanh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from asterism.config import ConfigError, option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.networks.dcgan import initialize
from asterism.networks.layers import BatchNorm2d, Conv2d
from asterism.networks.sizes import check_square
from asterism.objectives.distances import squared
from asterism.recipes.base import Abilities, Adam, Recipe, Terms, Update
from asterism.recipes.model import load_model
from asterism.storage.model_file import ModelError, find_model
from asterism.storage.run_files import called

SLOPE = 0.2
"""Negative slope of the leaky ReLUs."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A projector's choices."""

    model: str = option("", "Run or model file of the generator whose codes are to be read.")
    latent_dim: int = option(0, "Numbers in a code; 0: those that the model's latents have.", low=0)
    conv_dim: int = option(64, "Channels after the first convolution.", low=1)
    code_weight: float = option(1.0, "Weight of the codes of generated pictures.", low=0)
    pixel_weight: float = option(1.0, "Weight of the pixels of real pictures that are made again.", low=0)
    lr: float = option(2e-4, "Learning rate.", low=0)


class Network(nn.Module):
    """iGAN's projector: DCGAN's discriminator, convolutions that halve down to 4 x 4, with Z outputs of one full layer.

    Args:
        channels: C of the pictures.
        size: S.
        outputs: Z.
        width: channels after the first convolution, which double with every further one; the paper's is 128.
    """

    def __init__(self, channels: int, size: int, outputs: int, width: int = 64) -> None:
        super().__init__()
        widths = [width << depth for depth in range(size.bit_length() - 3)]
        layers: list[nn.Module] = [Conv2d(channels, width, 5, 2, 2, bias=False), nn.LeakyReLU(SLOPE)]
        for narrow, wide in zip(widths[:-1], widths[1:], strict=True):
            layers += [Conv2d(narrow, wide, 5, 2, 2, bias=False), BatchNorm2d(wide), nn.LeakyReLU(SLOPE)]
        self.main = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * widths[-1], outputs, bias=False))
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, Z] of pictures [N, C, S, S] in [-1, 1]; iGAN, whose latents are uniform, takes the tanh of it."""
        return self.main(x)


class Projector(Recipe):
    """A projector: from a picture to the code whose picture is like it."""

    config_type = Config
    averaged = ("encoder",)
    labelled = False
    coupled = True
    calls_out = True  # The generator is none of its networks.

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        check_square((picture.height, picture.width), 16, 256, "a projector reads")
        self.generators: tuple[Recipe, ...] = ()  # In a tuple, so that it is none of the networks.
        self.source = config.model
        size = config.latent_dim or self._generator().abilities.latent
        self.config = replace(config, latent_dim=size, model=called(config.model) if config.model else "")
        self.encoder = Network(picture.channels, picture.height, size, config.conv_dim)
        self.abilities = Abilities()
        self.updates = (Update("encoder", trains=("encoder",)),)

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5."""
        return {"encoder": Adam(self.config.lr)}

    def begin(self, new: bool) -> tuple[str, ...]:
        """Read the generator.

        Raises:
            ConfigError: none is named, or one of other pictures or codes.
        """
        generator = self._generator()
        if generator.abilities.latent != self.config.latent_dim:
            raise ConfigError(
                f"recipe.latent_dim is {self.config.latent_dim}; the latents of {self.source} have {generator.abilities.latent}"
            )
        self.generators = (generator,)
        return ()

    def _generator(self) -> Recipe:
        if not self.source:
            raise ConfigError("a projector reads the codes of a model: name it, --model RUN")
        try:
            model = load_model(find_model(self.source))
        except ModelError as error:
            raise ConfigError(f"recipe.model: {error}") from error
        can, theirs, ours = model.recipe.abilities, model.picture, self.picture
        if not can.generates or can.told != "none":
            raise ConfigError(
                f"recipe.model: {self.source} is a model of {model.name}; a projector reads latents of models that generate "
                "and are told no labels"
            )
        made, here = (f"{p.channels} x {p.height} x {p.width}" for p in (theirs, ours))
        if made != here:
            raise ConfigError(
                f"recipe.model: {self.source} makes pictures of {made} values; these data give {here}: set --data.size"
            )
        return model.recipe

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> Any:
        """Move the generator along."""
        for generator in self.generators:
            generator._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the latents of the pictures that are generated."""
        return {"z": torch.randn(len(batch), self.config.latent_dim, generator=rng)}

    def encoder_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Read the codes of generated pictures, and make real ones again; each a batch of its own."""
        (generator,) = self.generators
        nothing = batch.z[:, :0]
        with torch.no_grad():
            x_fake = generator.generate(batch.z, nothing).to(batch.x.dtype)
        x_rec = generator.generate(self.encoder(batch.x).to(batch.z.dtype), nothing)
        return {
            "code": (self.config.code_weight, squared(self.encoder(x_fake), batch.z)),
            "pixels": (self.config.pixel_weight, squared(x_rec, batch.x)),
        }

    def read(self, x: Tensor) -> Tensor:
        """Return the codes [N, Z] of pictures [N, C, S, S] in [-1, 1]."""
        return self.encoder(x)
