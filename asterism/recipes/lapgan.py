"""LAPGAN: Deep Generative Image Models using a Laplacian Pyramid of Adversarial Networks (arXiv:1506.05751).

A generator makes the coarsest pictures of noise. Each further one makes, of noise and of a coarse picture doubled to its size,
the residual: the detail that the coarse picture lacks. Every level has a discriminator of its own and is trained by itself, on
coarse pictures made of real ones; only a finished model puts one level upon another. With `conditional` all networks are told
the labels of the picture, where the paper has classes (Section 4.1).

Shapes: x [N, C, S, S] in [-1, 1]; of level l, 0 the finest, residuals and coarse pictures [N, C, s, s], s = S / 2**l; latents z
[N, Z] standard normal, of all levels, finest first, which networks take as noise u, uniform in [-1, 1]; logits [N].

What differs from the published code (Lua), beyond the engine's doing: the pyramid has the binomial window of the paper's text,
and of the PyTorch descendant (the authors scale bilinearly); pictures are in [-1, 1] and not standardised pixel by pixel; the
momentum is constant, where theirs grew from 0.5 (0 at the coarsest level) to 0.7; all levels are trained at once, in one run;
fakes are made of the coarse pictures of a discriminator's real ones, where theirs drew others for both updates; a discriminator
sees a batch of each, theirs half a batch.

With `networks strided` it has those of the PyTorch descendant, for MNIST: the discriminator sees real pictures and fakes in one
batch (its batch norms do), and the trained model generates with running statistics. There one pass of the discriminator serves
both updates; here the generator follows the discriminator's step, with fakes of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from asterism.config import ConfigError, option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.networks import lapgan as networks
from asterism.objectives.adversarial import logistic_fake, logistic_real
from asterism.recipes.base import SGD, Abilities, Adam, Optimiser, Recipe, Slot, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """LAPGAN's choices; the defaults are the authors' for CIFAR-10."""

    networks: Literal["flat", "strided"] = option("flat", "Convolutions at full size, or strided ones with batch norm.")
    noise_dim: int = option(100, "Numbers of noise of the coarsest level, and of every level of strided networks.", low=1)
    conv_dim: int = option(64, "Channels of the generators; of strided ones those of their smallest map.", low=1)
    discriminator_conv_dim: int = option(64, "Channels of the discriminators; of strided ones those of their last map.", low=1)
    coarse_dim: int = option(8000, "Width of the coarsest generator's full layers (flat).", low=1)
    coarse_discriminator_dim: int = option(1600, "Width of the coarsest discriminator's full layers (flat).", low=1)
    given_dim: int = option(100, "Numbers that are read from a coarse picture (strided).", low=1)
    given_conv_dim: int = option(64, "Channels of the last convolution that reads a coarse picture (strided).", low=1)
    conditional: bool = option(False, "Tell all networks the labels of the pictures.")
    optimiser: Literal["sgd", "adam"] = option("sgd", "Gradient descent with momentum, or Adam.")
    momentum: float = option(
        0.5, "Of sgd: the share of a step that is the last one; the rest is the gradient, as in Torch.", low=0, high=1
    )
    generator_lr: tuple[float, ...] = option(
        (0.02,), "Learning rates of the generators, finest first; the last is for the rest."
    )
    discriminator_lr: tuple[float, ...] = option((0.02,), "The same for the discriminators.")


class LAPGAN(Recipe):
    """LAPGAN: new pictures, from noise, coarse to fine."""

    config_type = Config
    protocol = "generation"
    advised_batch = 16
    labelled = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {  # CIFAR-10: 8, 16 and 32 px.
            "data": {"size": 32, "flip": False},
            "train": {"epochs": 200, "decay_steps": 0, "batch_size": 128, "ema_kimg": 0},
        },
        "mnist": {  # The PyTorch descendant's.
            "recipe": {
                "networks": "strided",
                "noise_dim": 10,
                "optimiser": "adam",
                "generator_lr": (0.001, 0.005, 0.01),
                "discriminator_lr": (0.0002, 0.0003, 0.001),
            },
            "data": {"size": 28, "flip": False},
            "train": {"epochs": 25, "decay_steps": 0, "batch_size": 128, "ema_kimg": 0},
        },
        "small": {  # A laptop's CPU: narrower, and Adam.
            "recipe": {
                "conv_dim": 16,
                "discriminator_conv_dim": 16,
                "coarse_dim": 512,
                "coarse_discriminator_dim": 256,
                "optimiser": "adam",
                "generator_lr": (1e-3,),
                "discriminator_lr": (1e-3,),
            },
            "data": {"size": 64},
            "train": {
                "steps": 3000,
                "decay_steps": 1500,
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
        networks.check_size((picture.height, picture.width))
        self.sides = networks.sides(picture.height)
        self.coupled = config.networks == "strided"
        if config.conditional and not space.num_labels:
            raise ConfigError("recipe.conditional: these data have no labels that the networks could be told; leave it out")
        levels = range(len(self.sides))
        for level, side in enumerate(self.sides):
            generator, discriminator = self._pair(side, picture.channels, coarsest=level == levels[-1])
            self.add_module(f"generator_{level}", generator)
            self.add_module(f"discriminator_{level}", discriminator)
        self.averaged = tuple(f"generator_{level}" for level in levels)
        self.noise = [int(getattr(self, name).noise) for name in self.averaged]
        judges = () if config.conditional else tuple(f"discriminator_{level}" for level in levels)
        told: Literal["code", "none"] = "code" if config.conditional else "none"
        self.abilities = Abilities(generates=True, told=told, latent=sum(self.noise), scores=judges)
        self.updates = tuple(
            Update(f"{kind}_{level}", trains=(f"{kind}_{level}",), terms=kind, args=(level,))
            for level in levels
            for kind in ("discriminator", "generator")
        )

    def _pair(self, side: int, channels: int, *, coarsest: bool) -> tuple[nn.Module, nn.Module]:
        """Return a level's generator and discriminator."""
        c, told = self.config, self.space.code_size if self.config.conditional else 0
        if c.networks == "strided":
            given = 0 if coarsest else c.given_dim, c.given_conv_dim, told
            return (
                networks.StridedGenerator(channels, side, c.noise_dim, c.conv_dim, *given),
                networks.StridedDiscriminator(channels, side, c.discriminator_conv_dim, *given),
            )
        if coarsest:
            return (
                networks.FullGenerator(channels, side, c.noise_dim, c.coarse_dim, told),
                networks.FullDiscriminator(channels, side, c.coarse_discriminator_dim, told),
            )
        return (
            networks.FlatGenerator(channels, side, c.conv_dim, told),
            networks.FlatDiscriminator(channels, side, c.discriminator_conv_dim, told),
        )

    def optimizers(self) -> dict[str, Optimiser]:
        """Gradient descent with momentum, dampened as Torch's, or Adam with beta1 = 0.5, at the rate of the level."""
        c, made = self.config, dict[str, Optimiser]()
        for kind, rates in (("generator", c.generator_lr), ("discriminator", c.discriminator_lr)):
            for level in range(len(self.sides)):
                rate = rates[min(level, len(rates) - 1)]
                made[f"{kind}_{level}"] = SGD(rate * (1 - c.momentum), c.momentum) if c.optimiser == "sgd" else Adam(rate)
        return made

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the noise of the discriminators' steps and, anew, of the generators'; and a seed for every dropout.

        Where networks are told labels, they are those of the picture, whose coarse pictures the generators are given.
        """
        shape, passes = (len(batch), self.abilities.latent), 3 * len(self.sides)
        told = {"c": self.space.encode(batch.labels, batch.known, batch.dataset)} if self.config.conditional else {}
        return told | {
            "u": 2 * torch.rand(shape, generator=rng) - 1,
            "u_generator": 2 * torch.rand(shape, generator=rng) - 1,
            "seeds": torch.randint(2**62, (len(batch), passes), generator=rng),
        }

    def discriminator_terms(self, batch: Batch, progress: Tensor, level: int) -> Terms:
        """-(log D(h, l) + log(1 - D(G(u, l), l))) / 2, h the residual, l the coarse picture: Eq. (5), halved as published."""
        real, coarse = networks.level_of(batch.x, level, len(self.sides))
        told = batch.c if self.config.conditional else None
        with torch.no_grad():
            made = self._made(batch.u, coarse, level, told).to(batch.x.dtype)
        scores = self._scores(real, made, coarse, level, told, batch.seeds[:, [3 * level, 3 * level + 1]])
        return {"real": (0.5, logistic_real(scores[0])), "fake": (0.5, logistic_fake(scores[1]))}

    def generator_terms(self, batch: Batch, progress: Tensor, level: int) -> Terms:
        """-log D(G(u, l), l), the non-saturating form, on new noise, by the discriminator that has just been trained."""
        real, coarse = networks.level_of(batch.x, level, len(self.sides))
        told = batch.c if self.config.conditional else None
        made = self._made(batch.u_generator, coarse, level, told)
        scores = self._scores(real, made, coarse, level, told, batch.seeds[:, [3 * level, 3 * level + 2]])
        return {"adversarial": (1.0, logistic_real(scores[1]))}

    def _made(self, u: Tensor, coarse: Tensor | None, level: int, told: Tensor | None) -> Tensor:
        """Return the residuals of a level, or the coarsest pictures, of the noise of all levels [N, Z]."""
        made: Tensor = getattr(self, f"generator_{level}")(u.split(self.noise, 1)[level], coarse, told)
        return made

    def _scores(
        self, real: Tensor, made: Tensor, coarse: Tensor | None, level: int, told: Tensor | None, seeds: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the logits [N] of real and made ones, seen in one batch, where batch norms meet both."""
        coarse, told = (None if t is None else torch.cat([t, t]) for t in (coarse, told))
        judge, both = getattr(self, f"discriminator_{level}"), torch.cat([real, made.to(real.dtype)])
        first, second = judge(both, coarse, seeds.T.flatten(), told).chunk(2)
        return first, second

    def generate(self, z: Tensor, told: Tensor) -> Tensor:
        """Return pictures made coarse to fine, I_l = u(I_l+1) + G_l(z_l, u(I_l+1)): Eq. (4); each level is told the labels."""
        u, last, c = torch.erf(z / math.sqrt(2)), len(self.sides) - 1, told if self.config.conditional else None
        x = self._made(u, None, last, c)
        for level in reversed(range(last)):
            coarse = networks.doubled(x)
            x = coarse + self._made(u, coarse, level, c)
        return x

    def realness(self, x: Tensor) -> Tensor:
        """Return the sum of the levels' logits [N], without dropout.

        That is the log odds that the whole pyramid is real, if what the levels see of a picture is independent.
        """
        found = []
        for level in range(len(self.sides)):
            real, coarse = networks.level_of(x, level, len(self.sides))
            found.append(getattr(self, f"discriminator_{level}")(real, coarse))
        return torch.stack(found).sum(0)

    def label_slots(self) -> list[Slot]:
        """Planes have a column for each entry of the code, and so have full layers, behind what else they read."""
        if not self.config.conditional:
            return []
        slots = list[Slot]()
        for name, parameter in self.named_parameters():
            first = name.split(".", 1)[1] == "plane.main.0.weight"
            if first or name in self._told_layers():
                start = parameter.shape[1] - self.space.code_size
                slots += self.slots_along(name, 1, start, masked=True)
        return slots

    def _told_layers(self) -> set[str]:
        """Return the weights of full layers that read codes beside something else."""
        last = len(self.sides) - 1
        if self.config.networks == "strided":
            return {f"generator_{level}.first.weight" for level in range(last + 1)}
        return {f"generator_{last}.main.0.weight", f"discriminator_{last}.first.weight"}
