"""Invertible Conditional GANs for image editing (IcGAN, arXiv:1611.06355).

A conditional GAN makes pictures of latents and labels; then two encoders learn to read a picture back into both. An edit reads
a picture, changes its labels, and makes the picture anew.

Labels are told as 1 where they hold, -1 where they do not, 0 where they are unknown; then the mask bits of several datasets.

Shapes: x [N, C, S, S] in [-1, 1]; z [N, Z] standard normal; y, y_wrong, y_fake [N, n]; labels, known [N, L].

What differs from the published code (Lua), beyond the engine's doing: labels that are not a picture's own, and those of
generated pictures, are those of other pictures of the batch, not of the whole set (where none contradicts a picture's own, the
first label that is known is turned round); the generator's running statistics are those of its training, not of 100 passes
after it; pictures for the latents' encoder are made anew in each step, not once, 182,638 of them; both encoders see the whole
training set, not two thirds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from asterism.config import option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.networks.icgan import Discriminator, Encoder, Generator, check_size
from asterism.objectives.adversarial import logistic_fake, logistic_real
from asterism.objectives.distances import squared
from asterism.recipes.base import Abilities, Adam, Phase, Recipe, Slot, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """IcGAN's choices; the defaults are the published code's."""

    latent_dim: int = option(100, "Numbers in a latent z.", low=1)
    conv_dim: int = option(64, "Channels before the generator's last convolution.", low=1)
    discriminator_conv_dim: int = option(64, "Channels after the discriminator's first convolution.", low=1)
    encoder_conv_dim: int = option(32, "Channels after the encoders' first convolution.", low=1)
    latent_hidden: int = option(4096, "Width of the full layer of the latents' encoder.", low=1)
    label_hidden: int = option(512, "Width of the full layer of the labels' encoder.", low=1)
    gan_steps: int = option(71_300, "Steps of the conditional GAN, before the encoders.", unit="steps", low=1)
    lr: float = option(2e-4, "Learning rate of generator and discriminator.", low=0)
    encoder_lr: float = option(1e-4, "Learning rate of the encoders.", low=0)


# 25 epochs of 182,638 pictures, 64 a step, then 15 epochs of the encoders on two thirds.
_CELEBA: dict[str, dict[str, Any]] = {
    "data": {"size": 64},
    "train": {"steps": 99_600, "decay_steps": 0, "batch_size": 64, "ema_kimg": 0},
}


class IcGAN(Recipe):
    """IcGAN: new pictures of given attributes, and edits of given pictures."""

    config_type = Config
    averaged = ("generator", "latent_encoder", "label_encoder")
    advised_batch = 16
    coupled = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba": _CELEBA
        | {
            "data": _CELEBA["data"]
            | {
                "crop": 138,
                "labels": "Bald,Bangs,Black_Hair,Blond_Hair,Brown_Hair,Bushy_Eyebrows,Eyeglasses,Gray_Hair,Heavy_Makeup,Male,"
                "Mouth_Slightly_Open,Mustache,Pale_Skin,Receding_Hairline,Smiling,Straight_Hair,Wavy_Hair,Wearing_Hat",
            }
        },
        "published": _CELEBA,
        "small": {  # A laptop's CPU: narrower, the discriminator more so, which else wins early.
            "recipe": {
                "conv_dim": 32,
                "discriminator_conv_dim": 16,
                "encoder_conv_dim": 16,
                "latent_hidden": 1024,
                "label_hidden": 256,
                "gan_steps": 3000,
                "lr": 4e-4,
                "encoder_lr": 5e-4,
            },
            "data": {"size": 64},
            "train": {
                "steps": 5000,
                "decay_steps": 0,
                "batch_size": 32,
                "ema_kimg": 5,
                "checkpoint_every": 500,
                "preview_every": 500,
            },
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        # In the second phase the generator rests, and what it has become is what the encoders invert.
        self.phases = (Phase("gan", until=config.gan_steps), Phase("encoders", resets=("generator",)))
        super().__init__(config, space, picture)
        check_size((picture.height, picture.width))
        channels, size, told = picture.channels, picture.height, space.code_size
        self.generator = Generator(channels, size, config.latent_dim, told, config.conv_dim)
        self.discriminator = Discriminator(channels, size, told, config.discriminator_conv_dim)
        self.latent_encoder = Encoder(channels, size, config.latent_dim, config.latent_hidden, config.encoder_conv_dim)
        self.label_encoder = Encoder(channels, size, space.num_labels, config.label_hidden, config.encoder_conv_dim)
        self.abilities = Abilities(translates=True, generates=True, told="code", latent=config.latent_dim, judges=True)
        self.updates = (
            Update("discriminator", trains=("discriminator",), during=("gan",)),
            Update("generator", trains=("generator",), during=("gan",)),
            Update("latent_encoder", trains=("latent_encoder",), during=("encoders",)),
            Update("label_encoder", trains=("label_encoder",), during=("encoders",)),
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5 for the adversaries, 0.1 for the encoders."""
        gan, encoder = Adam(self.config.lr), Adam(self.config.encoder_lr, betas=(0.1, 0.999))
        return {"generator": gan, "discriminator": gan, "latent_encoder": encoder, "label_encoder": encoder}

    def enter(self, phase: str) -> None:
        """Begin a phase; once trained, the generator is used with its running statistics."""
        super().enter(phase)
        if phase == "encoders":
            self.generator.eval()

    def signed(self, labels: Tensor, known: Tensor, dataset: Tensor) -> Tensor:
        """Return what is told of labels [N, L]: 1, -1, 0 where unknown; then the mask bits, [N, n]."""
        c = self.space.encode(labels, known, dataset)
        return torch.cat([2 * c[:, : known.shape[1]] - known, c[:, known.shape[1] :]], 1)

    def signed_code(self, c: Tensor) -> Tensor:
        """Return what is told of a code [N, n] of a target, all of whose dataset's labels are known: the mask says whose."""
        count, datasets = self.space.num_labels, range(self.space.num_datasets)
        owners = [d for d in datasets for _ in range(count)[self.space.dataset_span(d)]]
        known = c[:, count:][:, owners] if len(datasets) > 1 else torch.ones_like(c)
        return torch.cat([2 * c[:, :count] - known, c[:, count:]], 1)

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the latents, and labels of other pictures: such as are not a picture's own, and those of generated pictures."""
        count, labels, known = len(batch), batch.labels, batch.known
        y = self.signed(labels, known, batch.dataset)
        # Labels that are unknown on either side contradict nothing.
        differs = ((labels[:, None] != labels[None]) & (known[:, None] * known[None] > 0)).any(2)  # [N, N]
        other = torch.where(differs, torch.rand(count, count, generator=rng), -1.0).argmax(1)
        turned = y * (1 - 2 * F.one_hot(known.argmax(1), y.shape[1]))
        return {
            "z": torch.randn(count, self.config.latent_dim, generator=rng),
            "y": y,
            "y_wrong": torch.where(differs.any(1, keepdim=True), y[other], turned),
            "y_fake": y[torch.randperm(count, generator=rng)],
        }

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Real pictures with their labels against real ones with others' and generated ones; each a batch of its own."""
        with torch.no_grad():
            x_fake = self.generator(batch.z, batch.y_fake).to(batch.x.dtype)
        return {
            "real": (1.0, logistic_real(self.discriminator(batch.x, batch.y))),
            "wrong": (0.5, logistic_fake(self.discriminator(batch.x, batch.y_wrong))),
            "fake": (0.5, logistic_fake(self.discriminator(x_fake, batch.y_fake))),
        }

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """-log D(G(z, y'), y'), the non-saturating form, by the discriminator that has just been trained."""
        return {"adversarial": (1.0, logistic_real(self.discriminator(self.generator(batch.z, batch.y_fake), batch.y_fake)))}

    def latent_encoder_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The squared error of the latents of generated pictures, mean over their numbers."""
        with torch.no_grad():
            x_fake = self.generator(batch.z, batch.y_fake).to(batch.x.dtype)
        return {"latent": (1.0, squared(self.latent_encoder(x_fake), batch.z))}

    def label_encoder_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """The squared error of the known labels of real pictures, mean over labels."""
        wanted = batch.y[:, : self.space.num_labels]
        return {"label": (1.0, squared(self.label_encoder(batch.x) * batch.known, wanted * batch.known))}

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return G(E_z(x), y): the picture made anew, with the labels that are told."""
        return self.generator(self.latent_encoder(x), self.signed_code(told))

    def generate(self, z: Tensor, told: Tensor) -> Tensor:
        """Return G(z, y)."""
        return self.generator(z, self.signed_code(told))

    def classify(self, x: Tensor) -> Tensor:
        """Return E_y(x) [N, L], above 0 where a label holds; of a number its share of its range."""
        y = self.label_encoder(x)
        numbers = [i in self.space.numbers for i in range(self.space.num_labels)]
        return torch.where(torch.tensor(numbers, device=x.device), (y + 1) / 2, y)

    def label_slots(self) -> list[Slot]:
        """The generator's and the discriminator's layer that reads the labels, and the last one of the labels' encoder."""
        told = self.slots_along("generator.main.0.weight", 0, self.config.latent_dim, masked=True)
        told += self.slots_along("discriminator.main.0.weight", 1, self.config.discriminator_conv_dim, masked=True)
        last = f"label_encoder.main.{len(self.label_encoder.main) - 1}"
        return told + self.slots_along(f"{last}.weight", 0) + self.slots_along(f"{last}.bias", 0)
