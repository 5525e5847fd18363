"""Progressive Growing of GANs for Improved Quality, Stability, and Variation (ProGAN, arXiv:1710.10196).

Generator and discriminator begin with pictures of 4 x 4 pixels and grow by a block for each doubling of the side. The new block
of each level is faded in: what the level before made or saw has a share that falls from 1 to 0, in the generator's pictures, in
the discriminator's features, and in the real pictures. A critic with a gradient penalty, WGAN-GP's, trains the generator.

Shapes: x [N, C, S, S] in [-1, 1], of the present level's side in training; z [N, Z] standard normal; c [N, n] code; scores [N],
high for real pictures.

**Phases.** A level has a phase in which it is faded in, and one in which it is trained as it is; each level begins with new
moments of Adam and with an average that starts from the present generator. A model of an earlier level, or of a fade,
generates pictures of the final side too: what it makes is enlarged by repeating pixels, as real pictures are in a fade.

**Samples meet** in the discriminator, which sees by how much four of them that follow one another differ. So a batch cannot be
computed in parts; several processes compute what one does where each has whole groups of four, and else group what they have.
The penalty is on the gradient of the sum of all scores, as published, so a sample's own counts what others' scores owe to it.

**Labels.** With `conditional`, the code is joined to the latent, and the discriminator classifies too: real pictures in its own
update, fakes by what they were told in the generator's (AC-GAN, arXiv:1610.09585).

What differs from the published PyTorch code, the GAN zoo, beyond the engine's doing: terms are means over the batch where sums
are taken there, which Adam does not see but for its epsilon; a fade moves in every step, there in every 32nd; smaller real
pictures are means of pixels; the discriminator is faded at 8 pixels too, and in `published` alone not, as there. What differs
from the authors' own code: biases are multiplied by He's constant as weights are, and that constant stands in all layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from asterism.config import ConfigError, option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.networks.progan import Discriminator, Generator, check_size, faded, levels_of
from asterism.objectives.adversarial import critic_fake, critic_real, generator_fake
from asterism.objectives.classification import classification
from asterism.objectives.penalties import gradient_penalty, input_gradient
from asterism.recipes.base import Abilities, Adam, Phase, Recipe, Slot, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """ProGAN's choices; the defaults are the published PyTorch code's, but for the fade at 8 pixels."""

    latent_dim: int = option(512, "Numbers in a latent z.", low=1)
    widths: tuple[int, ...] = option(
        (512, 512, 512, 512, 256, 128, 64, 32, 16), "Channels of both networks at 4, 8, 16, ... pixels.", low=1
    )
    level_steps: tuple[int, ...] = option(
        (48_000, 96_000),
        "Steps at 4, 8, 16, ... pixels, fades included; the last holds for further sides. The final side goes on to the end.",
        unit="steps",
        low=1,
    )
    fade: float = option(0.2, "Share of a level's steps in which it is faded in.", low=0, high=1)
    batch_sizes: tuple[int, ...] = option(
        (), "Pictures per step and dataset at 4, 8, 16, ... pixels; further sides have train.batch_size.", low=1
    )
    fade_first: bool = option(
        True, "Fade the discriminator at 8 pixels too, as at any other side; the published code does not."
    )
    conditional: bool = option(False, "Tell the generator labels, and let the discriminator classify.")
    penalty_weight: float = option(10.0, "Weight of the gradient penalty.", low=0)
    drift_weight: float = option(0.001, "Weight of the squared scores of real pictures.", low=0)
    class_weight: float = option(1.0, "Weight of the classification, where the recipe is conditional.", low=0)
    generator_lr: float = option(1e-3, "Learning rate of the generator.", low=0)
    discriminator_lr: float = option(1e-3, "Learning rate of the discriminator.", low=0)


@dataclass(frozen=True)
class _Stage:
    """A phase's level, the step in which it begins, and how many steps its fade takes, 0 for none."""

    level: int
    begin: int
    fade: int


class ProGAN(Recipe):
    """ProGAN: new pictures, from noise, with labels or without, by networks that grow."""

    config_type = Config
    averaged = ("generator",)
    protocol = "generation"
    advised_batch = 4
    labelled = False
    coupled = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {  # The GAN zoo's for CelebA-HQ; the average keeps 0.999 in each step of 16 pictures.
            "recipe": {"batch_sizes": (16, 16, 16, 16, 16, 16, 16, 12), "fade_first": False},
            "data": {"size": 1024, "flip": False},
            "train": {"steps": 920_000, "decay_steps": 0, "batch_size": 8, "ema_kimg": 11.08, "ema_ramp": 0},
        },
        "small": {  # A laptop's CPU.
            "recipe": {
                "latent_dim": 128,
                "widths": (64, 64, 64, 48, 24),
                "level_steps": (500, 1000, 1000, 1500),
                "fade": 0.4,
                "generator_lr": 1.5e-3,
                "discriminator_lr": 1.5e-3,
            },
            "data": {"size": 64},
            "train": {
                "steps": 7000,
                "decay_steps": 1500,
                "batch_size": 16,
                "ema_kimg": 5,
                "checkpoint_every": 1000,
                "preview_every": 500,
                "evaluate_every": 1000,
            },
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        check_size((picture.height, picture.width))
        levels = levels_of(picture.height)
        if len(config.widths) < levels:
            raise ConfigError(
                f"recipe.widths {','.join(map(str, config.widths))}: pictures of {picture.height} pixels grow over {levels} "
                f"levels, from 4 pixels on; give {levels} widths or more"
            )
        if config.conditional and not space.num_labels:
            raise ConfigError("recipe.conditional: these data have no labels that the generator could be told; leave it out")
        labels, code = (space.num_labels, space.code_size) if config.conditional else (0, 0)
        widths = config.widths[:levels]
        self.generator = Generator(picture.channels, config.latent_dim + code, widths)
        self.discriminator = Discriminator(picture.channels, labels, widths)
        told: Literal["code", "none"] = "code" if config.conditional else "none"
        self.abilities = Abilities(generates=True, told=told, latent=config.latent_dim, scores=("discriminator",))
        self.updates = (
            Update("discriminator", trains=("discriminator",), eager=True),
            Update("generator", trains=("generator",)),
        )
        self.stages: dict[str, _Stage] = {}
        self.phases = self._phases(levels)
        self.enter(self.phases[-1].name)

    def _phases(self, levels: int) -> tuple[Phase, ...]:
        """Note what each phase is of, and return them: a fade, but at 4 pixels, and the rest of the level."""
        config, phases, begin = self.config, list[Phase](), 0
        for level in range(levels):
            steps = config.level_steps[min(level, len(config.level_steps) - 1)]
            fade = round(config.fade * steps) if level else 0
            end = None if level == levels - 1 else begin + steps
            batch = config.batch_sizes[level] if level < len(config.batch_sizes) else None
            resets = ("generator", "discriminator") if level else ()
            name = f"{4 << level} px"
            if fade:
                phases.append(Phase(f"{name}, fading", begin + fade, resets, batch))
                self.stages[phases[-1].name] = _Stage(level, begin, fade)
            if end is None or begin + fade < end:
                phases.append(Phase(name, end, () if fade else resets, batch))
                self.stages[name] = _Stage(level, begin + fade, 0)
            begin += steps
        return tuple(phases)

    def begin(self, new: bool) -> tuple[str, ...]:
        """Say when which side begins, since a run that is too short never reaches the last."""
        starts = {4 << stage.level: stage.begin for stage in reversed(self.stages.values())}
        told = ", ".join(f"{side} px from step {start:,}" for side, start in sorted(starts.items()))
        return (f"pictures grow: {told}",) if new else ()

    def optimizers(self) -> dict[str, Adam]:
        """Adam without momentum, beta2 = 0.99."""
        rates = {"generator": self.config.generator_lr, "discriminator": self.config.discriminator_lr}
        return {name: Adam(rate, betas=(0.0, 0.99)) for name, rate in rates.items()}

    @property
    def level(self) -> int:
        """The level of the present phase; its pictures have 4 * 2**level pixels a side."""
        return self.stages[self.phase].level

    def old(self, steps: Tensor) -> Tensor | None:
        """Return the share that the level before has after so many steps; none outside of fades."""
        stage = self.stages[self.phase]
        return (1 - (steps - stage.begin) / stage.fade).clamp(0, 1) if stage.fade else None

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the latents of the discriminator's step and, new ones, of the generator's; the points between real and fake.

        The first fakes are told the labels of the batch's pictures, the generator's own the same labels in another order.
        """
        shape = (len(batch), self.config.latent_dim)
        z, z_generator = torch.randn(shape, generator=rng), torch.randn(shape, generator=rng)
        draws = {"z": z, "z_generator": z_generator, "mix": torch.rand(len(batch), 1, 1, 1, generator=rng)}
        if not self.config.conditional:
            return draws
        order = torch.randperm(len(batch), generator=rng)
        labels, known = batch.labels[order], batch.known[order]
        own, told = self.space.encode(batch.labels, batch.known, batch.dataset), self.space.encode(labels, known, batch.dataset)
        draws |= {"z": torch.cat([z, own], 1), "z_generator": torch.cat([z_generator, told], 1)}
        return draws | {"labels_trg": labels, "known_trg": known}

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """Return the pictures at the present level's side: means of pixels."""
        return {"x": self.at_level(batch.x)}

    def at_level(self, x: Tensor) -> Tensor:
        """Return pictures of the final side at the present level's."""
        factor = self.picture.height // (4 << self.level)
        return F.avg_pool2d(x, factor) if factor > 1 else x

    def judge(self, x: Tensor, old: Tensor | None, *, alone: bool = False) -> tuple[Tensor, Tensor]:
        """Return scores [N] and class logits [N, L] of pictures of the present level's side, each seen `alone` or together."""
        return self.discriminator(x, self.level, old if self.level > 1 or self.config.fade_first else None, alone=alone)

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """D(G(z)) - D(x) + lambda (||grad D(x^)||_2 - 1)^2 + epsilon D(x)^2: Appendix A.1, and Eq. (3) of arXiv:1704.00028."""
        config, old = self.config, self.old(progress)
        x = batch.x if old is None else faded(batch.x, F.avg_pool2d(batch.x, 2), old)
        with torch.no_grad():
            x_fake = self.generator(batch.z, self.level, old).to(x.dtype)
        between = batch.mix * x + (1 - batch.mix) * x_fake
        (real, classes), (fake, _) = self.judge(x, old), self.judge(x_fake, old)
        gradient = input_gradient(lambda x: self.judge(x, old)[0], between)
        terms: Terms = {
            "real": (1.0, critic_real(real)),
            "fake": (1.0, critic_fake(fake)),
            "penalty": (config.penalty_weight, gradient_penalty(gradient)),
            "drift": (config.drift_weight, critic_real(real).square()),
        }
        if config.conditional:
            terms["class"] = (config.class_weight, classification(classes, batch.labels, batch.known, self.space))
        return terms

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """-D(G(z)) on new latents; with labels, be taken for what was told."""
        old = self.old(progress)
        self.generator.steps.copy_(progress)
        fake, classes = self.judge(self.generator(batch.z_generator, self.level, old), old)
        terms: Terms = {"adversarial": (1.0, generator_fake(fake))}
        if self.config.conditional:
            value = classification(classes, batch.labels_trg, batch.known_trg, self.space)
            terms["class"] = (self.config.class_weight, value)
        return terms

    def generate(self, z: Tensor, told: Tensor) -> Tensor:
        """Return G(z), or G(z, c), of the level that training had come to, enlarged to the final side."""
        inputs = torch.cat([z, told], 1) if self.config.conditional else z
        x = self.generator(inputs, self.level, self.old(self.generator.steps))
        factor = self.picture.height // (4 << self.level)
        return F.interpolate(x, scale_factor=float(factor), mode="nearest") if factor > 1 else x

    def realness(self, x: Tensor) -> Tensor:
        """Return the discriminator's scores [N] of pictures at the side that training had come to.

        Each picture is alone: samples of one kind, seen together, would give each other away by how much they differ.
        """
        x, old = self.at_level(x), self.old(self.generator.steps)
        if old is not None:
            x = faded(x, F.avg_pool2d(x, 2), old)
        return self.judge(x, old, alone=True)[0]

    def label_slots(self) -> list[Slot]:
        """G's first layer reads the code behind the latent; D's last one writes logits behind the score."""
        if not self.config.conditional:
            return []
        read = self.slots_along("generator.format.weight", 1, self.config.latent_dim, masked=True)
        written = (self.slots_along(f"discriminator.decision.{kind}", 0, 1) for kind in ("weight", "bias"))
        return [*read, *(slot for slots in written for slot in slots)]
