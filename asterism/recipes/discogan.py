"""DiscoGAN: Learning to Discover Cross-Domain Relations with Generative Adversarial Networks (arXiv:1703.05192).

Two generators, one for each direction between two domains, and a discriminator of each domain; pictures are not paired. Found
at the same time as CycleGAN and by the same idea; it is here as what to compare that with: plain autoencoders without skips,
logistic scores of whole pictures, squared distances, and the features of the discriminators matched.

Networks are named by the domain that they make or judge, as in the published code: its generator_A makes pictures of A.

Shapes: x, x_a, x_b and all that is made of them [N, C, 64, 64] in [-1, 1]; y int64 [N] domain, 0 or 1. The published networks
work in [0, 1]: ours change the range at their ends, and distances are counted in that range.

The published code has two things that the paper has not, kept here: the batch means of the discriminators' features are matched
to those of real pictures, at nine times the adversarial weight; and for the first 10,000 steps the reconstruction counts almost
nothing (`rate`). Discriminators step in every third step, the first one included, generators in the other two.

What differs from it, beyond the engine's doing: cross-entropies are computed from raw logits, which gives the same number; a
sample is a picture of either domain and comes with a random one of the other; pictures are RGB, where theirs are BGR (published
files are turned on import and export); running statistics move only when their network trains, and a trained model translates
by them, so that a picture depends on nothing beside it, where theirs kept normalising by the batch.
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
from asterism.machine import at_least_float32
from asterism.networks.directions import to_target
from asterism.networks.discogan import Discriminator, Generator, check_size
from asterism.objectives.adversarial import logistic_fake, logistic_real
from asterism.objectives.distances import squared
from asterism.recipes.base import Abilities, Adam, Recipe, Slot, Stream, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """DiscoGAN's choices; the defaults are those of the published code."""

    conv_dim: int = option(64, "Channels after the generators' first convolution.", low=1)
    bottleneck: int = option(0, "Channels of one pixel between encoder and decoder; 0: none.", low=0)
    discriminator_conv_dim: int = option(64, "Channels after the discriminators' first convolution.", low=1)
    adversarial_weight: float = option(0.1, "Weight of the generators' adversarial terms.", low=0)
    feature_weight: float = option(0.9, "Weight of the distances between mean features.", low=0)
    rate: float = option(
        0.5, "Share of the reconstruction in the generators' loss; the other terms have the rest.", low=0, high=1
    )
    first_rate: float = option(0.01, "The same for the first steps.", low=0, high=1)
    first_steps: int = option(10_000, "How many steps those are.", low=0)
    weight_decay: float = option(1e-5, "L2 decay of all weights, added to their gradients.", low=0)
    lr: float = option(2e-4, "Learning rate of all networks.", low=0)


_DATA = {"size": 64, "flip": False}


class DiscoGAN(Recipe):
    """DiscoGAN: between two domains without pairs, in both directions."""

    config_type = Config
    averaged = ("generator_a", "generator_b")
    streams = (Stream("other", of="other_domain"),)
    num_domains = range(2, 3)
    advised_batch = 16
    coupled = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {
            "data": _DATA,
            "train": {"steps": 200_000, "decay_steps": 0, "batch_size": 64, "ema_kimg": 0},
        },
        "small": {  # A laptop's CPU: narrower, and rates that get there in fewer steps.
            "recipe": {"conv_dim": 32, "discriminator_conv_dim": 16, "first_steps": 500, "lr": 5e-4},
            "data": {"size": 64},
            "train": {
                "steps": 3000,
                "decay_steps": 1000,
                "batch_size": 16,
                "ema_kimg": 2,
                "checkpoint_every": 500,
                "preview_every": 500,
            },
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        check_size((picture.height, picture.width))
        generator = (picture.channels, config.conv_dim, config.bottleneck)
        self.generator_a, self.generator_b = Generator(*generator), Generator(*generator)
        discriminator = (picture.channels, config.discriminator_conv_dim)
        self.discriminator_a, self.discriminator_b = Discriminator(*discriminator), Discriminator(*discriminator)
        self.abilities = Abilities(translates=True, told="domain", scores=("discriminator_a", "discriminator_b"))
        self.updates = (
            Update("discriminators", trains=("discriminator_a", "discriminator_b"), every=3, turns=(0,)),
            Update("generators", trains=("generator_a", "generator_b"), every=3, turns=(1, 2)),
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5 and L2 decay for all."""
        return dict.fromkeys(self.networks, Adam(self.config.lr, weight_decay=self.config.weight_decay))

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Note which domain each sample's own picture is of; the other one comes with it."""
        return {"y": self.space.domain(batch.labels)}

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return x_a and x_b [N, C, H, W]: each sample's own picture and the other one, sorted by domain."""
        own = (batch.y == 0)[:, None, None, None]
        return torch.where(own, batch.x, batch.x_other), torch.where(own, batch.x_other, batch.x)

    def discriminators_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """-log D(x) - log(1 - D(G(x'))) of each domain, halved; real pictures and translations are batches of their own."""
        x_a, x_b = self.pair(batch)
        with torch.no_grad():
            x_fake_a, x_fake_b = self.generator_a(x_b), self.generator_b(x_a)
        terms: Terms = {}
        for domain, judge, x, x_fake in (
            ("a", self.discriminator_a, x_a, x_fake_a),
            ("b", self.discriminator_b, x_b, x_fake_b),
        ):
            terms[f"real_{domain}"] = (0.5, logistic_real(judge(x)[0]))
            terms[f"fake_{domain}"] = (0.5, logistic_fake(judge(x_fake)[0]))
        return terms

    def generators_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Adversarial and reconstruction terms of both directions (Section 2.3), and mean features; weighted by the rate."""
        x_a, x_b = self.pair(batch)
        x_fake_a, x_fake_b = self.generator_a(x_b), self.generator_b(x_a)
        rate = torch.where(progress < self.config.first_steps, self.config.first_rate, self.config.rate)
        terms: Terms = {}
        for domain, judge, x, x_fake, x_rec in (
            ("a", self.discriminator_a, x_a, x_fake_a, self.generator_a(x_fake_b)),
            ("b", self.discriminator_b, x_b, x_fake_b, self.generator_b(x_fake_a)),
        ):
            (_, real), (logits, fake) = judge(x), judge(x_fake)
            terms[f"adversarial_{domain}"] = (self.config.adversarial_weight * (1 - rate), logistic_real(logits))
            terms[f"features_{domain}"] = (self.config.feature_weight * (1 - rate), between_means(real, fake))
            terms[f"reconstruction_{domain}"] = (rate, squared(x_rec, x) / 4)  # Counted in [0, 1].
        return terms

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return each picture as the generator of its target makes it; none is told where a picture comes from."""
        return to_target((self.generator_a, self.generator_b), x, told)

    def realness(self, x: Tensor) -> Tensor:
        """Return logits [N], each of the domain in which the picture looks more real."""
        return torch.maximum(self.discriminator_a(x)[0], self.discriminator_b(x)[0])

    def label_slots(self) -> list[Slot]:
        """All of a domain's generator and discriminator belong to it."""
        a, b = self.space.domain_names
        owners = {"generator_a": a, "discriminator_a": a, "generator_b": b, "discriminator_b": b}
        return [slot for name, owner in owners.items() for slot in self.slots_within(name, owner)]


def between_means(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Sum over layers of the mean squared difference between batch means of features [N, ...] (arXiv:1606.03498, Section 3.1).

    Returns:
        [N], the same for every sample, at least float32, >= 0.
    """
    means = [(at_least_float32(r).mean(0), at_least_float32(f).mean(0)) for r, f in zip(real, fake, strict=True)]
    return torch.stack([(r - f).square().mean() for r, f in means]).sum().expand(len(real[0]))
