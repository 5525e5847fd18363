"""STGAN: A Unified Selective Transfer Network for Arbitrary Image Attribute Editing (arXiv:1904.09709).

The generator is told what is to change: the difference between the wanted labels and those of the picture. Selective
transfer units on its skips decide by that difference which details of the source pass on. Nothing leads back: for the
difference zero the picture itself must come out.

Shapes: x [N, C, H, W] in [-1, 1]; v [N, L] in [-1, 1], the difference; labels, known [N, L]; alpha [N, 1, 1, 1] in [0, 1).

Networks and terms are those of the authors' TensorFlow code, compared with its recorded numbers. The PyTorch port
(STGAN-pytorch) departs from the paper: it sums classification terms where the paper averages, scales differences at random
in training, and has other units, decoder and discriminator; none of that is here. What differs from the authors' code,
beyond the engine's doing: the learning rate falls linearly over the second half, where theirs falls to a tenth at once, and
the running statistics of the generator's batch norms move in its own updates alone, by a tenth each time, where theirs move
by a thousandth, in the discriminator's updates too. TensorFlow takes the mean within the variance of an instance norm for a
constant, so the gradient of their penalty lacks a part; `published` does without it too.
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
from asterism.networks.stgan import Discriminator, Generator, check_size
from asterism.objectives.adversarial import critic_fake, critic_real, generator_fake
from asterism.objectives.classification import classification
from asterism.objectives.distances import l1
from asterism.objectives.penalties import gradient_penalty, input_gradient
from asterism.recipes.base import Abilities, Adam, Recipe, Slot, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """STGAN's choices; the defaults are the paper's."""

    conv_dim: int = option(64, "Channels after the generator's first convolution.", low=1)
    num_layers: int = option(5, "Halvings of the generator.", low=2)
    num_skips: int = option(4, "Levels, from the innermost, with a skip and its selective transfer unit.", low=0)
    num_injections: int = option(4, "Levels of the decoder, from the innermost, that are told the difference.", low=0)
    num_state_injections: int = option(4, "States of units, from the innermost, that are told the difference.", low=0)
    discriminator_conv_dim: int = option(64, "Channels after the discriminator's first convolution.", low=1)
    discriminator_layers: int = option(5, "Halvings of the discriminator.", low=1)
    discriminator_fc_dim: int = option(1024, "Width of the hidden layer of the discriminator's heads.", low=1)
    class_weight: float = option(1.0, "Weight of the discriminator's classification term, lambda_1.", low=0)
    target_weight: float = option(10.0, "Weight of the generator's classification term, lambda_2.", low=0)
    reconstruction_weight: float = option(100.0, "Weight of the reconstruction term, lambda_3.", low=0)
    penalty_weight: float = option(10.0, "Weight of the gradient penalty, lambda.", low=0)
    penalty_gradient: Literal["exact", "published"] = option(
        "exact", "The penalty's own gradient, or TensorFlow's, which takes means within the variances of norms for constants."
    )
    critic_steps: int = option(5, "Discriminator updates per generator update, each on a batch of its own.", low=1)
    generator_lr: float = option(2e-4, "Learning rate of the generator.", low=0)
    discriminator_lr: float = option(2e-4, "Learning rate of the discriminator.", low=0)


_CELEBA = {
    "labels": "Bald,Bangs,Black_Hair,Blond_Hair,Brown_Hair,Bushy_Eyebrows,Eyeglasses,Male,Mouth_Slightly_Open,Mustache,"
    "No_Beard,Pale_Skin,Young",
    "conflicts": "Black_Hair|Blond_Hair|Brown_Hair,Bald|Bangs",
    "flip": False,
}
_TRAIN = {"epochs": 200, "decay_epochs": 100, "batch_size": 32}


class STGAN(Recipe):
    """STGAN: changes attributes of pictures; told which labels change."""

    config_type = Config
    averaged = ("generator",)
    advised_batch = 16
    coupled = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba": {"data": {"size": 128, "crop": 170, **_CELEBA}, "train": _TRAIN},
        "celeba_384": {
            "recipe": {"conv_dim": 48, "discriminator_conv_dim": 48, "discriminator_fc_dim": 512},
            "data": {"size": 384, **_CELEBA},
            "train": _TRAIN,
        },
        "published": {
            "recipe": {"penalty_gradient": "published"},
            "data": {"flip": False},
            "train": {**_TRAIN, "ema_kimg": 0},
        },
        "small": {  # A laptop's CPU; the bottleneck is 4 x 4, as the paper's at 128 pixels.
            "recipe": {
                "conv_dim": 16,
                "num_layers": 4,
                "num_skips": 3,
                "discriminator_conv_dim": 16,
                "discriminator_layers": 4,
                "discriminator_fc_dim": 256,
                "critic_steps": 1,
                "generator_lr": 5e-4,
                "discriminator_lr": 5e-4,
            },
            "data": {"size": 64},
            "train": {"steps": 6000, "decay_steps": 3000, "ema_kimg": 4, "checkpoint_every": 1000, "preview_every": 1000},
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        size = (picture.height, picture.width)
        check_size(size, config.num_layers, config.discriminator_layers)
        self.generator = Generator(
            picture.channels,
            space.num_labels,
            config.conv_dim,
            config.num_layers,
            config.num_skips,
            injections=config.num_injections,
            state_injections=config.num_state_injections,
        )
        self.discriminator = Discriminator(
            picture.channels,
            space.num_labels,
            size,
            config.discriminator_conv_dim,
            config.discriminator_layers,
            config.discriminator_fc_dim,
            exact=config.penalty_gradient == "exact",
        )
        self.abilities = Abilities(
            translates=True,
            told="difference",
            keeps=True,
            side_multiple=1 << config.num_layers,
            judges=True,
            scores=("discriminator",),
        )
        count = config.critic_steps
        self.updates = (
            Update("discriminator", trains=("discriminator",), every=count + 1, turns=tuple(range(count)), eager=True),
            Update("generator", trains=("generator",), every=count + 1),
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5 for both networks."""
        return {"generator": Adam(self.config.generator_lr), "discriminator": Adam(self.config.discriminator_lr)}

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the targets, the batch's own labels in another order, and the interpolation factors of the penalty."""
        order = torch.randperm(len(batch), generator=rng)
        labels_trg, known_trg = batch.labels[order], batch.known[order] * batch.known  # Else no difference is told.
        return {
            "v": (self.space.shares(labels_trg) - self.space.shares(batch.labels)) * known_trg,
            "labels_trg": labels_trg,
            "known_trg": known_trg,
            "alpha": torch.rand(len(batch), 1, 1, 1, generator=rng),
        }

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The discriminator's objective: scores, penalty and the labels of real pictures."""
        with torch.no_grad():
            x_fake = self.generator(batch.x, batch.v).to(batch.x.dtype)
        scores, classes = self.discriminator(torch.cat([batch.x, x_fake]))
        (real, fake), (real_classes, _) = scores.chunk(2), classes.chunk(2)
        gradient = input_gradient(lambda x: self.discriminator(x)[0], torch.lerp(batch.x, x_fake, batch.alpha))
        return {
            "real": (1.0, critic_real(real)),
            "fake": (1.0, critic_fake(fake)),
            "class": (self.config.class_weight, self.mean_classification(real_classes, batch.labels, batch.known)),
            "penalty": (self.config.penalty_weight, gradient_penalty(gradient)),
        }

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The generator's objective; one pass of the encoder serves both differences."""
        config = self.config
        features = self.generator.encode(batch.x)
        x_fake = self.generator.decode(features, batch.v)
        x_same = self.generator.decode(features, torch.zeros_like(batch.v))
        fake, classes = self.discriminator(x_fake)
        return {
            "fake": (1.0, generator_fake(fake)),
            "class": (config.target_weight, self.mean_classification(classes, batch.labels_trg, batch.known_trg)),
            "identity_zero": (config.reconstruction_weight, l1(x_same, batch.x)),
        }

    def mean_classification(self, logits: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        """Return the classification term [N] as a mean over a picture's known labels, as in the authors' code."""
        return classification(logits, labels, known, self.space) / known.sum(1).clamp(min=1)

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return G(x, v)."""
        return self.generator(x, told)

    def classify(self, x: Tensor) -> Tensor:
        """Return the discriminator's class logits [N, L]; x has the training size."""
        return self.discriminator(x)[1]

    def realness(self, x: Tensor) -> Tensor:
        """Return the discriminator's scores [N]."""
        return self.discriminator(x)[0]

    def label_slots(self) -> list[Slot]:
        """Transposed convolutions of decoder and units read the difference behind the features; the class head has logits."""
        slots, config = list[Slot](), self.config
        for name, inner, layers in (
            ("dec_layers.{}.layers.0.weight", config.num_injections, self.generator.dec_layers),
            ("stu.{}.upsample.weight", config.num_state_injections, self.generator.stu),
        ):
            for place in range(min(inner + 1, len(layers))):
                parameter = f"generator.{name.format(place)}"
                slots += self.slots_along(parameter, 0, len(self.get_parameter(parameter)) - self.space.num_labels)
        head = "discriminator.fc_cls.1.layers.0"
        return slots + self.slots_along(f"{head}.weight", 0) + self.slots_along(f"{head}.bias", 0)
