"""RelGAN: Multi-Domain Image-to-Image Translation via Relative Attributes (arXiv:1908.07269).

The generator is told what is to change, and by how much: v = target - source, 0 for what stays. Three pictures make a sample,
a, b and c. One discriminator tells real from fake, tells whether v leads from one picture to another, and reads how far
between its ends an interpolated picture is. Labels of other datasets and unknown labels do not change: several datasets need
no mask vector.

Shapes: x, x_b, x_c [N, C, H, W] in [-1, 1]; v_ab, v_ac, v_cb [N, L] in [-1, 1]; strength [N, 1], alpha [N, 1, 1, 1] in [0, 1).

The authors' Keras code decides where their PyTorch port differs from it. The port has the sign of v reversed, so that +1
takes a label away; its weight decay was a decay of the learning rate, and is none here. `port` keeps what its weights need:
unbiased instance variances, one degree of interpolation for a picture, no penalty on it. What differs from the Keras code:

- Strength and alpha are drawn for each sample and step; there they were drawn once, before training, alpha for the batch.
- The wanted degree of interpolation belongs to its own sample; there it ran along the width of the map.
- The norms take batch statistics, as the paper's; there their batch part had mean 1 and variance 0 throughout, which
  `batch_statistics` false, and the preset `published`, keep.
- The orthogonal regulariser counts; there it was built and never added, and in place of the unit matrix took a copy.
- A class head reads the trunk's features, without telling the trunk: it says what labels a picture has, for use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from asterism.config import option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.networks.relgan import Discriminator, Generator, check_size
from asterism.objectives.adversarial import least_squares
from asterism.objectives.classification import classification
from asterism.objectives.distances import l1
from asterism.objectives.penalties import gradient_penalty
from asterism.recipes.base import Abilities, Adam, Recipe, Slot, Stream, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """RelGAN's choices; the defaults are the paper's."""

    conv_dim: int = option(64, "Channels after the generator's first convolution.", low=1)
    num_blocks: int = option(6, "Residual blocks of the generator.", low=0)
    discriminator_widths: tuple[int, ...] = option(
        (64, 128, 256, 512, 1024, 2048), "Channels after each halving convolution of the discriminator.", low=1
    )
    interpolation_channels: int = option(64, "Channels that the degree of interpolation is the mean of.", low=1)
    batch_statistics: bool = option(True, "Norms mix in batch statistics; else constants, as the Keras code had them.")
    port: bool = option(False, "As the PyTorch port: unbiased variances, a pooled degree of interpolation, not penalised.")
    match_weight: float = option(1.0, "Weight of the matching terms.", low=0)
    reconstruction_weight: float = option(10.0, "Weight of the way back, G(G(a, v), -v).", low=0)
    zero_weight: float = option(10.0, "Weight of the change where none is asked for, G(a, 0).", low=0)
    interpolation_weight: float = option(10.0, "Weight of the interpolation terms.", low=0)
    penalty_weight: float = option(150.0, "Weight of the gradient penalties.", low=0)
    orthogonal_weight: float = option(1e-6, "Weight of the orthogonal regulariser of the generator's kernels.", low=0)
    generator_lr: float = option(5e-5, "Learning rate of the generator.", low=0)
    discriminator_lr: float = option(5e-5, "Learning rate of the discriminator.", low=0)


_LABELS = (
    "5_o_Clock_Shadow,Bald,Bangs,Black_Hair,Blond_Hair,Brown_Hair,Eyeglasses,Goatee,Gray_Hair,Male,Mustache,Pale_Skin,"
    "Smiling,Straight_Hair,Wavy_Hair,Wearing_Hat,Young"
)


class RelGAN(Recipe):
    """RelGAN: changes attributes of pictures, as much as you say."""

    config_type = Config
    averaged = ("generator",)
    streams = (Stream("b", of="any"), Stream("c", of="any"))
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba_hq": {
            "data": {"size": 256, "labels": _LABELS},
            "train": {"batch_size": 4, "steps": 100000, "decay_steps": 50000},
        },
        "published": {
            "recipe": {"batch_statistics": False, "orthogonal_weight": 0},
            "data": {"size": 256},
            "train": {"batch_size": 4, "steps": 400000, "decay_steps": 0, "ema_kimg": 0},
        },
        "small": {  # A laptop's CPU: narrower, larger steps.
            "recipe": {
                "conv_dim": 16,
                "num_blocks": 3,
                "discriminator_widths": (32, 64, 128, 256),
                "generator_lr": 5e-4,
                "discriminator_lr": 1e-3,
            },
            "data": {"size": 64},
            "train": {
                "batch_size": 8,
                "steps": 3000,
                "decay_steps": 1500,
                "ema_kimg": 2,
                "checkpoint_every": 500,
                "preview_every": 500,
            },
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        channels, count, widths = picture.channels, space.num_labels, config.discriminator_widths
        size = (picture.height, picture.width)
        check_size(size, len(widths))
        self.generator = Generator(
            channels, count, config.conv_dim, config.num_blocks, batch=config.batch_statistics, unbiased=config.port
        )
        self.discriminator = Discriminator(channels, count, widths, config.interpolation_channels, pooled=config.port)
        self.classifier = nn.Conv2d(widths[-1], count, (size[0] >> len(widths), size[1] >> len(widths)), bias=False)
        self.coupled = config.batch_statistics
        # The generator halves twice and is convolutional throughout: it takes any multiple of 4.
        self.abilities = Abilities(
            translates=True, told="difference", keeps=True, side_multiple=4, judges=True, scores=("discriminator",)
        )
        self.updates = (
            Update("discriminator", trains=("discriminator", "classifier")),
            Update("generator", trains=("generator",), shares=True),
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5."""
        of_judges = Adam(self.config.discriminator_lr)
        return {"generator": Adam(self.config.generator_lr), "discriminator": of_judges, "classifier": of_judges}

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Take the differences of the three pictures' labels; draw strengths, and where the penalty is taken."""
        a, b, c = (self.space.shares(labels) for labels in (batch.labels, batch.labels_b, batch.labels_c))
        return {
            "v_ab": (b - a) * batch.known * batch.known_b,
            "v_ac": (c - a) * batch.known * batch.known_c,
            "v_cb": (b - c) * batch.known_b * batch.known_c,
            "strength": torch.rand(len(batch), 1, generator=rng),
            "alpha": torch.rand(len(batch), 1, 1, 1, generator=rng),
        }

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """The pictures that both updates begin with: the whole change, none, and a part of it."""
        if "x_fake" in batch:
            return {name: getattr(batch, name) for name in ("x_fake", "x_zero", "x_part")}
        x, v = batch.x, batch.v_ab
        return {
            "x_fake": self.generator(x, v),
            "x_zero": self.generator(x, torch.zeros_like(v)),
            "x_part": self.generator(x, batch.strength * v),
        }

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The paper's L_Real, L_Match and L_Int of D, with the gradient penalty."""
        config, d = self.config, self.discriminator
        with torch.no_grad():
            x_fake, x_zero, x_part = (x.detach().to(batch.x.dtype) for x in self.share(batch).values())
        a, b, c, fake, zero, part = d.features(torch.cat([batch.x, batch.x_b, batch.x_c, x_fake, x_zero, x_part])).chunk(6)
        triplets = [  # From, to, by; only the first is right.
            (a, b, batch.v_ab),
            (a, fake, batch.v_ab),
            (c, b, batch.v_ab),
            (a, c, batch.v_ab),
            (a, b, batch.v_ac),
            (a, b, batch.v_cb),
        ]
        matches = d.match(*(torch.cat(parts) for parts in zip(*triplets, strict=True))).chunk(6)
        names = ("match_real", "match_fake", "match_source", "match_target", "match_ac", "match_cb")
        ends = torch.where(batch.strength < 0.5, d.degree(zero), d.degree(fake))
        wanted = torch.minimum(batch.strength, 1 - batch.strength)
        middle = torch.lerp(x_fake, batch.x, batch.alpha)
        of_degree = 0.0 if config.port else config.penalty_weight
        return {
            "real": (1.0, least_squares(d.real(b), 1)),
            "fake": (1.0, least_squares(d.real(fake), 0)),
            **{
                name: (config.match_weight, least_squares(match, float(name == "match_real")))
                for name, match in zip(names, matches, strict=True)
            },
            "interpolation": (config.interpolation_weight, least_squares(d.degree(part) - wanted, 0)),
            "interpolation_ends": (config.interpolation_weight, least_squares(ends, 0)),
            "penalty": (config.penalty_weight, gradient_penalty(d.real_gradient(middle))),
            "penalty_interpolation": (of_degree, gradient_penalty(d.degree_gradient(x_part))),
            # For use only: neither trunk nor generator hears of it.
            "class": (1.0, classification(self._logits(a.detach()), batch.labels, batch.known, self.space)),
        }

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The paper's L_Real, L_Match and L_Int of G, with L_Cycle and L_Self."""
        config, d, x, v = self.config, self.discriminator, batch.x, batch.v_ab
        x_fake, x_zero, x_part = self.share(batch).values()
        x_rec = self.generator(x_fake.to(x.dtype), -v)
        a, fake, part = d.features(torch.cat([x, x_fake.to(x.dtype), x_part.to(x.dtype)])).chunk(3)
        return {
            "fake": (1.0, least_squares(d.real(fake), 1)),
            "match": (config.match_weight, least_squares(d.match(a, fake, v), 1)),
            "interpolation": (config.interpolation_weight, least_squares(d.degree(part), 0)),
            "reconstruction": (config.reconstruction_weight, l1(x_rec, x)),
            "zero": (config.zero_weight, l1(x_zero, x)),
            "orthogonal": (config.orthogonal_weight, self.generator.orthogonality().expand(len(batch))),
        }

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return G(x, v)."""
        return self.generator(x, told)

    def classify(self, x: Tensor) -> Tensor:
        """Return the class head's logits [N, L]; x has the training size."""
        return self._logits(self.discriminator.features(x))

    def _logits(self, h: Tensor) -> Tensor:
        return self.classifier(h).flatten(1)

    def realness(self, x: Tensor) -> Tensor:
        """Return the scores [N] of the head for real pictures, mean over patches."""
        return self.discriminator.real(self.discriminator.features(x)).mean(1)

    def label_slots(self) -> list[Slot]:
        """The first layers of the generator and of the matching head read v; the class head writes the logits."""
        slots = self.slots_along("generator.conv_in.0.weight", 1, self.picture.channels)
        slots += self.slots_along("discriminator.convs_cls.0.weight", 1, 2 * self.config.discriminator_widths[-1])
        return slots + self.slots_along("classifier.weight", 0)
