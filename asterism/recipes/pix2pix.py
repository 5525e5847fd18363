"""pix2pix: Image-to-Image Translation with Conditional Adversarial Networks (arXiv:1611.07004).

One generator, from one domain to the other, learned from pairs; a discriminator that sees source and translation together.

Shapes: x, x_src, x_trg and translations [N, C, H, W] in [-1, 1]; y int64 [N] domain, 0 or 1; s [N, S] what dropout multiplies
the S activations behind it with, 0 or 2.

**More than two domains**, or both directions (`any`), are not the paper's: a sample is then a source, y the domain of its
partner, and both networks see K channels more beside it, 1 for the wanted domain and 0 for the others, as StarGAN's are told.

**Noise.** The paper's only noise is dropout, which stays on in use. Here it is the recipe's style: a style is the dropout masks
themselves, of which `draw_style` makes some from a latent of as many numbers, so that `--style SEED` names a sample; their
expectation is 1 everywhere, which is `mean_style`, and the same as no dropout. So without a seed a model has one answer, and
truncation lies in between. No picture has masks to read. In training `prepare` draws them.

**Norms.** The paper trains with batches of one and in use normalises each picture by its own statistics (Section 3.3, "instance
normalization"), which is the same then; its presets do so. Batches of several have statistics of several pictures, so without a
preset norms in use take the statistics of training (`running_statistics`): by its own, a picture's mean colour is lost.

What differs from the published code, beyond the engine's doing: a sample is a picture of either domain and comes with its
partner, so that an epoch is every pair twice; the learning rate falls in every step; the discriminator's running statistics,
which nothing reads, move in its own two passes and not in the generator's; halvings follow the size by default, where theirs
are chosen by the network's name; pictures keep their aspect, and half of them are cropped (`data.zoom`) where theirs are all
squeezed to 286 x 286 and cropped to 256.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from asterism.config import ConfigError, option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.networks.label_maps import planes
from asterism.networks.pix2pix import Discriminator, Generator, check_size, halvings_of
from asterism.objectives.adversarial import least_squares, logistic_fake, logistic_real
from asterism.objectives.distances import l1
from asterism.recipes.base import Abilities, Adam, Recipe, Slot, Stream, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """pix2pix's choices; the defaults are those of the published code, but for the statistics in use."""

    direction: Literal["AtoB", "BtoA", "any"] = option(
        "AtoB", "From the first domain of the data to the second, back, or from any to any, as of more than two always."
    )
    conv_dim: int = option(64, "Channels after the generator's first convolution.", low=1)
    num_downs: int = option(0, "Halvings of the generator; 0: as many as the size allows, 8 for 256 pixels.", low=0)
    dropout: bool = option(True, "Noise in the generator: dropout of the levels beyond the fifth.")
    running_statistics: bool = option(
        True,
        "In use, normalise by the statistics of training; no: by the picture's own, for a model trained by batches of one.",
    )
    discriminator_conv_dim: int = option(64, "Channels after the discriminator's first convolution.", low=1)
    discriminator_layers: int = option(
        3, "Halvings of the discriminator: a logit sees 70 pixels a side with 3, 286 with 5, 16 with 1, one with 0.", low=0
    )
    adversarial: Literal["logistic", "least_squares"] = option("logistic", "The adversarial terms, Eq. (1).")
    l1_weight: float = option(100.0, "Weight of the distance to the partner, lambda in Eq. (4).", low=0)
    lr: float = option(2e-4, "Learning rate of both networks.", low=0)


_DATA = {"size": 256, "zoom": 0.8}
_ALONE = {"running_statistics": False}
_TRAIN = {"epochs": 100, "decay_epochs": 50, "batch_size": 1}  # Every pair comes twice: 100 + 100 of the published code's.


class Pix2Pix(Recipe):
    """pix2pix: from one domain to the other, learnt from pairs."""

    config_type = Config
    averaged = ("generator",)
    streams = (Stream("pair", of="partner", aligned=True),)
    protocol = "pairs"
    num_domains = range(2, 2**15)
    two_kinds = True
    coupled = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "facades": {"recipe": _ALONE | {"direction": "BtoA"}, "data": _DATA, "train": _TRAIN},
        "published": {"recipe": _ALONE, "data": _DATA, "train": _TRAIN | {"ema_kimg": 0}},
        "small": {  # A laptop's CPU: narrower, and rates that get there in fewer steps.
            "recipe": {"conv_dim": 24, "discriminator_conv_dim": 24, "discriminator_layers": 2, "lr": 5e-4},
            "data": {"size": 64},
            "train": {
                "steps": 3000,
                "decay_steps": 1000,
                "batch_size": 4,
                "ema_kimg": 2,
                "checkpoint_every": 500,
                "preview_every": 500,
            },
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        size = (picture.height, picture.width)
        check_size(size, config.num_downs, config.discriminator_layers)
        count, direction = len(space.domain_names), config.direction
        if picture.source and direction != "AtoB":
            raise ConfigError(
                f"recipe.direction {direction}: the pictures of the two domains are of different kinds, and those of the first "
                "are the sources; leave it out, and turn the domains round with --data.pairs BtoA"
            )
        if count > 2 and direction == "BtoA":
            raise ConfigError(f"recipe.direction BtoA: of {count} domains any is translated to any; leave it out")
        halvings = config.num_downs or halvings_of(size)
        self.classes = picture.taken.classes
        self.choices = count if count > 2 or direction == "any" else 0
        channels = (picture.taken.planes + self.choices, picture.channels)
        self.generator = Generator(*channels, size, halvings, config.conv_dim, config.dropout, config.running_statistics)
        self.discriminator = Discriminator(sum(channels), config.discriminator_conv_dim, config.discriminator_layers)
        self.target = 1 if config.direction == "AtoB" else 0
        noise = self.generator.noise
        self.abilities = Abilities(
            translates=True,
            told="domain",
            latent=noise,
            style=noise,
            targets=() if self.choices else (space.domain_names[self.target],),
        )
        self.updates = (
            Update("discriminator", trains=("discriminator",)),
            Update("generator", trains=("generator",), shares=True),  # Judged by the discriminator that has just been trained.
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5 for both networks."""
        return dict.fromkeys(self.networks, Adam(self.config.lr))

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Note of which domain each sample's own picture is, or which one is wanted, and draw the dropout masks."""
        y, noise = self.space.domain(batch.labels_pair if self.choices else batch.labels), self.generator.noise
        return {"y": y, "s": self.draw_style(torch.randn(len(y), noise, generator=rng), y)}

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return x_src and x_trg [N, C, H, W]: each sample's own picture and its partner, in the direction of translation.

        A label map is one channel for each class here, and one for the edges of instances; where there are several targets,
        channels that tell the one behind.
        """
        if self.picture.source or self.choices:  # Samples are sources then.
            return self.taken(batch.x, batch.y), batch.x_pair
        own = (batch.y != self.target)[:, None, None, None]
        return torch.where(own, batch.x, batch.x_pair), torch.where(own, batch.x_pair, batch.x)

    def taken(self, x: Tensor, y: Tensor) -> Tensor:
        """Return what the generator takes, [N, C', H, W], of sources x that are to become pictures of the domains y."""
        x = planes(x, self.classes)
        if not self.choices:
            return x
        wanted = (y[:, None] == torch.arange(self.choices, device=y.device)).to(x.dtype)
        return torch.cat([x, wanted[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """The translations: the discriminator's update and the generator's both begin with them."""
        if "x_fake" in batch:
            return {"x_fake": batch.x_fake}
        return {"x_fake": self.generator(self.pair(batch)[0], batch.s)}

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Eq. (1), halved so that D learns more slowly than G (Section 3.3); real and fake pairs are batches of their own."""
        x_src, x_trg = self.pair(batch)
        with torch.no_grad():
            x_fake = self.share(batch)["x_fake"].detach()
        return {
            "fake": (0.5, self.score(self.discriminator(x_src, x_fake), 0)),
            "real": (0.5, self.score(self.discriminator(x_src, x_trg), 1)),
        }

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Eq. (4): Eq. (1) in its non-saturating form, and Eq. (3)."""
        x_src, x_trg = self.pair(batch)
        x_fake = self.share(batch)["x_fake"]
        return {
            "adversarial": (1.0, self.score(self.discriminator(x_src, x_fake), 1)),
            "l1": (self.config.l1_weight, l1(x_fake, x_trg)),
        }

    def score(self, logits: Tensor, wanted: int) -> Tensor:
        """Return what is paid for logits [N, P] of which real (1) or fake (0) is wanted: [N]."""
        if self.config.adversarial == "least_squares":
            return least_squares(logits, wanted)
        return (logistic_real if wanted else logistic_fake)(logits).mean(1)

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return G(x) with these dropout masks, or without dropout; the domains are read where there are several targets."""
        return self.generator(self.taken(x, told), s)

    def label_slots(self) -> list[Slot]:
        """The channels beside the source, behind its own, by which both networks are told the wanted domain."""
        if not self.choices:
            return []
        start, trunk = self.picture.taken.planes, "model" if self.discriminator.layers else "net"
        weights = ("generator.model.model.0.weight", f"discriminator.{trunk}.0.weight")
        return [Slot(weight, owner, 1, start + i) for weight in weights for i, owner in enumerate(self.space.domain_names)]

    def draw_style(self, z: Tensor, told: Tensor) -> Tensor:
        """Return dropout masks, 0 or 2 at equal chances: what is kept counts twice, so that the expectation stays."""
        return 2 * (z > 0).to(z.dtype)

    def mean_style(self, told: Tensor) -> Tensor:
        """Return the masks' expectation, which is no dropout."""
        return torch.ones(len(told), self.generator.noise, device=told.device)
