"""DIAT: Deep Identity-aware Transfer of Facial Attributes (arXiv:1610.05586).

One network gives pictures one attribute. The discriminator tells its translations from pictures that have the attribute; the
features of another network keep the person; a denoiser's opinion keeps the picture smooth; a mask says where it changes.

No code was published, and the paper's weights are not known to us: the terms are built as they are described, in their
Wasserstein form of the journal version, with weights of our own. The person is kept by a network of VGG's kind in a file
(the paper's is VGG-Face, which is the user's to get), or, without one, by a classifier of the labels of these data, which the
recipe trains first. Its second stage, which enhances faces, is left out.

Shapes: x_src without and x_real with the attribute, and all that is made of them [N, C, H, W] in [-1, 1]; known [N];
alpha [N, 1, 1, 1] in [0, 1); seeds int64 [N] of noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from asterism.config import ConfigError, option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.networks.diat import VGG, Denoiser, Discriminator, Generator, read_weights
from asterism.networks.noise import noisy
from asterism.networks.resnet import ResNet18
from asterism.networks.stargan import check_size
from asterism.objectives.adversarial import critic_fake, critic_real, generator_fake
from asterism.objectives.classification import classification
from asterism.objectives.distances import squared
from asterism.objectives.penalties import gradient_penalty
from asterism.recipes.base import Abilities, Adam, Phase, Recipe, Slot, Stream, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """DIAT's choices; widths, weights and rates are ours where the paper says none."""

    attribute: str = option("", "The label that pictures are given; empty: the first one.")
    conv_dim: int = option(64, "Channels after the transform network's first convolution.", low=1)
    num_blocks: int = option(5, "Residual blocks of the transform network.", low=0)
    mask: bool = option(True, "Blend the input and the transformed picture by a mask, as the journal version does.")
    mask_share: float = option(0.3, "Share of the picture that the mask may take for nothing.", low=0, high=1)
    discriminator_conv_dim: int = option(64, "Channels after the discriminator's first convolution.", low=1)
    discriminator_layers: int = option(6, "Halving convolutions of the discriminator.", low=1)
    feature_network: str = option("", "File of a VGG-like network whose features keep the person; none trains a classifier.")
    classifier_width: int = option(32, "Channels of that classifier's first stage.", low=1)
    prepare_steps: int = option(10_000, "Steps in which classifier and denoiser are trained.", unit="steps", low=1)
    noise: float = option(0.1, "Standard deviation of the noise that the denoiser learns to take off.", low=0)
    identity_weight: float = option(10.0, "Weight of the features' distance.", low=0)
    smooth_weight: float = option(10.0, "Weight of what the denoiser would take off.", low=0)
    mask_weight: float = option(1.0, "Weight of the mask's size beyond its share.", low=0)
    penalty_weight: float = option(10.0, "Weight of the gradient penalty.", low=0)
    critic_steps: int = option(5, "Discriminator updates per generator update.", unit="steps", low=1)
    lr: float = option(1e-4, "Learning rate of generator and discriminator.", low=0)
    prepare_lr: float = option(1e-3, "Learning rate of classifier and denoiser.", low=0)


class DIAT(Recipe):
    """DIAT: gives pictures one attribute."""

    config_type = Config
    averaged = ("generator",)
    coupled = True  # By the classifier's batch norm.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {"data": {"size": 128}, "train": {"steps": 110_000, "decay_steps": 50_000}},
        "first": {"recipe": {"mask": False}, "data": {"size": 128}, "train": {"steps": 110_000, "decay_steps": 50_000}},
        "small": {  # A laptop's CPU: narrower, and rates that get there in fewer steps.
            "recipe": {
                "conv_dim": 32,
                "num_blocks": 3,
                "discriminator_conv_dim": 32,
                "discriminator_layers": 5,
                "classifier_width": 16,
                "prepare_steps": 500,
                "critic_steps": 1,
                "lr": 5e-4,
            },
            "data": {"size": 64},
            "train": {"steps": 3000, "decay_steps": 1500, "ema_kimg": 2, "checkpoint_every": 500, "preview_every": 500},
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        self.phases = (Phase("prepare", until=config.prepare_steps), Phase("translate"))
        super().__init__(config, space, picture)
        self.index = space.index(config.attribute) if config.attribute else 0
        name = space.names[self.index]
        if self.index in space.numbers:
            raise ConfigError(f"recipe.attribute {name}: DIAT gives pictures a label that they have or have not, and no number")
        if config.feature_network and picture.channels != 3:
            raise ConfigError(f"recipe.feature_network: the network sees RGB pictures; these have {picture.channels} channels")
        size = (picture.height, picture.width)
        check_size(size, config.discriminator_layers)
        self.generator = Generator(picture.channels, config.conv_dim, config.num_blocks, config.mask)
        self.discriminator = Discriminator(picture.channels, size, config.discriminator_conv_dim, config.discriminator_layers)
        self.denoiser = Denoiser(picture.channels)
        prepares: tuple[str, ...] = ("denoiser",)
        if config.feature_network:
            self.vgg = VGG()
        else:
            self.classifier = ResNet18(picture.channels, space.num_labels, config.classifier_width)
            prepares = ("denoiser", "classifier")
        self.streams = (Stream("other", of="other_domain", label=name),)
        # The generator halves twice and is convolutional throughout: it takes any multiple of 4.
        self.abilities = Abilities(translates=True, told="code", targets=(name,), keeps=True, side_multiple=4)
        self.updates = (
            Update("prepare", trains=prepares, during=("prepare",)),
            Update("discriminator", trains=("discriminator",), during=("translate",)),
            Update("generator", trains=("generator",), during=("translate",), every=config.critic_steps),
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5 for the adversaries, with its usual moments for what is trained before."""
        rates = dict.fromkeys(("generator", "discriminator"), Adam(self.config.lr))
        usual = Adam(self.config.prepare_lr, betas=(0.9, 0.999))
        return rates | {name: usual for name in ("denoiser", "classifier") if name in self.networks}

    def begin(self, new: bool) -> tuple[str, ...]:
        """Read the network that keeps the person, if it is in a file."""
        if self.config.feature_network:
            try:
                self.vgg.load(read_weights(self.config.feature_network))
            except (OSError, ValueError) as error:
                raise ConfigError(f"recipe.feature_network {self.config.feature_network}: {error}") from error
        return ()

    def enter(self, phase: str) -> None:
        """Begin a phase; once trained, the classifier is used with its running statistics."""
        super().enter(phase)
        if phase == "translate" and "classifier" in self.networks:
            self.classifier.eval()

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Note which of the two pictures has the attribute; draw the interpolation factors and the seeds of noise."""
        return {
            "has": batch.labels[:, self.index] * batch.known[:, self.index],
            "counts": batch.known[:, self.index],
            "alpha": torch.rand(len(batch), 1, 1, 1, generator=rng),
            "seeds": torch.randint(2**62, (len(batch),), generator=rng),
        }

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return x_src, without the attribute, and x_real, with it: each sample's own picture and the other one."""
        own = (batch.has > 0.5)[:, None, None, None]
        return torch.where(own, batch.x_other, batch.x), torch.where(own, batch.x, batch.x_other)

    def prepare_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """What is trained before the adversaries, each for itself."""
        restored = self.denoiser(noisy(batch.x, batch.seeds, self.config.noise))
        terms: Terms = {"denoise": (1.0, squared(restored, batch.x))}
        if not self.config.feature_network:
            terms["class"] = (1.0, classification(self.classifier(batch.x), batch.labels, batch.known, self.space))
        return terms

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The Wasserstein form: pictures with the attribute against translations."""
        x_src, x_real = self.pair(batch)
        with torch.no_grad():
            x_fake = self.generator(x_src)[0].to(x_src.dtype)
        real, fake = self.discriminator(torch.cat([x_real, x_fake])).chunk(2)
        gradient = self.discriminator.score_gradient(torch.lerp(x_fake, x_real, batch.alpha)) / real.shape[1]
        return {
            "real": (1.0, batch.counts * critic_real(real)),
            "fake": (1.0, batch.counts * critic_fake(fake)),
            "penalty": (self.config.penalty_weight, batch.counts * gradient_penalty(gradient)),
        }

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Have the attribute, keep the person, be smooth, and change no more than a share of the picture."""
        config, counts = self.config, batch.counts
        x_src, _ = self.pair(batch)
        x_fake, mask = self.generator(x_src)
        pairs = zip(self.features(x_fake), self.features(x_src), strict=True)
        terms: Terms = {
            "fake": (1.0, counts * generator_fake(self.discriminator(x_fake))),
            "identity": (config.identity_weight, counts * torch.stack([squared(f, g) for f, g in pairs]).mean(0)),
            "smooth": (config.smooth_weight, counts * squared(self.denoiser(x_fake), x_fake)),
        }
        if mask is not None:
            terms["mask"] = (config.mask_weight, counts * (mask.flatten(1).mean(1) - config.mask_share).clamp(min=0))
        return terms

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the features, each [N, ...], by which the person is kept."""
        return self.vgg(x) if self.config.feature_network else self.classifier.stages(x)

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return x with the attribute where the code has it, else x: no other label is a target."""
        wanted = told[:, self.index, None, None, None] > 0.5
        return torch.where(wanted, self.generator(x)[0], x)

    def label_slots(self) -> list[Slot]:
        """The classifier's head writes the logits."""
        if self.config.feature_network:
            return []
        return [*self.slots_along("classifier.head.weight", 0), *self.slots_along("classifier.head.bias", 0)]
