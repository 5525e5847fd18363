"""InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets (arXiv:1606.03657).

A generator makes pictures of noise and of codes: categories, and numbers in [-1, 1]. A recogniser reads the codes back from the
pictures, by what the discriminator sees in them, and all learn to make the codes easy to read. So codes come to stand for what
differs most between pictures, without a label.

Shapes: x [N, C, S, S] in [-1, 1]; z [N, Z] what the generator takes, noise, then codes: categories one-hot, numbers uniform in
[-1, 1]; q [N, n + m] what the recogniser reads: of each code in order the logits of a category, or the mean of a number, n in
all, then the logarithm of the variance of each of the m numbers; logits [N].

Sources differ. The paper takes the information into both updates, and so do its authors' code and our default. The PyTorch
descendant, which `published` and `svhn` follow, takes it into the generator's update alone, which then trains the recogniser.
As in the descendant, the recogniser tells the variance of a number too (the authors' code fixes it to 1), both updates see the
same fakes, and noise is normal (the authors': uniform). Running statistics of batch norms move only when their network trains,
and a trained model generates with them. With `plain` networks pictures are in [-1, 1], as the generator makes them; the
descendant's real ones are in [0, 1].
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from asterism.config import ConfigError, option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.machine import at_least_float32
from asterism.networks.codes import Code
from asterism.networks.infogan import Discriminator, Generator, Recogniser, check_size, discriminator_widths, generator_widths
from asterism.objectives.adversarial import logistic_fake, logistic_real
from asterism.recipes.base import Abilities, Adam, Recipe, Terms, Update

EPSILON = 1e-6
"""Beside a variance, as in the published code."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """InfoGAN's choices; the defaults are the paper's rates and the descendant's weights, for pictures of any kind."""

    codes: str = option(
        "kind=10,first,second", "Codes by name, in order: a category with its number of values, a number in [-1, 1] without."
    )
    noise_dim: int = option(62, "Numbers of noise beside the codes.", low=0)
    networks: Literal["plain", "full"] = option("plain", "Convolutions alone, or full layers at their inner ends (MNIST's).")
    conv_dim: int = option(64, "Channels before the generator's last convolution.", low=1)
    discriminator_conv_dim: int = option(64, "Channels after the discriminator's first convolution.", low=1)
    recogniser_dim: int = option(128, "Channels of the recogniser's layer.", low=1)
    informs: Literal["both", "generator"] = option("both", "Whose update the information joins: both, or the generator's.")
    category_weight: float = option(1.0, "Weight of the information of categories.", low=0)
    number_weight: float = option(0.1, "Weight of the information of numbers.", low=0)
    generator_lr: float = option(1e-3, "Learning rate of the generator.", low=0)
    discriminator_lr: float = option(2e-4, "Learning rate of the discriminator.", low=0)
    recogniser_lr: float = option(2e-4, "Learning rate of the recogniser.", low=0)


class InfoGAN(Recipe):
    """InfoGAN: new pictures, from noise and from codes that come to mean something."""

    config_type = Config
    averaged = ("generator",)
    protocol = "generation"
    advised_batch = 16
    labelled = False
    coupled = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mnist": {  # The paper's codes and rates, and 50 epochs of 100 updates.
            "recipe": {"codes": "digit=10,tilt,width", "networks": "full"},
            "data": {"size": 28, "flip": False},
            "train": {"steps": 5000, "decay_steps": 0, "batch_size": 128, "ema_kimg": 0},
        },
        "published": {  # The PyTorch descendant's, for MNIST.
            "recipe": {"codes": "digit=10,tilt,width", "networks": "full", "informs": "generator", "generator_lr": 2e-4},
            "data": {"size": 28, "flip": False},
            "train": {"epochs": 100, "decay_steps": 0, "batch_size": 128, "ema_kimg": 0},
        },
        "svhn": {  # The PyTorch descendant's.
            "recipe": {
                "codes": "first=10,second=10,third=10,fourth=10,a,b,c,d",
                "noise_dim": 124,
                "informs": "generator",
                "generator_lr": 2e-4,
            },
            "data": {"size": 32, "flip": False},
            "train": {"epochs": 100, "decay_steps": 0, "batch_size": 128, "ema_kimg": 0},
        },
        "small": {  # A laptop's CPU: narrower, the discriminator more so, which else wins early; numbers weigh more.
            "recipe": {
                "conv_dim": 32,
                "discriminator_conv_dim": 16,
                "number_weight": 0.3,
                "generator_lr": 4e-4,
                "discriminator_lr": 4e-4,
                "recogniser_lr": 4e-4,
            },
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
        channels, size, full = picture.channels, picture.height, config.networks == "full"
        check_size((picture.height, picture.width), full=full)
        codes = codes_of(config.codes, config.noise_dim)
        self.abilities = Abilities(generates=True, latent=codes[-1].end, codes=codes, scores=("discriminator",))
        seen = discriminator_widths(size, config.discriminator_conv_dim, full=full)
        read = codes[-1].end - config.noise_dim + sum(not code.values for code in codes)
        widths = generator_widths(size, config.conv_dim, full=full)
        self.generator = Generator(channels, size, codes[-1].end, widths, full=full)
        self.discriminator = Discriminator(channels, size, seen, full=full)
        self.recogniser = Recogniser(seen[-1], 1 if full else 4, read, config.recogniser_dim)
        both = config.informs == "both"
        self.updates = (
            Update("discriminator", trains=("discriminator", "recogniser") if both else ("discriminator",)),
            Update("generator", trains=("generator",) if both else ("generator", "recogniser"), shares=True),
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5 for all."""
        rates = {name: getattr(self.config, f"{name}_lr") for name in ("generator", "discriminator", "recogniser")}
        return {name: Adam(rate) for name, rate in rates.items()}

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw noise and codes, which both updates use."""
        z = torch.randn(len(batch), self.abilities.latent, generator=rng)
        return {"z": inputs(z, self.abilities.codes)}

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """The fakes: the discriminator's update and the generator's both begin with them."""
        return {"x_fake": batch.x_fake if "x_fake" in batch else self.generator(batch.z)}

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """-log D(x) - log(1 - D(G(z, c))), and the codes read from the same fakes: Eq. (6)."""
        with torch.no_grad():
            x_fake = self.share(batch)["x_fake"].detach().to(batch.x.dtype)
        real, fake = self.discriminator(batch.x)[0], self.discriminator(x_fake)
        terms: Terms = {"real": (1.0, logistic_real(real)), "fake": (1.0, logistic_fake(fake[0]))}
        return terms | (self._information(fake[1], batch.z) if self.config.informs == "both" else {})

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """-log D(G(z, c)), the non-saturating form, and the codes read from the pictures: Eq. (6)."""
        fake, seen = self.discriminator(self.share(batch)["x_fake"])
        return {"adversarial": (1.0, logistic_real(fake)), **self._information(seen, batch.z)}

    def _information(self, seen: Tensor, z: Tensor) -> Terms:
        """-log Q(c | x) of categories and of numbers; and, only to be watched, the bound of Eq. (4) in nats.

        L_I = E log Q(c | x) + H(c) is at most the mutual information of codes and pictures. H is ln K of a category of K
        values, ln 2 of a number in [-1, 1].
        """
        q, noise, codes = at_least_float32(self.recogniser(seen)), self.config.noise_dim, self.abilities.codes
        log_variance = iter(q[:, codes[-1].end - noise :].unbind(1))
        surprises, information = dict[str, Tensor](), torch.zeros_like(q[:, 0])
        for code in codes:
            own, wanted = q[:, code.at - noise : code.end - noise], z[:, code.at : code.end]
            if code.values:
                surprise = -(wanted * own.log_softmax(1)).sum(1)
            else:
                variance = next(log_variance).exp()
                error = (own - wanted).square().sum(1)
                surprise = (2 * math.pi * variance + EPSILON).log() / 2 + error / (2 * variance + EPSILON)
            kind = "category" if code.values else "number"
            surprises[kind] = surprises.get(kind, 0) + surprise
            information = information + math.log(code.values or 2) - surprise.detach()
        weights = {"category": self.config.category_weight, "number": self.config.number_weight}
        return {kind: (weights[kind], total) for kind, total in surprises.items()} | {"information": (0.0, information)}

    def generate(self, z: Tensor, told: Tensor) -> Tensor:
        """Return G(z, c), z noise and c the codes that the latent says; nothing is told."""
        return self.generator(inputs(z, self.abilities.codes))

    def recognise(self, x: Tensor) -> Tensor:
        """Return Q(c | x)'s logits of categories and means of numbers."""
        codes = self.abilities.codes
        return self.recogniser(self.discriminator(x)[1])[:, : codes[-1].end - codes[0].at]

    def realness(self, x: Tensor) -> Tensor:
        """Return the discriminator's logits [N]."""
        return self.discriminator(x)[0]


def codes_of(words: str, at: int) -> tuple[Code, ...]:
    """Return the codes that words such as `digit=10,tilt` name, in their order: a category of 10 values, and a number.

    Args:
        at: where in the latent the first one begins.

    Raises:
        ConfigError: something else, a name twice, or a category of fewer than two values.
    """
    codes: list[Code] = []
    for word in filter(None, map(str.strip, words.split(","))):
        found = re.fullmatch(r"(\w+)(?:\s*=\s*(\d+))?", word)
        if not found or found[2] and int(found[2]) < 2:
            raise ConfigError(
                f"recipe.codes has {word!r}: expected a category with its number of values, at least 2, such as digit=10, or a "
                "number's name, such as tilt"
            )
        if found[1] in [code.name for code in codes]:
            raise ConfigError(f"recipe.codes names {found[1]} twice: give every code a name of its own")
        codes.append(Code(found[1], codes[-1].end if codes else at, int(found[2] or 0)))
    if not codes:
        raise ConfigError("recipe.codes names no code: expected at least one, such as digit=10 or tilt")
    return tuple(codes)


def inputs(z: Tensor, codes: Sequence[Code]) -> Tensor:
    """Return what a generator takes of latents [N, Z], whose codes are at their end: noise, then what each code says."""
    return torch.cat([z[:, : codes[0].at], *(code.read(z) for code in codes)], 1)
