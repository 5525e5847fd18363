"""GANimation: Anatomically-aware Facial Animation from a Single Image (arXiv:1807.09251).

One generator, told every label as a number (the intensities of a face's action units; of other labels 1 or 0), paints only
where its attention says so: y = A x + (1 - A) C, with colours C. The discriminator, StarGAN's, scores patches and reads the
numbers from the picture.

Shapes: x [N, C, H, W] in [-1, 1]; wanted, known [N, L]; c [N, n] code, of which the first L are the numbers; A [N, 1, H, W].

As in the published code, which departs from the paper: A = 1 keeps a pixel; the penalty has an Adam step of its own, after that
of the discriminator's other terms; differences of neighbours in A count by their size, summed over all pixels, instead of
squared. The code weights the numbers' error by 4000 divided by the batch, and these differences by 1e-5 times the batch; the
weights here are theirs at the published batch of 25, 160 and 2.5e-4, whatever the batch.

What differs from the published code: a target is the label of the next picture of the batch, which is in random order, instead
of an independent draw; G steps on every fifth step and not also whenever pictures are shown; the rate falls from step to step
instead of from epoch to epoch; unknown labels have no loss.
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
from asterism.networks.cyclegan import initialize
from asterism.networks.ganimation import Generator
from asterism.networks.stargan import Discriminator, check_size
from asterism.objectives.adversarial import critic_fake, critic_real, generator_fake
from asterism.objectives.distances import l1
from asterism.objectives.penalties import gradient_penalty
from asterism.recipes.base import Abilities, Adam, Recipe, Slot, Terms, Update

SATURATED = 0.99
"""Share of the pixels at one end of the attention from which on it says nothing any more."""

END = 0.05
"""How far from 0 or 1 a value of the attention counts as that end."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """GANimation's choices; the defaults are the published code's."""

    conv_dim: int = option(64, "Channels after the generator's first convolution.", low=1)
    num_blocks: int = option(6, "Residual blocks of the generator.", low=0)
    discriminator_conv_dim: int = option(64, "Channels after the discriminator's first convolution.", low=1)
    discriminator_layers: int = option(6, "Halving convolutions of the discriminator.", low=1)
    noise: float = option(0.1, "Largest noise on each number of a target, as a share of its range.", low=0)
    number_weight: float = option(160.0, "Weight of the numbers' error, lambda_y over the published batch.", low=0)
    reconstruction_weight: float = option(10.0, "Weight of the reconstruction term, lambda_idt.", low=0)
    attention_weight: float = option(0.1, "Weight of the attention's size, lambda_A, of both passes.", low=0)
    smooth_weight: float = option(2.5e-4, "Weight of the attention's total variation, lambda_TV, of both passes.", low=0)
    penalty_weight: float = option(10.0, "Weight of the gradient penalty, lambda_gp.", low=0)
    critic_steps: int = option(5, "Discriminator updates per generator update.", unit="steps", low=1)
    generator_lr: float = option(1e-4, "Learning rate of the generator.", low=0)
    discriminator_lr: float = option(1e-4, "Learning rate of the discriminator.", low=0)


class GANimation(Recipe):
    """GANimation: expressions of faces, told by numbers such as action units."""

    config_type = Config
    averaged = ("generator",)
    advised_batch = 4
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {"train": {"batch_size": 25, "epochs": 30, "decay_epochs": 10, "ema_kimg": 0}},
        "small": {  # Widths and rates of StarGAN's small preset.
            "recipe": {
                "conv_dim": 32,
                "num_blocks": 3,
                "discriminator_conv_dim": 32,
                "discriminator_layers": 5,
                "critic_steps": 1,
                "reconstruction_weight": 50,
                "generator_lr": 5e-4,
                "discriminator_lr": 1e-3,
            },
            "data": {"size": 64},
            "train": {"steps": 3000, "decay_steps": 1500, "ema_kimg": 2, "checkpoint_every": 500, "preview_every": 500},
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        size = (picture.height, picture.width)
        check_size(size, config.discriminator_layers)
        self.generator = Generator(picture.channels, space.code_size, config.conv_dim, config.num_blocks)
        self.discriminator = Discriminator(
            picture.channels, space.num_labels, size, config.discriminator_conv_dim, config.discriminator_layers
        )
        initialize(self.discriminator)
        # The generator halves twice and is convolutional throughout: it takes any multiple of 4.
        self.abilities = Abilities(
            translates=True, told="code", keeps=True, side_multiple=4, attends=True, judges=True, scores=("discriminator",)
        )
        self.updates = (
            Update("discriminator", trains=("discriminator",)),
            Update("penalty", trains=("discriminator",)),
            Update("generator", trains=("generator",), every=config.critic_steps, shares=True),
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5 for both networks."""
        return {"generator": Adam(self.config.generator_lr), "discriminator": Adam(self.config.discriminator_lr)}

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Take other pictures' numbers, with noise, for targets; draw the interpolation factors of the penalty."""
        known = batch.known.roll(1, 0)
        c_trg = self.space.encode(batch.labels.roll(1, 0), known, batch.dataset)
        c_trg[:, : known.shape[1]] += self.config.noise * (2 * torch.rand(known.shape, generator=rng) - 1) * known
        return {
            "c_src": self.space.encode(batch.labels, batch.known, batch.dataset),
            "c_trg": c_trg,
            "known_trg": known,
            "alpha": torch.rand(len(batch), 1, 1, 1, generator=rng),
        }

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """The translations, which all updates begin with, and their attention."""
        if "x_fake" in batch:
            return {"x_fake": batch.x_fake, "attention": batch.attention}
        return dict(zip(("x_fake", "attention"), self.generator(batch.x, batch.c_trg), strict=True))

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Tell real from fake, and read the numbers of real pictures."""
        with torch.no_grad():
            x_fake = self.share(batch)["x_fake"].detach().to(batch.x.dtype)
        patches, read = self.discriminator(torch.cat([batch.x, x_fake]))
        (real, fake), count = patches.chunk(2), len(batch)
        return {
            "real": (1.0, critic_real(real)),
            "fake": (1.0, critic_fake(fake)),
            "numbers": (self.config.number_weight, numbers(read[:count], batch.c_src, batch.known)),
        }

    def penalty_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """WGAN-GP's penalty on the sum of a picture's patch scores.

        Biases have a gradient of zero, and not none, as where PyTorch differentiates twice: Adam's momentum moves them.
        """
        with torch.no_grad():
            x_fake = self.share(batch)["x_fake"].detach().to(batch.x.dtype)
        gradient = self.discriminator.score_gradient(torch.lerp(x_fake, batch.x, batch.alpha))
        biases = torch.stack([bias.sum() for name, bias in self.discriminator.named_parameters() if name.endswith("bias")])
        return {"penalty": (self.config.penalty_weight, gradient_penalty(gradient) + 0 * biases.sum())}

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Be taken for real with the target's numbers, lead back, and attend to little and smoothly in both passes."""
        config, shared = self.config, self.share(batch)
        x_fake, there = shared["x_fake"], shared["attention"]
        patches, read = self.discriminator(x_fake.to(batch.x.dtype))
        x_rec, back = self.generator(x_fake.to(batch.x.dtype), batch.c_src)
        return {
            "fake": (1.0, generator_fake(patches)),
            "numbers": (config.number_weight, numbers(read, batch.c_trg, batch.known_trg)),
            "reconstruction": (config.reconstruction_weight, l1(x_rec, batch.x)),
            "attention": (config.attention_weight, there.flatten(1).mean(1)),
            "attention_back": (config.attention_weight, back.flatten(1).mean(1)),
            "smooth": (config.smooth_weight, total_variation(there)),
            "smooth_back": (config.smooth_weight, total_variation(back)),
            # Watched only, see `remark`: shares of the pixels.
            "kept": (0.0, (there.detach() > 1 - END).flatten(1).to(there.dtype).mean(1)),
            "painted": (0.0, (there.detach() < END).flatten(1).to(there.dtype).mean(1)),
        }

    def remark(self, terms: Mapping[str, float]) -> str:
        """Say that the attention is at one end nearly everywhere, the known failure of this system."""
        if terms.get("generator/kept", 0) > SATURATED:
            return (
                "the attention keeps nearly every pixel, so that translations change nothing: "
                "lower recipe.reconstruction_weight or raise recipe.number_weight"
            )
        if terms.get("generator/painted", 0) > SATURATED:
            return (
                "the attention paints nearly every pixel anew, so that it no longer protects the picture: "
                "lower recipe.attention_weight, 0 switches it off"
            )
        return ""

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return A x + (1 - A) C."""
        return self.generator(x, told)[0]

    def attend(self, x: Tensor, told: Tensor) -> Tensor:
        """Return 1 - A."""
        return 1 - self.generator(x, told)[1]

    def classify(self, x: Tensor) -> Tensor:
        """Return the numbers that the discriminator reads, [N, L]; labels that hold or not are 1 or 0, which 0.5 parts."""
        middle = torch.full((self.space.num_labels,), 0.5, device=x.device)
        middle[list(self.space.numbers)] = 0
        return self.discriminator(x)[1] - middle

    def realness(self, x: Tensor) -> Tensor:
        """Return the discriminator's scores [N], mean over patches."""
        return self.discriminator(x)[0].mean(1)

    def label_slots(self) -> list[Slot]:
        """The generator's first convolution reads the code; the discriminator's second head reads the numbers."""
        code = self.slots_along("generator.main.0.weight", 1, self.picture.channels, masked=True)
        return code + self.slots_along("discriminator.conv2.weight", 0)


def numbers(read: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of the known numbers of a sample: mean_l (D_l(x) - c_l)^2. Section 4.2.

    Args:
        read, known: [N, L].
        wanted: [N, L or more], of which the first L count; shares of their range.

    Returns:
        [N], at least float32, >= 0; 0 where nothing is known.
    """
    error = at_least_float32(read) - wanted[:, : read.shape[1]]
    return (error.square() * known).sum(1) / known.sum(1).clamp(1)


def total_variation(x: Tensor) -> Tensor:
    """Sum over a sample [N, C, H, W] of the absolute differences of neighbouring pixels, [N]. As published."""
    x = at_least_float32(x)
    return x.diff(dim=2).abs().flatten(1).sum(1) + x.diff(dim=3).abs().flatten(1).sum(1)
