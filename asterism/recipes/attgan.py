"""AttGAN: Facial Attribute Editing by Only Changing What You Want (arXiv:1711.10678).

The generator is told the wanted labels, all of them, as plus or minus one half: at the bottleneck and once more behind it.
A classifier, part of the discriminator, says whether a translation has them; for its own labels the picture itself must
come out, and nothing leads back from a translation.

Shapes: x [N, C, H, W] in [-1, 1]; c [N, L] in [-1/2, 1/2], 0 where unknown; labels, known [N, L]; alpha [N, 1, 1, 1] in [0, 1).

The objective is the paper's as the authors compute it, with Wasserstein scores. Their TensorFlow code and AttGAN-PyTorch, whose
weights are published, differ in slopes and epsilons (`constants`); recorded numbers of both are compared. What differs from
both, beyond the engine's doing: the learning rate falls linearly over the second half, where theirs falls to a tenth at once,
and the running statistics of the generator's batch norms move in its own updates alone, by a tenth each time, where theirs
move in the discriminator's too, and in TensorFlow by a thousandth. TensorFlow takes the mean within the variance of an
instance norm for a constant, so the gradient of the authors' penalty lacks a part; `published` does without it too.
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
from asterism.networks.stgan import OFFICIAL, PYTORCH, Discriminator, Generator, check_size
from asterism.objectives.adversarial import critic_fake, critic_real, generator_fake
from asterism.objectives.classification import classification
from asterism.objectives.distances import l1
from asterism.objectives.penalties import gradient_penalty, input_gradient
from asterism.recipes.base import Abilities, Adam, Recipe, Slot, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """AttGAN's choices; the defaults are the paper's."""

    conv_dim: int = option(64, "Channels after the generator's first convolution.", low=1)
    num_layers: int = option(5, "Halvings of the generator.", low=2)
    num_skips: int = option(1, "Levels, from the innermost, with a skip.", low=0)
    num_injections: int = option(1, "Levels of the decoder, from the innermost, that are told the code.", low=0)
    discriminator_conv_dim: int = option(64, "Channels after the discriminator's first convolution.", low=1)
    discriminator_layers: int = option(5, "Halvings of the discriminator.", low=1)
    discriminator_fc_dim: int = option(1024, "Width of the hidden layer of the discriminator's heads.", low=1)
    constants: Literal["official", "pytorch"] = option(
        "official", "Slopes and epsilons: of the authors' TensorFlow code, or of AttGAN-PyTorch."
    )
    class_weight: float = option(1.0, "Weight of the discriminator's classification term, lambda_3.", low=0)
    target_weight: float = option(10.0, "Weight of the generator's classification term, lambda_2.", low=0)
    reconstruction_weight: float = option(100.0, "Weight of the reconstruction term, lambda_1.", low=0)
    penalty_weight: float = option(10.0, "Weight of the gradient penalty.", low=0)
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


class AttGAN(Recipe):
    """AttGAN: changes attributes of pictures; told the labels to have."""

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
        constants = {"official": OFFICIAL, "pytorch": PYTORCH}[config.constants]
        self.generator = Generator(
            picture.channels,
            space.num_labels,
            config.conv_dim,
            config.num_layers,
            config.num_skips,
            units=False,
            injections=config.num_injections,
            constants=constants,
        )
        self.discriminator = Discriminator(
            picture.channels,
            space.num_labels,
            size,
            config.discriminator_conv_dim,
            config.discriminator_layers,
            config.discriminator_fc_dim,
            constants,
            config.penalty_gradient == "exact",
        )
        self.abilities = Abilities(
            translates=True,
            told="code",
            slides=True,
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
        labels_trg, known_trg = batch.labels[order], batch.known[order]
        return {
            "c_src": self.code(batch.labels, batch.known),
            "c_trg": self.code(labels_trg, known_trg),
            "labels_trg": labels_trg,
            "known_trg": known_trg,
            "alpha": torch.rand(len(batch), 1, 1, 1, generator=rng),
        }

    def code(self, labels: Tensor, known: Tensor) -> Tensor:
        """Return what the generator is told, c [N, L]: 1/2 for labels that hold, -1/2 for others, 0 for unknown ones."""
        return (self.space.shares(labels) - 0.5) * known

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The discriminator's objective: scores, penalty and the labels of real pictures."""
        with torch.no_grad():
            x_fake = self.generator(batch.x, batch.c_trg).to(batch.x.dtype)
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
        """The generator's objective; one pass of the encoder serves both codes."""
        config = self.config
        features = self.generator.encode(batch.x)
        x_fake = self.generator.decode(features, batch.c_trg)
        x_same = self.generator.decode(features, batch.c_src)
        fake, classes = self.discriminator(x_fake)
        return {
            "fake": (1.0, generator_fake(fake)),
            "class": (config.target_weight, self.mean_classification(classes, batch.labels_trg, batch.known_trg)),
            "identity_same": (config.reconstruction_weight, l1(x_same, batch.x)),
        }

    def mean_classification(self, logits: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        """Return the classification term [N] as a mean over a picture's known labels, as in the authors' code."""
        return classification(logits, labels, known, self.space) / known.sum(1).clamp(min=1)

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return G(x, c); told [N, n] is the label space's code, with mask bits where there are several datasets."""
        c, m = told[:, : self.space.num_labels], told[:, self.space.num_labels :]
        known = self.space.known(m.argmax(1)) if self.space.num_datasets > 1 else 1.0
        return self.generator(x, (c - 0.5) * known)

    def classify(self, x: Tensor) -> Tensor:
        """Return the discriminator's class logits [N, L]; x has the training size."""
        return self.discriminator(x)[1]

    def realness(self, x: Tensor) -> Tensor:
        """Return the discriminator's scores [N]."""
        return self.discriminator(x)[0]

    def label_slots(self) -> list[Slot]:
        """Transposed convolutions of the decoder read the code behind the features; the class head writes the logits."""
        slots = list[Slot]()
        for place in range(min(self.config.num_injections + 1, len(self.generator.dec_layers))):
            parameter = f"generator.dec_layers.{place}.layers.0.weight"
            slots += self.slots_along(parameter, 0, len(self.get_parameter(parameter)) - self.space.num_labels)
        head = "discriminator.fc_cls.1.layers.0"
        return slots + self.slots_along(f"{head}.weight", 0) + self.slots_along(f"{head}.bias", 0)
