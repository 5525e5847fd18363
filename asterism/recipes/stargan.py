"""StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image Translation (arXiv:1711.09020).

One generator takes a picture and the code of the wanted labels; one discriminator tells real from fake and classifies.
Several datasets with different labels train the same two networks: the code's mask vector says whose labels hold, and
the classification loss counts only what is known. Pictures without any label (`data.unlabelled`) count as real or translated,
and in the cycle, where their code is zero.

Shapes: x [N, C, H, W] in [-1, 1]; c [N, n] code; labels, known [N, L]; alpha [N, 1, 1, 1] in [0, 1).

What differs from the published code, beyond the engine's doing: the learning rate does fall to zero (theirs fell by
0.1 %), instance norms keep no running statistics, fakes for the discriminator carry no graph, real and fake go through
the discriminator in one batch (it has no batch statistics), and the penalty averages over patches by default where
theirs sums, which ties its target norm to the resolution. The presets named after the paper's datasets sum, so that
numbers compare; `published` also keeps the constant rate and no averaged weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from asterism.config import option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.networks.stargan import Discriminator, Generator, check_size
from asterism.objectives.adversarial import critic_fake, critic_real, generator_fake
from asterism.objectives.classification import classification
from asterism.objectives.distances import l1
from asterism.objectives.penalties import gradient_penalty
from asterism.recipes.base import Abilities, Adam, Recipe, Slot, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """StarGAN's choices; the defaults are the paper's."""

    conv_dim: int = option(64, "Channels after the generator's first convolution.", low=1)
    num_blocks: int = option(6, "Residual blocks of the generator.", low=0)
    discriminator_conv_dim: int = option(64, "Channels after the discriminator's first convolution.", low=1)
    discriminator_layers: int = option(6, "Halving convolutions of the discriminator.", low=1)
    class_weight: float = option(1.0, "Weight of the classification terms, lambda_cls in Eqs. (5) and (6).", low=0)
    reconstruction_weight: float = option(10.0, "Weight of the reconstruction term, lambda_rec in Eq. (6).", low=0)
    penalty_weight: float = option(10.0, "Weight of the gradient penalty, lambda_gp in Eq. (8).", low=0)
    penalty_patches: Literal["mean", "sum"] = option(
        "mean", "The penalty's score is the mean or the sum of a picture's patch logits."
    )
    critic_steps: int = option(5, "Discriminator updates per generator update.", unit="steps", low=1)
    targets: Literal["permutation", "uniform"] = option(
        "permutation", "Targets are the batch's own labels in another order, or uniform over domains."
    )
    generator_lr: float = option(1e-4, "Learning rate of the generator.", low=0)
    discriminator_lr: float = option(1e-4, "Learning rate of the discriminator.", low=0)


_CELEBA_LABELS = "Black_Hair,Blond_Hair,Brown_Hair,Male,Young"


class StarGAN(Recipe):
    """StarGAN: changes attributes of pictures, over any label space."""

    config_type = Config
    averaged = ("generator",)
    unlabelled = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba": {
            "recipe": {"penalty_patches": "sum"},
            "data": {"size": 128, "crop": 178, "labels": _CELEBA_LABELS},
        },
        "rafd": {
            "recipe": {"penalty_patches": "sum"},
            "data": {"size": 128, "crop": 256},
            "train": {"epochs": 200, "decay_epochs": 100},
        },
        "celeba+rafd": {"recipe": {"penalty_patches": "sum"}, "data": {"size": 256, "labels": _CELEBA_LABELS}},
        "published": {"recipe": {"penalty_patches": "sum"}, "train": {"decay_steps": 0, "ema_kimg": 0}},
        "small": {  # A laptop's CPU: narrower, and losses whose balance gets there in fewer steps.
            "recipe": {
                "conv_dim": 32,
                "num_blocks": 3,
                "discriminator_conv_dim": 32,
                "discriminator_layers": 5,
                "critic_steps": 1,
                "reconstruction_weight": 50,
                "penalty_patches": "sum",
                "generator_lr": 5e-4,
                "discriminator_lr": 1e-3,
            },
            "data": {"size": 64},
            "train": {"steps": 3000, "decay_steps": 1500, "ema_kimg": 2, "checkpoint_every": 500, "preview_every": 500},
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        size = (picture.height, picture.width)
        check_size(size, config.discriminator_layers)
        self.generator = Generator(picture.channels, space.code_size, config.conv_dim, config.num_blocks)
        self.discriminator = Discriminator(
            picture.channels, space.num_labels, size, config.discriminator_conv_dim, config.discriminator_layers
        )
        # The generator halves twice and is convolutional throughout: it takes any multiple of 4.
        self.abilities = Abilities(
            translates=True, told="code", keeps=True, side_multiple=4, judges=True, scores=("discriminator",)
        )
        self.updates = (
            Update("discriminator", trains=("discriminator",)),
            Update("generator", trains=("generator",), every=config.critic_steps, shares=True),
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5 for both networks."""
        return {"generator": Adam(self.config.generator_lr), "discriminator": Adam(self.config.discriminator_lr)}

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the targets and the interpolation factors of the penalty."""
        if self.config.targets == "permutation":
            order = torch.randperm(len(batch), generator=rng)
            named = order[batch.known[order].any(1)]  # A picture without labels is no target.
            order = named.repeat(-(-len(batch) // len(named)))[: len(batch)] if len(named) else order
            labels_trg, known_trg = batch.labels[order], batch.known[order]
        else:
            labels_trg = self.space.sample_uniform(batch.dataset, rng)
            known_trg = self.space.known(batch.dataset)
        return {
            "c_src": self.space.encode(batch.labels, batch.known, batch.dataset),
            "c_trg": self.space.encode(labels_trg, known_trg, batch.dataset),
            "labels_trg": labels_trg,
            "known_trg": known_trg,
            "alpha": torch.rand(len(batch), 1, 1, 1, generator=rng),
        }

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """The translations, which the discriminator's last update and the generator's both begin with."""
        return {"x_fake": batch.x_fake if "x_fake" in batch else self.generator(batch.x, batch.c_trg)}

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Eq. (5) with the Wasserstein form of Eq. (8)."""
        with torch.no_grad():
            x_fake = self.share(batch)["x_fake"].detach().to(batch.x.dtype)
        patches, classes = self.discriminator(torch.cat([batch.x, x_fake]))
        (real, fake), (real_classes, _) = patches.chunk(2), classes.chunk(2)
        gradient = self.discriminator.score_gradient(torch.lerp(x_fake, batch.x, batch.alpha))
        if self.config.penalty_patches == "mean":
            gradient = gradient / real.shape[1]
        return {
            "real": (1.0, critic_real(real)),
            "fake": (1.0, critic_fake(fake)),
            "class": (self.config.class_weight, classification(real_classes, batch.labels, batch.known, self.space)),  # Eq. (2)
            "penalty": (self.config.penalty_weight, gradient_penalty(gradient)),
        }

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Eq. (6) with the Wasserstein form of Eq. (8)."""
        x_fake = self.share(batch)["x_fake"]
        x_rec = self.generator(x_fake, batch.c_src)
        patches, classes = self.discriminator(x_fake)
        return {
            "fake": (1.0, generator_fake(patches)),
            "class": (
                self.config.class_weight,
                classification(classes, batch.labels_trg, batch.known_trg, self.space),
            ),  # Eq. (3)
            "reconstruction": (self.config.reconstruction_weight, l1(x_rec, batch.x)),  # Eq. (4)
        }

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return G(x, c)."""
        return self.generator(x, told)

    def classify(self, x: Tensor) -> Tensor:
        """Return the discriminator's class logits [N, L]; x has the training size."""
        return self.discriminator(x)[1]

    def realness(self, x: Tensor) -> Tensor:
        """Return the discriminator's scores [N], mean over patches."""
        return self.discriminator(x)[0].mean(1)

    def label_slots(self) -> list[Slot]:
        """The generator's first convolution reads the code; the class head writes the logits."""
        code = self.slots_along("generator.main.0.weight", 1, self.picture.channels, masked=True)
        return code + self.slots_along("discriminator.conv2.weight", 0)
