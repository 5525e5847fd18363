"""StarGAN-VC: Non-parallel Many-to-many Voice Conversion with Star Generative Adversarial Networks (arXiv:1806.02169).

Speakers are domains: one generator translates the frames of anyone's speech to the voice of any speaker, and learns from
recordings in which nobody says the same. A sample is a stretch of one speaker's frames, x, and one of another speaker's, x_trg;
both are translated to both. The networks are those of the authors' later code, whose discriminator names the speaker too; the
paper has a classifier of its own for that.

What is translated are features, such as log-mels with F bands and T frames, which `asterism pack` makes of recordings. Any
picture goes, though: its rows and channels are the features of its columns.

Shapes: x, x_trg and all that is made of them [N, C, F, T]; c_src, c_trg [N, n] codes; labels, known [N, L]; alpha [N, 2, 1, 1]
in [0, 1); seeds int64 [N, 12], of dropout in the discriminator's passes.

`published` is the authors' code but for the engine's doing. Kept as it is there: the penalty has the weight 1 and counts for
every kind of adversarial term; its lines lead from a speaker's frames to their own translation; every average runs over the
frames of all sequences together, so that longer ones weigh more (ours are equally long); the classification is divided by the
number of speakers, which the other presets leave out. It differs in three things. A step's pairs of speakers are drawn for each
sample, where theirs takes all pairs of the speakers in turn, each with a step of its own. A sample is a window of frames, where
theirs is a whole utterance, repeated until it is as long as the batch's longest. Dropout is a function of drawn seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from asterism.config import option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.networks.stargan_vc import Discriminator, Generator, check_size
from asterism.objectives.adversarial import (
    critic_fake,
    critic_real,
    generator_fake,
    least_squares,
    logistic_fake,
    logistic_real,
)
from asterism.objectives.classification import classification
from asterism.objectives.distances import l1
from asterism.objectives.penalties import gradient_penalty, input_gradient
from asterism.recipes.base import Abilities, Adam, Recipe, Slot, Stream, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """StarGAN-VC's choices; the defaults are the authors' code's, with the classification as it is meant."""

    conv_dim: int = option(64, "Channels of the generator's layers.", low=1)
    bottleneck: int = option(16, "Channels of its innermost one.", low=1)
    embedding: int = option(16, "Numbers that stand for a speaker.", low=1)
    discriminator_conv_dim: int = option(32, "Channels of the discriminator's layers.", low=1)
    dropout: float = option(0.1, "Share of its values that the discriminator drops behind each layer.", low=0, high=0.9)
    source_conditioning: bool = option(False, "The encoder is told the source's speaker.")
    adversarial: Literal["wgan", "lsgan", "bce"] = option("wgan", "Scores by the Wasserstein distance, least squares, or odds.")
    adversarial_weight: float = option(1.0, "Weight of the adversarial terms.", low=0)
    class_weight: float = option(1.0, "Weight of the classification terms.", low=0)
    class_shared: bool = option(False, "The classification is divided by the number of speakers, as published.")
    cycle_weight: float = option(1.0, "Weight of the cycle term.", low=0)
    identity_weight: float = option(1.0, "Weight of the reconstruction by one's own speaker.", low=0)
    penalty_weight: float = option(1.0, "Weight of the gradient penalty.", low=0)
    generator_lr: float = option(5e-4, "Learning rate of the generator.", low=0)
    discriminator_lr: float = option(5e-6, "Learning rate of the discriminator.", low=0)


class StarGANVC(Recipe):
    """StarGAN-VC: recordings of one speaker in the voice of another."""

    config_type = Config
    averaged = ("generator",)
    streams = (Stream("trg", of="other_domain"),)
    protocol = "voice"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {  # 2,000 epochs of the Voice Conversion Challenge 2018: 81 utterances of each of 4 speakers, 6 pairs.
            "recipe": {"class_shared": True},
            "data": {"size": (80, 256), "flip": False},
            "train": {"steps": 72_000, "decay_steps": 0, "batch_size": 12, "ema_kimg": 0, "evaluate_every": 0},
        },
        "small": {  # Two CPU cores within an hour: the discriminator has to learn in fewer steps.
            "recipe": {"discriminator_lr": 1e-4},
            "data": {"size": (80, 128), "flip": False},
            "train": {
                "steps": 10_000,
                "decay_steps": 5_000,
                "batch_size": 8,
                "ema_kimg": 5,
                "checkpoint_every": 1000,
                "preview_every": 1000,
                "evaluate_every": 0,
            },
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        check_size(picture.height, picture.width)
        features = picture.channels * picture.height
        self.generator = Generator(
            features, space.code_size, config.conv_dim, config.bottleneck, config.embedding, config.source_conditioning
        )
        self.discriminator = Discriminator(features, space.num_labels, config.discriminator_conv_dim, config.dropout)
        told: Literal["code", "codes"] = "codes" if config.source_conditioning else "code"
        self.abilities = Abilities(
            translates=True, told=told, side_multiple=4, fixed_height=True, judges=True, scores=("discriminator",)
        )
        self.updates = (
            Update("generator", trains=("generator",)),
            Update("discriminator", trains=("discriminator",), eager=True),
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam, with beta1 = 0.9 for the generator; gradients are clipped to the norm 1."""
        c = self.config
        return {
            "generator": Adam(c.generator_lr, (0.9, 0.999), clip=1.0),
            "discriminator": Adam(c.discriminator_lr, (0.5, 0.999), clip=1.0),
        }

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Note the codes of both speakers, and draw where the penalty looks and what dropout drops."""
        return {
            "c_src": self.space.encode(batch.labels, batch.known, batch.dataset),
            "c_trg": self.space.encode(batch.labels_trg, batch.known_trg, batch.dataset),
            "alpha": torch.rand(len(batch), 2, 1, 1, generator=rng),
            "seeds": torch.randint(2**62, (len(batch), 12), generator=rng),
        }

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The generator's objective, Eqs. (6) to (9), over the translations of both speakers' frames to both."""
        c, scores, classes, same, back = self.config, list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()
        for number, ((x, own, labels, known), (_, other, labels_other, known_other)) in enumerate(directions(batch)):
            both = self.convert(torch.cat([x, x]), torch.cat([own, other]), torch.cat([own, own]))
            x_same, x_fake = both.chunk(2)
            same.append(x_same)
            back.append(self.convert(x_fake, own, other))
            score, logits = self.judge(both, batch.seeds[:, 2 * number : 2 * number + 2].t().flatten())
            scores += score.chunk(2)
            classes.append(self.by_frame(logits, torch.cat([labels, labels_other]), torch.cat([known, known_other])))
        x, of_classes = along_time(batch.x, batch.x_trg), [part for pair in classes for part in pair.chunk(2)]
        return {
            "adversarial": (c.adversarial_weight, self.score_of(along_time(*scores), "made")),
            "class": (self.class_weight, along_time(*of_classes).mean(1)),
            "cycle": (c.cycle_weight, l1(along_time(*back), x)),
            "identity": (c.identity_weight, l1(along_time(*same), x)),
        }

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The discriminator's objective, with the speakers of real frames, Eqs. (3) and (5)."""
        c, reals, fakes, classes, penalties = self.config, list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()
        for number, ((x, own, labels, known), (_, other, *_)) in enumerate(directions(batch)):
            real_seed, *fake_seeds, seed = batch.seeds[:, 4 + 4 * number : 8 + 4 * number].unbind(1)
            with torch.no_grad():
                both = self.convert(torch.cat([x, x]), torch.cat([own, other]), torch.cat([own, own])).to(x.dtype)
            real, logits = self.judge(x, real_seed)
            reals.append(real)
            fakes += self.judge(both, torch.cat(fake_seeds))[0].chunk(2)
            classes.append(self.by_frame(logits, labels, known))
            between = torch.lerp(both.chunk(2)[1], x, batch.alpha[:, number, :, :, None])
            penalties.append(gradient_penalty(input_gradient(partial(self.score, seed=seed), between)))
        return {
            "real": (c.adversarial_weight, self.score_of(along_time(*reals), "real")),
            "fake": (c.adversarial_weight, self.score_of(along_time(*fakes), "fake")),
            "class": (self.class_weight, along_time(*classes).mean(1)),
            "penalty": (c.penalty_weight, penalties[0] + penalties[1]),
        }

    @property
    def class_weight(self) -> float:
        """The weight of the classification."""
        return self.config.class_weight / (self.space.num_labels if self.config.class_shared else 1)

    def score_of(self, scores: Tensor, what: str) -> Tensor:
        """Return what is paid, [N], for scores [N, P] of what is `real` or `fake`, and by the generator for what it `made`."""
        kind = self.config.adversarial
        if kind == "wgan":
            return {"real": critic_real, "fake": critic_fake, "made": generator_fake}[what](scores)
        if kind == "lsgan":
            return least_squares(scores, 0.0 if what == "fake" else 1.0) / 2
        return (logistic_fake if what == "fake" else logistic_real)(scores).mean(1)

    def by_frame(self, logits: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        """Return the classification of every frame [N, P] of logits [N, L, P]."""
        count = logits.shape[2]
        wanted, seen = (t.repeat_interleave(count, 0) for t in (labels, known))
        return classification(logits.transpose(1, 2).flatten(0, 1), wanted, seen, self.space).unflatten(0, (-1, count))

    def convert(self, x: Tensor, c: Tensor, c_src: Tensor) -> Tensor:
        """Return G(x, c), [N, C, F, T]."""
        return self.generator(x.flatten(1, 2), c, c_src).reshape(x.shape)

    def judge(self, x: Tensor, seed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the discriminator's scores [N, T / 4] and logits [N, L, T / 4] of x [N, C, F, T]."""
        return self.discriminator(x.flatten(1, 2), seed)

    def score(self, x: Tensor, seed: Tensor) -> Tensor:
        """Return the scores alone."""
        return self.judge(x, seed)[0]

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return G(x, c); where the encoder is told the source's speaker, that is the second of the two codes told."""
        c, c_src = told.chunk(2, dim=1) if self.config.source_conditioning else (told, told)
        return self.convert(x, c, c_src)

    def classify(self, x: Tensor) -> Tensor:
        """Return the logits of the speakers [N, L], the mean over frames."""
        return self.judge(x)[1].mean(2)

    def realness(self, x: Tensor) -> Tensor:
        """Return the discriminator's scores [N], the mean over frames, without dropout."""
        return self.judge(x)[0].mean(1)

    def label_slots(self) -> list[Slot]:
        """Embeddings have a row for each entry of the code; the discriminator's head has a map for each label."""
        embeddings = ["eb0", "eb1"] if self.config.source_conditioning else ["eb1"]
        slots = [slot for name in embeddings for slot in self.slots_along(f"generator.{name}.weight", 0, masked=True)]
        return slots + self.slots_along("discriminator.le_cls.weight", 0)


Speech = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of one speaker of each pair: frames, code, labels, known."""


def directions(batch: Batch) -> tuple[tuple[Speech, Speech], tuple[Speech, Speech]]:
    """Return both speakers of the pairs, each with the other one: who is translated, and to whom."""
    mine = (batch.x, batch.c_src, batch.labels, batch.known)
    theirs = (batch.x_trg, batch.c_trg, batch.labels_trg, batch.known_trg)
    return (mine, theirs), (theirs, mine)


def along_time(*parts: Tensor) -> Tensor:
    """Return all numbers of each sample, [N, ...] each, in one row [N, P], so that a mean over it is one over all frames."""
    return torch.cat([part.flatten(1) for part in parts], dim=1)
