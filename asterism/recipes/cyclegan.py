"""CycleGAN: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks (arXiv:1703.10593).

Two generators, one for each direction between two domains, and a discriminator of each domain. Pictures of the two are
never paired: what ties a translation to its source is that the other generator must lead back.

Networks are named by the domain that they make or judge; a and b are the first and second domain of the data:
    generator_a      makes pictures of a    F of the paper where a is X    published G_B
    generator_b      makes pictures of b    G                              published G_A
    discriminator_a  judges pictures of a   D_X                            published D_B
    discriminator_b  judges pictures of b   D_Y                            published D_A

Shapes: x, x_a, x_b and all that is made of them [N, C, H, W] in [-1, 1]; y int64 [N] domain, 0 or 1.

What differs from the published code, beyond the engine's doing: a sample is a picture of either domain and comes with a random
one of the other, so that an epoch is both sets, half of the paper's; pictures keep their aspect, and half of them are cropped
(`data.zoom`) where theirs are all squeezed to 286 x 286 and cropped to 256; the learning rate falls in every step, where
theirs falls once an epoch and rests at exactly 0 in the last; a pool's draws are a function of the step. The identity term,
which the paper has for paintings only (Section 5.2), is on by default as in the published PyTorch code.
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
from asterism.networks.cyclegan import Discriminator, Generator, check_size
from asterism.networks.directions import to_target
from asterism.objectives.adversarial import least_squares
from asterism.objectives.distances import l1
from asterism.recipes.base import Abilities, Adam, Recipe, Slot, Stream, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """CycleGAN's choices; the defaults are those of the published code for 256 pixels."""

    conv_dim: int = option(64, "Channels after the generators' first convolution.", low=1)
    num_blocks: int = option(9, "Residual blocks of each generator; the paper has 6 for pictures of 128 pixels.", low=0)
    discriminator_conv_dim: int = option(64, "Channels after the discriminators' first convolution.", low=1)
    discriminator_layers: int = option(3, "Halving convolutions of the discriminators.", low=1)
    cycle_weight: float = option(10.0, "Weight of the cycle terms, lambda in Eq. (3).", low=0)
    identity_weight: float = option(
        5.0, "Weight of the identity terms; the paper's is half of lambda, where it has them.", low=0
    )
    pool_size: int = option(50, "Past fakes of each domain, of which the discriminators see some again; 0: none.", low=0)
    lr: float = option(2e-4, "Learning rate of all networks.", low=0)


_DATA = {"size": 256, "zoom": 0.8}
_TRAIN = {"epochs": 100, "decay_epochs": 50, "batch_size": 1}  # Of both sets: 100 + 100 of the paper's.


class CycleGAN(Recipe):
    """CycleGAN: between two domains without pairs, in both directions."""

    config_type = Config
    averaged = ("generator_a", "generator_b")
    streams = (Stream("other", of="other_domain"),)
    num_domains = range(2, 3)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "horse2zebra": {"recipe": {"identity_weight": 0}, "data": _DATA, "train": _TRAIN},
        "monet2photo": {"data": _DATA, "train": _TRAIN},
        "published": {"data": _DATA, "train": _TRAIN | {"ema_kimg": 0}},
        "small": {  # A laptop's CPU: narrower, and rates that get there in fewer steps.
            "recipe": {
                "conv_dim": 20,
                "num_blocks": 3,
                "discriminator_conv_dim": 24,
                "discriminator_layers": 2,
                "lr": 5e-4,
            },
            "data": {"size": 64},
            "train": {
                "steps": 3000,
                "decay_steps": 1000,
                "batch_size": 2,
                "ema_kimg": 1,
                "checkpoint_every": 500,
                "preview_every": 500,
            },
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        check_size((picture.height, picture.width), config.discriminator_layers)
        generator = (picture.channels, config.conv_dim, config.num_blocks)
        self.generator_a, self.generator_b = Generator(*generator), Generator(*generator)
        discriminator = (picture.channels, config.discriminator_conv_dim, config.discriminator_layers)
        self.discriminator_a, self.discriminator_b = Discriminator(*discriminator), Discriminator(*discriminator)
        # The generators halve twice and are convolutional throughout: they take any multiple of 4.
        self.abilities = Abilities(
            translates=True, told="domain", side_multiple=4, scores=("discriminator_a", "discriminator_b")
        )
        self.pools = {"x_fake_a": config.pool_size, "x_fake_b": config.pool_size}
        self.updates = (
            Update("generators", trains=("generator_a", "generator_b"), shares=True),
            # On the fakes of the unstepped generators, as published.
            Update("discriminators", trains=("discriminator_a", "discriminator_b")),
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5 for all."""
        return dict.fromkeys(self.networks, Adam(self.config.lr))

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Note which domain each sample's own picture is of; the other one comes with it."""
        return {"y": self.space.domain(batch.labels)}

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return x_a and x_b [N, C, H, W]: each sample's own picture and the other one, sorted by domain."""
        own = (batch.y == 0)[:, None, None, None]
        return torch.where(own, batch.x, batch.x_other), torch.where(own, batch.x_other, batch.x)

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """The translations, which the generators are trained by and the discriminators see, now or later."""
        x_a, x_b = self.pair(batch)
        return {"x_fake_a": self.generator_a(x_b), "x_fake_b": self.generator_b(x_a)}

    def generators_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Eq. (3), with the least squares of Section 4 for Eq. (1), and the identity terms of Section 5.2."""
        x_a, x_b = self.pair(batch)
        held = batch if "x_fake_a" in batch else Batch(**self.share(batch))
        x_fake_a, x_fake_b = held.x_fake_a, held.x_fake_b
        # Of one generator, what comes back and what should stay go through it together: norms are each picture's own.
        back_a, back_b, same = x_fake_b.to(x_a.dtype), x_fake_a.to(x_b.dtype), bool(self.config.identity_weight)
        x_rec_a, *x_same_a = self.generator_a(torch.cat([back_a, x_a]) if same else back_a).split(len(x_a))
        x_rec_b, *x_same_b = self.generator_b(torch.cat([back_b, x_b]) if same else back_b).split(len(x_b))
        terms: Terms = {
            "adversarial_a": (1.0, least_squares(self.discriminator_a(x_fake_a), 1)),
            "adversarial_b": (1.0, least_squares(self.discriminator_b(x_fake_b), 1)),
            "cycle_a": (self.config.cycle_weight, l1(x_rec_a, x_a)),  # Eq. (2)
            "cycle_b": (self.config.cycle_weight, l1(x_rec_b, x_b)),
        }
        if same:
            terms["identity_a"] = (self.config.identity_weight, l1(x_same_a[0], x_a))
            terms["identity_b"] = (self.config.identity_weight, l1(x_same_b[0], x_b))
        return terms

    def discriminators_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Eq. (1) in least squares, halved so that D learns more slowly than G (Section 7.1)."""
        x_a, x_b = self.pair(batch)
        if "pooled_x_fake_a" in batch:  # Fakes of this step, or of earlier ones (Section 4).
            x_fake_a, x_fake_b = batch.pooled_x_fake_a, batch.pooled_x_fake_b
        else:
            with torch.no_grad():
                x_fake_a, x_fake_b = self.share(batch).values()
        terms: Terms = {}
        for domain, judge, x, x_fake in (
            ("a", self.discriminator_a, x_a, x_fake_a),
            ("b", self.discriminator_b, x_b, x_fake_b),
        ):
            # In one pass: norms are each picture's own, so that no sample sees another.
            real, fake = judge(torch.cat([x, x_fake.to(x.dtype)])).chunk(2)
            terms[f"real_{domain}"] = (0.5, least_squares(real, 1))
            terms[f"fake_{domain}"] = (0.5, least_squares(fake, 0))
        return terms

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return each picture as the generator of its target makes it.

        No generator is told where a picture comes from: one of b, translated to b, is taken for one of a.
        """
        return to_target((self.generator_a, self.generator_b), x, told)

    def realness(self, x: Tensor) -> Tensor:
        """Return scores [N], mean over patches, each of the domain in which the picture looks more real."""
        return torch.stack([self.discriminator_a(x).mean(1), self.discriminator_b(x).mean(1)]).amax(0)

    def label_slots(self) -> list[Slot]:
        """All of a domain's generator and discriminator belong to it."""
        a, b = self.space.domain_names
        owners = {"generator_a": a, "discriminator_a": a, "generator_b": b, "discriminator_b": b}
        return [slot for name, owner in owners.items() for slot in self.slots_within(name, owner)]
