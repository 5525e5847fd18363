"""SemiStarGAN: Semi-supervised Generative Adversarial Networks for Multi-Domain Image-to-Image Translation (ACCV 2018).

StarGAN from few labels. The discriminator is a Y model: a branch of patches and a classifier with dropout and noise, which
learns from unlabelled pictures too by agreeing with itself on a picture and its mirror image (self-ensembling). The generator
translates unlabelled pictures as well; later their cycle counts, with what the classifier takes them for as their labels.

A sample is any picture of the training set, x, whose label is asked for only where its cycle needs one, and a labelled
picture, x_lab. Both are translated to one target.

Shapes: x, x_lab and all that is made of them [N, C, H, W] in [-1, 1]; c [N, n] code; labels, known [N, L]; alpha, alpha_lab
[N, 1, 1, 1] in [0, 1); seeds int64 [N, 2 K] of noise and dropout in K passes, of x_lab and of x.

What differs from the published code, beyond the engine's doing: x is any picture and may be a labelled one, whose own label
then is its source; where the classifier's reading is the source, the likeliest of labels that exclude each other holds;
noise and dropout are functions of drawn seeds; an epoch of the learning rate's decay is a step. Of five labels theirs draws
targets in a way that often leaves the identity term 0 / 0 (`targets` uniform draws so too; here the term is 0 then).
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
from asterism.networks.semistargan import YModel, check_size, initialize
from asterism.networks.stargan import Generator
from asterism.objectives.adversarial import critic_fake, critic_real, generator_fake
from asterism.objectives.classification import classification
from asterism.objectives.distances import l1, squared
from asterism.objectives.penalties import gradient_penalty
from asterism.recipes.base import Abilities, Adam, Phase, Recipe, Slot, Stream, Terms, Update

REAL, REAL_MIRROR, FAKE, FAKE_MIRROR, BETWEEN, G_FAKE, G_FAKE_MIRROR, PSEUDO, PASSES = range(9)
"""Passes of the Y model in a step, each with noise and dropout of its own."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """SemiStarGAN's choices; the defaults are the published code's, its epochs told as shares of 200,000 steps."""

    conv_dim: int = option(64, "Channels after the generator's first convolution.", low=1)
    num_blocks: int = option(6, "Residual blocks of the generator.", low=0)
    discriminator_conv_dim: int = option(64, "Channels after the Y model's first convolution.", low=1)
    deep: bool = option(False, "The Y model's branch of patches halves four times instead of twice: for five labels.")
    class_weight: float = option(1.0, "Weight of the classification terms.", low=0)
    reconstruction_weight: float = option(10.0, "Weight of the cycle terms.", low=0)
    identity_weight: float = option(1.0, "Weight of the identity term at the start.", low=0)
    penalty_weight: float = option(10.0, "Weight of the gradient penalty.", low=0)
    consistency_weight: float = option(2.0, "Weight of the agreement with mirror images at the end of its ramp.", low=0)
    ramp_steps: int = option(66_667, "Steps in which that weight rises; a third of all.", unit="steps", low=1)
    pseudo_after: int = option(
        30_000,
        "Steps before cycles of unlabelled pictures count; in thirds of them the identity term has 1, 1/2, 0 of its weight.",
        unit="steps",
        low=1,
    )
    critic_steps: int = option(5, "Discriminator updates per generator update.", unit="steps", low=1)
    targets: Literal["permutation", "uniform"] = option(
        "permutation",
        "Targets are the labelled pictures' labels in another order, of which the first stays, or uniform over domains.",
    )
    generator_lr: float = option(1e-4, "Learning rate of the generator.", low=0)
    discriminator_lr: float = option(1e-4, "Learning rate of the Y model.", low=0)


_CELEBA: dict[str, dict[str, Any]] = {  # 20 epochs of 180,000 unlabelled pictures, 8 a step.
    "recipe": {"deep": True, "targets": "uniform", "ramp_steps": 150_000, "pseudo_after": 67_500},
    "data": {
        "size": 128,
        "crop": 178,
        "flip": False,  # The Y model sees mirror images anyway.
        "labels": "Black_Hair,Blond_Hair,Brown_Hair,Male,Young",
        "unlabelled": "keep",
    },
    "train": {"steps": 450_000, "decay_steps": 225_000, "batch_size": 8},
}


class SemiStarGAN(Recipe):
    """SemiStarGAN: changes attributes of pictures, learnt from few labelled ones and many without labels."""

    config_type = Config
    averaged = ("generator",)
    unlabelled = True
    coupled = True
    advised_batch = 4
    streams = (Stream("lab", of="labelled"),)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba": _CELEBA,
        "hair": _CELEBA
        | {
            "recipe": {"ramp_steps": 150_000, "pseudo_after": 67_500},
            "data": _CELEBA["data"] | {"labels": "Black_Hair,Blond_Hair,Brown_Hair"},
        },
        "published": _CELEBA | {"train": _CELEBA["train"] | {"ema_kimg": 0}},
        "small": {  # StarGAN's small preset, at lower rates: by those of that preset the Y model broke down.
            "recipe": {
                "conv_dim": 32,
                "num_blocks": 3,
                "discriminator_conv_dim": 32,
                "critic_steps": 1,
                "reconstruction_weight": 50,
                "ramp_steps": 1000,
                "pseudo_after": 450,
                "generator_lr": 3e-4,
                "discriminator_lr": 5e-4,
            },
            "data": {"size": 64, "unlabelled": "keep"},
            "train": {
                "steps": 3000,
                "decay_steps": 1500,
                "batch_size": 8,
                "ema_kimg": 2,
                "checkpoint_every": 500,
                "preview_every": 500,
            },
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        self.phases = (Phase("labelled", until=config.pseudo_after), Phase("all", resets=("generator",)))
        super().__init__(config, space, picture)
        check_size((picture.height, picture.width))
        self.generator = Generator(picture.channels, space.code_size, config.conv_dim, config.num_blocks)
        self.generator.apply(initialize)
        self.discriminator = YModel(picture.channels, space.num_labels, config.discriminator_conv_dim, config.deep)
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
        """Draw the targets, the interpolation factors of the penalty, and the seeds of noise and dropout."""
        count = len(batch)
        if self.config.targets == "permutation":
            order = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(count - 1, generator=rng)])
            labels_trg, known_trg = batch.labels_lab[order], batch.known_lab[order]
        else:
            labels_trg, known_trg = self.space.sample_uniform(batch.dataset, rng), self.space.known(batch.dataset)
        same = ((labels_trg == batch.labels_lab) | (known_trg * batch.known_lab == 0)).all(1).float()
        return {
            "c_lab": self.space.encode(batch.labels_lab, batch.known_lab, batch.dataset),
            "c_trg": self.space.encode(labels_trg, known_trg, batch.dataset),
            "labels_trg": labels_trg,
            "known_trg": known_trg,
            "known_all": self.space.known(batch.dataset),
            # The mean over the batch is then one over those whose target is their own label.
            "same": same * count / same.sum().clamp(1),
            "alpha_lab": torch.rand(count, 1, 1, 1, generator=rng),
            "alpha": torch.rand(count, 1, 1, 1, generator=rng),
            "seeds": torch.randint(2**62, (count, 2 * PASSES), generator=rng),
        }

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """The translations of both pictures, which the discriminator's last update and the generator's both begin with."""
        if "x_fake" in batch:
            return {"x_fake_lab": batch.x_fake_lab, "x_fake": batch.x_fake}
        x_fake_lab, x_fake = self.generator(torch.cat([batch.x_lab, batch.x]), torch.cat([batch.c_trg] * 2)).chunk(2)
        return {"x_fake_lab": x_fake_lab, "x_fake": x_fake}

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The Y model's objective; in each pass the 2 N pictures share their batch statistics, the mirrored ones do not."""
        config, judge = self.config, self.discriminator
        with torch.no_grad():
            x_fake = torch.cat(list(self.share(batch).values())).detach().to(batch.x.dtype)
        x_real, alpha = torch.cat([batch.x_lab, batch.x]), torch.cat([batch.alpha_lab, batch.alpha])
        real, real_classes = judge(x_real, seed_of(batch, REAL))
        real_mirror, real_mirror_classes = judge(x_real.flip(3), seed_of(batch, REAL_MIRROR))
        fake, fake_classes = judge(x_fake, seed_of(batch, FAKE))
        fake_mirror, fake_mirror_classes = judge(x_fake.flip(3), seed_of(batch, FAKE_MIRROR))
        gradient = judge.score_gradient(torch.lerp(x_fake, x_real, alpha), seed_of(batch, BETWEEN))
        labelled = [classes.chunk(2)[0] for classes in (real_classes, real_mirror_classes)]
        agree = (squared(real_classes, real_mirror_classes) + squared(fake_classes, fake_mirror_classes)) / 2
        ramp = torch.exp(-5 * (1 - (progress / config.ramp_steps).clamp(max=1)).square())
        return {
            "real": (1.0, halves((critic_real(real) + critic_real(real_mirror)) / 2)),
            "fake": (1.0, halves((critic_fake(fake) + critic_fake(fake_mirror)) / 2)),
            "class": (
                config.class_weight,
                torch.stack([classification(c, batch.labels_lab, batch.known_lab, self.space) for c in labelled]).mean(0),
            ),
            "consistency": (config.consistency_weight * ramp, halves(agree)),
            "penalty": (config.penalty_weight, halves(gradient_penalty(gradient))),
        }

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The generator's objective; in the first phase only labelled pictures have a cycle, and the identity counts."""
        config, judge = self.config, self.discriminator
        x_fake_lab, x_fake = self.share(batch).values()
        both = torch.cat([x_fake_lab, x_fake])
        passes = [judge(both, seed_of(batch, G_FAKE)), judge(both.flip(3), seed_of(batch, G_FAKE_MIRROR))]
        classes = [
            torch.stack(
                [classification(c.chunk(2)[half], batch.labels_trg, batch.known_trg, self.space) for _, c in passes]
            ).mean(0)
            for half in range(2)
        ]
        terms: Terms = {
            "fake": (1.0, halves(torch.stack([generator_fake(patches) for patches, _ in passes]).mean(0))),
            "class": (config.class_weight / 2, classes[0]),
            "class_unlabelled": (config.class_weight / 2, classes[1]),
        }
        rec = config.reconstruction_weight
        if self.phase == "labelled":
            part = 3 * progress / config.pseudo_after
            identity = torch.where(part < 1, 1.0, torch.where(part < 2, 0.5, 0.0)) * config.identity_weight
            terms["reconstruction"] = (rec, l1(self.generator(x_fake_lab, batch.c_lab), batch.x_lab))
            terms["identity_same"] = (identity, batch.same * l1(x_fake_lab, batch.x_lab))
            return terms
        x_rec_lab, x_rec = self.generator(both, torch.cat([batch.c_lab, self.source(batch)])).chunk(2)
        terms["reconstruction"] = (rec / 2, l1(x_rec_lab, batch.x_lab))
        terms["reconstruction_unlabelled"] = (rec / 2, l1(x_rec, batch.x))
        return terms

    def source(self, batch: Batch) -> Tensor:
        """Return the code [N, n] of x: its labels where they are known, else what the classifier takes it for."""
        with torch.no_grad():
            classes = self.discriminator.classify(torch.cat([batch.x_lab, batch.x]), seed_of(batch, PSEUDO)).chunk(2)[1]
            labels = torch.where(batch.known > 0, batch.labels, self.space.decide(classes).to(batch.labels.dtype))
        return self.space.encode(labels, batch.known_all, batch.dataset)

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return G(x, c)."""
        return self.generator(x, told)

    def classify(self, x: Tensor) -> Tensor:
        """Return the Y model's class logits [N, L]."""
        return self.discriminator.classify(x)

    def realness(self, x: Tensor) -> Tensor:
        """Return the discriminator's scores [N], mean over patches."""
        return self.discriminator(x)[0].mean(1)

    def label_slots(self) -> list[Slot]:
        """The generator's first convolution reads the code; the Y model's last one writes the logits."""
        code = self.slots_along("generator.main.0.weight", 1, self.picture.channels, masked=True)
        return code + self.slots_along("discriminator.head.weight", 0)


def seed_of(batch: Batch, number: int) -> Tensor:
    """Return the seeds of a pass, int64 [2 N]: those of x_lab, then those of x."""
    return batch.seeds[:, 2 * number : 2 * number + 2].t().flatten()


def halves(values: Tensor) -> Tensor:
    """Return the mean [N] of the values [2 N] of x_lab and of x."""
    return values.view(2, -1).mean(0)
