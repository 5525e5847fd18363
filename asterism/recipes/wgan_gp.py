"""Wasserstein GAN with gradient penalty (WGAN-GP, arXiv:1704.00028).

As in WGAN a critic's mean score of real pictures less that of fakes stands for the distance between them; that it is Lipschitz
is not forced by clipping its weights but asked for by a penalty: its gradient is to have the norm 1 on the lines between real
pictures and fakes.

Shapes: x [N, C, S, S] in [-1, 1]; z [N, Z] standard normal; scores [N], high for real pictures.

What differs from the published code, beyond the engine's doing: the running statistics of the generator's batch norms move only
when it trains, and a trained model generates with them; one of our training steps is one of the critic's, and the generator's
follows the critic's, as in the PyTorch descendant and in Algorithm 1 (the official code begins with the generator's).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from asterism.config import option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.networks.wgan_gp import PlainCritic, PlainGenerator, ResidualCritic, ResidualGenerator, check_size
from asterism.objectives.adversarial import critic_fake, critic_real, generator_fake
from asterism.objectives.penalties import gradient_penalty, input_gradient
from asterism.recipes.base import Abilities, Adam, Recipe, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """WGAN-GP's choices; the defaults are those of the official code at 64 px."""

    networks: Literal["residual", "plain"] = option("residual", "Residual blocks, or convolutions alone.")
    latent_dim: int = option(128, "Numbers in a latent z.", low=1)
    conv_dim: int = option(64, "Channels of the generator's map before the last convolution.", low=1)
    critic_conv_dim: int = option(64, "Channels after the critic's first convolution.", low=1)
    critic_steps: int = option(5, "Steps of the critic for one of the generator.", low=1)
    penalty_weight: float = option(10.0, "Weight of the gradient penalty.", low=0)
    generator_lr: float = option(1e-4, "Learning rate of the generator.", low=0)
    critic_lr: float = option(1e-4, "Learning rate of the critic.", low=0)
    beta1: float = option(0.0, "Adam's decay of the first moment.", low=0)


class WGANGP(Recipe):
    """WGAN-GP: new pictures, from noise, by a critic with a gradient penalty."""

    config_type = Config
    averaged = ("generator",)
    protocol = "generation"
    advised_batch = 16
    labelled = False
    coupled = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "lsun": {  # 200,000 steps of the generator.
            "data": {"size": 64, "flip": False},
            "train": {"steps": 1_000_000, "decay_steps": 0, "batch_size": 64, "ema_kimg": 0},
        },
        "published": {  # The PyTorch descendant's, for CIFAR-10.
            "recipe": {"networks": "plain", "conv_dim": 128, "critic_conv_dim": 128, "beta1": 0.5},
            "data": {"size": 32, "flip": False},
            "train": {"steps": 1_000_000, "decay_steps": 0, "batch_size": 64, "ema_kimg": 0},
        },
        "small": {  # A laptop's CPU.
            "recipe": {
                "networks": "plain",
                "conv_dim": 32,
                "critic_conv_dim": 32,
                "critic_steps": 3,
                "generator_lr": 4e-4,
                "critic_lr": 4e-4,
            },
            "data": {"size": 64},
            "train": {
                "steps": 6000,
                "decay_steps": 3000,
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
        channels, size = picture.channels, picture.height
        plain = config.networks == "plain"
        self.generator: nn.Module = (PlainGenerator if plain else ResidualGenerator)(
            channels, size, config.latent_dim, config.conv_dim
        )
        self.critic: nn.Module = (PlainCritic if plain else ResidualCritic)(channels, size, config.critic_conv_dim)
        self.abilities = Abilities(generates=True, latent=config.latent_dim, scores=("critic",))
        self.updates = (
            Update("critic", trains=("critic",), eager=True),
            Update("generator", trains=("generator",), every=config.critic_steps),
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta2 = 0.9."""
        betas = (self.config.beta1, 0.9)
        return {"generator": Adam(self.config.generator_lr, betas), "critic": Adam(self.config.critic_lr, betas)}

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the latents of the critic's step and, new ones, of the generator's; and the points between real and fake."""
        shape = (len(batch), self.config.latent_dim)
        return {
            "z": torch.randn(shape, generator=rng),
            "z_generator": torch.randn(shape, generator=rng),
            "mix": torch.rand(len(batch), 1, 1, 1, generator=rng),
        }

    def critic_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """D(G(z)) - D(x) + lambda (||grad D(x^)||_2 - 1)^2: Algorithm 1, line 7."""
        with torch.no_grad():
            x_fake = self.generator(batch.z).to(batch.x.dtype)
        between = batch.mix * batch.x + (1 - batch.mix) * x_fake
        return {
            "real": (1.0, critic_real(self.critic(batch.x))),
            "fake": (1.0, critic_fake(self.critic(x_fake))),
            "penalty": (self.config.penalty_weight, gradient_penalty(input_gradient(self.critic, between))),
        }

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """-D(G(z)) on new latents: Algorithm 1, line 11."""
        return {"adversarial": (1.0, generator_fake(self.critic(self.generator(batch.z_generator))))}

    def generate(self, z: Tensor, told: Tensor) -> Tensor:
        """Return G(z); nothing is told."""
        return self.generator(z)

    def realness(self, x: Tensor) -> Tensor:
        """Return the critic's scores [N]."""
        return self.critic(x)
