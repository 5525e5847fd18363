"""Wasserstein GAN (WGAN, arXiv:1701.07875): a critic whose weights are clipped, and bursts of its steps.

The critic's mean score of real pictures less that of fakes estimates, up to a factor, the earth mover's distance, if the critic
is Lipschitz; clipping its weights makes it so. It is trained several times for each step of the generator, and for long at the
beginning and now and then, so that the estimate holds.

Shapes: x [N, C, S, S] in [-1, 1]; z [N, Z] standard normal; scores [N], high for real pictures.

What differs from the published code, beyond the engine's doing: there real pictures get the low scores, so weights of its
critic's last layer change their sign here; running statistics of batch norms move only when their network trains; the trained
model generates with running statistics. As there, weights are clipped before each of the critic's steps and not after the last,
so they may exceed the bound by one step. One of our training steps is one of the critic's.
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
from asterism.networks.dcgan import Discriminator, Generator, check_size
from asterism.objectives.adversarial import critic_fake, critic_real, generator_fake
from asterism.recipes.base import Abilities, Phase, Recipe, RMSprop, Terms, Update

BURST = 100
"""Steps of the critic for one of the generator in a burst."""

WARM = 25
"""Bursts at the beginning."""

BETWEEN = 500
"""Every so many steps of the generator there is a burst."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """WGAN's choices; the defaults are the published code's."""

    latent_dim: int = option(100, "Numbers in a latent z.", low=1)
    conv_dim: int = option(64, "Channels before the generator's last convolution.", low=1)
    critic_conv_dim: int = option(64, "Channels after the critic's first convolution.", low=1)
    extra_layers: int = option(0, "Further convolutions of both networks.", low=0)
    generator_norm: bool = option(True, "Batch norms in the generator.")
    clamp: float = option(0.01, "Largest size of the critic's weights.", low=0)
    critic_steps: int = option(5, "Steps of the critic for one of the generator.", low=1)
    bursts: bool = option(True, "Train the critic for long at the beginning and every 500 steps of the generator.")
    generator_lr: float = option(5e-5, "Learning rate of the generator.", low=0)
    critic_lr: float = option(5e-5, "Learning rate of the critic.", low=0)


class WGAN(Recipe):
    """WGAN: new pictures, from noise, by a critic with clipped weights."""

    config_type = Config
    averaged = ("generator",)
    protocol = "generation"
    advised_batch = 16
    labelled = False
    coupled = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {
            "data": {"size": 64, "flip": False},
            "train": {"epochs": 25, "decay_steps": 0, "batch_size": 64, "ema_kimg": 0},
        },
        "small": {  # A laptop's CPU.
            "recipe": {"conv_dim": 32, "critic_conv_dim": 32, "bursts": False, "generator_lr": 2e-4, "critic_lr": 2e-4},
            "data": {"size": 64},
            "train": {
                "steps": 8000,
                "decay_steps": 0,
                "batch_size": 32,
                "ema_kimg": 5,
                "checkpoint_every": 1000,
                "preview_every": 1000,
                "evaluate_every": 1000,
            },
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        check_size((picture.height, picture.width))
        size, extra = picture.height, config.extra_layers
        self.generator = Generator(
            picture.channels, size, config.latent_dim, config.conv_dim, extra, norm=config.generator_norm
        )
        self.critic = Discriminator(picture.channels, size, config.critic_conv_dim, extra)
        self.abilities = Abilities(generates=True, latent=config.latent_dim, scores=("critic",))
        critic = Update("critic", trains=("critic",), clamp=config.clamp)
        self.updates = (critic, Update("generator", trains=("generator",), every=config.critic_steps))
        if config.bursts:
            begin = WARM * BURST
            self.phases = (Phase("bursts", until=begin), Phase("burst now and then"))
            self.enter(self.phases[-1].name)
            period, turns = turns_between_bursts(config.critic_steps)
            warm = Update("generator", trains=("generator",), every=BURST, during=("bursts",))
            then = Update("generator", trains=("generator",), every=period, turns=turns, during=("burst now and then",))
            self.updates = (critic, warm, then)

    def optimizers(self) -> dict[str, RMSprop]:
        """RMSprop, without momentum: Adam's made training unstable (Section 4)."""
        return {"generator": RMSprop(self.config.generator_lr), "critic": RMSprop(self.config.critic_lr)}

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the latents of the critic's step and, new ones, of the generator's."""
        shape = (len(batch), self.config.latent_dim)
        return {"z": torch.randn(shape, generator=rng), "z_generator": torch.randn(shape, generator=rng)}

    def critic_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """-mean D(x) + mean D(G(z)): Algorithm 1, lines 5 and 6; each batch has batch statistics of its own."""
        with torch.no_grad():
            x_fake = self.generator(batch.z).to(batch.x.dtype)
        return {"real": (1.0, critic_real(self.critic(batch.x))), "fake": (1.0, critic_fake(self.critic(x_fake)))}

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """-mean D(G(z)) on new latents: Algorithm 1, line 10."""
        return {"adversarial": (1.0, generator_fake(self.critic(self.generator(batch.z_generator))))}

    def generate(self, z: Tensor, told: Tensor) -> Tensor:
        """Return G(z); nothing is told."""
        return self.generator(z)

    def realness(self, x: Tensor) -> Tensor:
        """Return the critic's scores [N]."""
        return self.critic(x)


def turns_between_bursts(critic_steps: int) -> tuple[int, tuple[int, ...]]:
    """Return after how many training steps the order repeats, and the turns at which the generator trains.

    The generator's steps are counted from 0 in the warm bursts; number 500, 1000, ... come after a burst. Turns are of training
    steps counted from 0, as `Update.turns` are.
    """
    period = BURST + (BETWEEN - 1) * critic_steps
    burst = WARM * BURST + (BETWEEN - WARM) * critic_steps  # The training step at which the first of them begins.
    return period, tuple(sorted((burst + BURST - 1 + k * critic_steps) % period for k in range(BETWEEN)))
