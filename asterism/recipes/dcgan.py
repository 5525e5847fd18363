"""Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks (DCGAN, arXiv:1511.06434).

One generator makes pictures of latents, from nothing else; one discriminator tells them from real ones. Convolutions
throughout, batch norm in both networks, and no labels.

Shapes: x [N, C, S, S] in [-1, 1]; z [N, Z] standard normal; logits [N].

What differs from the published PyTorch code, beyond the engine's doing: the running statistics of a batch norm move only
when its network trains, so not in the discriminator while it judges the fakes of the generator's update; a trained model
generates with running statistics, so that a picture depends on its own latent alone, where theirs kept normalising by the
batch. Both keep averaged weights and a decaying rate here by default; `published` keeps neither. The paper draws z from
U(-1, 1) and has kernels of 5 x 5; its preset, `lsun`, has its widths and batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from asterism.config import option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.networks.dcgan import Discriminator, Generator, check_size
from asterism.objectives.adversarial import logistic_fake, logistic_real
from asterism.recipes.base import Abilities, Adam, Recipe, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """DCGAN's choices; the defaults are the published PyTorch code's."""

    latent_dim: int = option(100, "Numbers in a latent z.", low=1)
    conv_dim: int = option(64, "Channels before the generator's last convolution.", low=1)
    discriminator_conv_dim: int = option(64, "Channels after the discriminator's first convolution.", low=1)
    generator_lr: float = option(2e-4, "Learning rate of the generator.", low=0)
    discriminator_lr: float = option(2e-4, "Learning rate of the discriminator.", low=0)


_DATA = {"size": 64, "flip": False}


class DCGAN(Recipe):
    """DCGAN: new pictures, from noise."""

    config_type = Config
    averaged = ("generator",)
    protocol = "generation"
    advised_batch = 16
    labelled = False
    coupled = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "lsun": {
            "recipe": {"conv_dim": 128, "discriminator_conv_dim": 128},
            "data": _DATA,
            "train": {"epochs": 25, "decay_steps": 0, "batch_size": 128},
        },
        "published": {"data": _DATA, "train": {"epochs": 25, "decay_steps": 0, "batch_size": 64, "ema_kimg": 0}},
        "small": {  # A laptop's CPU: narrower, the discriminator more so, which else wins early.
            "recipe": {"conv_dim": 32, "discriminator_conv_dim": 16, "generator_lr": 4e-4, "discriminator_lr": 4e-4},
            "data": {"size": 64},
            "train": {
                "steps": 4000,
                "decay_steps": 2000,
                "batch_size": 32,
                "ema_kimg": 5,
                "checkpoint_every": 500,
                "preview_every": 500,
                "evaluate_every": 500,
            },
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        check_size((picture.height, picture.width))
        self.generator = Generator(picture.channels, picture.height, config.latent_dim, config.conv_dim)
        self.discriminator = Discriminator(picture.channels, picture.height, config.discriminator_conv_dim)
        self.abilities = Abilities(generates=True, latent=config.latent_dim, scores=("discriminator",))
        self.updates = (
            Update("discriminator", trains=("discriminator",)),
            Update("generator", trains=("generator",), shares=True),
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5 for both networks."""
        return {"generator": Adam(self.config.generator_lr), "discriminator": Adam(self.config.discriminator_lr)}

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the latents, which both updates use."""
        return {"z": torch.randn(len(batch), self.config.latent_dim, generator=rng)}

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """The fakes: the discriminator's update and the generator's both begin with them."""
        return {"x_fake": batch.x_fake if "x_fake" in batch else self.generator(batch.z)}

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """-log D(x) - log(1 - D(G(z))), not halved; each batch has batch statistics of its own."""
        with torch.no_grad():
            x_fake = self.share(batch)["x_fake"].detach().to(batch.x.dtype)
        return {
            "real": (1.0, logistic_real(self.discriminator(batch.x))),
            "fake": (1.0, logistic_fake(self.discriminator(x_fake))),
        }

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """-log D(G(z)), the non-saturating form, by the discriminator that has just been trained."""
        return {"adversarial": (1.0, logistic_real(self.discriminator(self.share(batch)["x_fake"])))}

    def generate(self, z: Tensor, told: Tensor) -> Tensor:
        """Return G(z); nothing is told."""
        return self.generator(z)

    def realness(self, x: Tensor) -> Tensor:
        """Return the discriminator's logits [N]."""
        return self.discriminator(x)
