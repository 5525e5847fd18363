"""StarGAN v2: Diverse Image Synthesis for Multiple Domains (arXiv:1912.01865).

A style vector says how a picture of the target domain is to look; it is drawn from noise by the mapping network or read
from a reference picture by the style encoder, and drives the instance norms of the generator's decoder.

Shapes: x, x_ref, x_ref2 [N, C, H, W] in [-1, 1]; y int64 [N] domain; z [N, Z] standard normal; s [N, S] style; masks
[N, 1, h, w] in [0, 1]. The domains are the alternatives of the label space: one_of groups and exclusive sub-groups, of
every dataset the first.

What differs from the published code, beyond the engine's doing: averages start from the networks' own initial weights,
the diversity weight is a function of the step, both references are drawn anew for every sample, heads are computed for
a sample's own domain only, the second style's picture and D's fakes carry no graph, R1 is taken every few steps with its
weight multiplied (lazily, arXiv:1912.04958), and the high-pass skips act at sizes that follow the picture's; the presets
named after the paper's datasets, and `published`, take R1 on every step and the published skips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from asterism.config import ConfigError, option
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace
from asterism.machine import at_least_float32
from asterism.networks.face_masks import face_masks
from asterism.networks.fan import FAN, read_weights
from asterism.networks.stargan_v2 import Discriminator, Generator, MappingNetwork, StyleEncoder, check_size
from asterism.objectives.adversarial import logistic_fake, logistic_real
from asterism.objectives.distances import l1
from asterism.objectives.penalties import r1
from asterism.recipes.base import Abilities, Adam, Masks, Recipe, Slot, Stream, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """StarGAN v2's choices; the defaults are the paper's, without high-pass skips."""

    style_dim: int = option(64, "Length of the style vector s.", low=1)
    latent_dim: int = option(16, "Length of the latent z.", low=1)
    mapping_width: int = option(512, "Width of the mapping network's hidden layers.", low=1)
    capacity: int = option(2**14, "Channels at full resolution are capacity / side of the picture.", low=32)
    max_width: int = option(512, "Channels of the deepest layers.", low=1)
    high_pass: float = option(
        0.0, "Divisor of the high-pass filter that carries masked edges over; 0 has no such skips.", low=0
    )
    skip_sizes: tuple[int, ...] = option((), "Sizes at which they act, such as 32,64,128; none follows the picture's.")
    masks: Literal["ones", "face", "given"] = option(
        "ones", "Where they act: everywhere, where the landmark network sees a face, or by masks that the caller gives."
    )
    fan: str = option("", "File of the landmark network's published weights, read when training starts.", resumable=True)
    style_weight: float = option(1.0, "Weight of the style term, lambda_sty in Eq. (5).", low=0)
    diversity_weight: float = option(1.0, "Initial weight of the diversity term, lambda_ds in Eq. (5).", low=0)
    diversity_steps: int = option(100_000, "Steps over which the diversity weight falls linearly to 0.", unit="steps", low=1)
    cycle_weight: float = option(1.0, "Weight of the cycle term, lambda_cyc in Eq. (5).", low=0)
    penalty_weight: float = option(1.0, "Weight of R1, lambda_reg.", low=0)
    penalty_every: int = option(
        4, "Steps between R1 penalties, which then weigh as many times more; 1: each.", unit="steps", low=1
    )
    lr: float = option(1e-4, "Learning rate of generator, style encoder and discriminator.", low=0)
    mapping_lr: float = option(1e-6, "Learning rate of the mapping network.", low=0)
    weight_decay: float = option(1e-4, "L2 decay inside Adam, on every parameter as published.", low=0)


MASKS = ("mask_face", "mask_core")
"""Where the coarsest and where the finer edges of a picture are carried over."""

MEAN_OF = 1000
"""Latents whose styles are averaged for a domain's mean style."""

_TRAIN = {"steps": 100_000, "decay_steps": 0, "batch_size": 8, "ema_kimg": 5.54, "ema_ramp": 0}  # 0.999 a step at batch 8.
_DATA = {"size": 256, "balance": True, "zoom": 0.8}
_SKIPS = (32, 64, 128)


class StarGANv2(Recipe):
    """StarGAN v2: pictures in another domain, many looks of each, from noise or a reference picture."""

    config_type = Config
    averaged = ("generator", "mapping_network", "style_encoder")
    streams = (Stream("ref", of="domain"), Stream("ref2", of="ref"))
    protocol = "stargan_v2"
    advised_batch = 8
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "celeba_hq": {"recipe": {"high_pass": 1.0, "skip_sizes": _SKIPS, "penalty_every": 1}, "data": _DATA, "train": _TRAIN},
        "afhq": {"recipe": {"diversity_weight": 2.0, "penalty_every": 1}, "data": _DATA, "train": _TRAIN},
        "published": {"recipe": {"skip_sizes": _SKIPS, "penalty_every": 1}, "data": _DATA, "train": _TRAIN},
        "small": {  # A laptop's CPU: narrower, and rates and a cycle weight that get there in fewer steps.
            "recipe": {
                "capacity": 2**10,
                "max_width": 128,
                "mapping_width": 128,
                "style_dim": 32,
                "cycle_weight": 10,
                "diversity_steps": 2500,
                "lr": 1e-3,
                "mapping_lr": 1e-4,
            },
            "data": {"size": 64, "balance": True, "zoom": 0.8},
            "train": {
                "steps": 2500,
                "decay_steps": 0,
                "batch_size": 8,
                "ema_kimg": 1,
                "checkpoint_every": 500,
                "preview_every": 250,
                "log_every": 50,
            },
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        check_size((picture.height, picture.width))
        _check_domains(space)
        size, shape = picture.height, (config.capacity, config.max_width)
        latents = torch.randn(MEAN_OF, config.latent_dim, generator=torch.Generator().manual_seed(0))
        self.latents = nn.Buffer(latents, persistent=False)
        domains = len(space.domain_names)
        self.generator = Generator(picture.channels, size, config.style_dim, *shape, config.high_pass, config.skip_sizes)
        self.mapping_network = MappingNetwork(domains, config.latent_dim, config.style_dim, config.mapping_width)
        self.style_encoder = StyleEncoder(picture.channels, size, domains, config.style_dim, *shape)
        self.discriminator = Discriminator(picture.channels, size, domains, *shape)
        _check_skips(config, picture)
        self._given: tuple[Masks, ...] = ()  # Not an attribute of its own: a module there would become a network.
        if config.masks == "face":
            self.fan = FAN()
        self.abilities = Abilities(
            translates=True,
            told="domain",
            latent=config.latent_dim,
            style=config.style_dim,
            reads_style=True,
            scores=("discriminator",),
            # Skips that act everywhere need no masks.
            masks=MASKS if config.high_pass and config.masks != "ones" else (),
            # High-pass skips are tied to the size of training.
            side_multiple=None if config.high_pass else 2**self.generator.halvings,
        )
        lazy = ("penalty", config.penalty_every)
        self.updates = (
            Update("discriminator_latent", trains=("discriminator",), lazy=lazy),
            Update("discriminator_reference", trains=("discriminator",), lazy=lazy),
            Update(
                "generator_latent",
                trains=("generator", "mapping_network", "style_encoder"),
                shares=not config.high_pass,  # The maps that skips carry over are no single tensor.
            ),
            Update("generator_reference", trains=("generator",)),  # As published: here F and E rest.
        )

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0 for all, and a hundredth of the rate for the mapping network."""
        settings = {"betas": (0.0, 0.99), "weight_decay": self.config.weight_decay}
        trained = (*self.averaged, "discriminator")
        rates = dict.fromkeys(trained, self.config.lr) | {"mapping_network": self.config.mapping_lr}
        return {name: Adam(rate, **settings) for name, rate in rates.items()}

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the latents; the target domain is that of the references."""
        shape = (len(batch), self.config.latent_dim)
        return {
            "y_src": self.space.domain(batch.labels),
            "y_trg": self.space.domain(batch.labels_ref),
            "z_trg": torch.randn(shape, generator=rng),
            "z_trg2": torch.randn(shape, generator=rng),
        }

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """The encoded pictures, and their translations in styles from noise: both D updates and the first of G's use them."""
        features, kept = self.generator.features(batch.x)
        s_trg = self.mapping_network(batch.z_trg, batch.y_trg)
        return {"features": features, "x_fake": self.generator.render((features, kept), s_trg)}

    def _features(self, batch: Batch) -> tuple[Tensor, dict[int, Tensor]]:
        """The encoded pictures of the updates up to the first that trains the generator."""
        return (batch.features, {}) if "features" in batch else self.generator.features(batch.x)

    def discriminator_latent_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Eq. (1), the fake in a style from noise."""
        if "x_fake" in batch:
            return self._discriminator_terms(batch, batch.x_fake.detach())
        with torch.no_grad():
            s_trg = self.mapping_network(batch.z_trg, batch.y_trg)
            x_fake = self.generator(batch.x, s_trg, self._masks(batch))
        return self._discriminator_terms(batch, x_fake)

    def discriminator_reference_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Eq. (1), the fake in a reference's style."""
        with torch.no_grad():
            s_trg = self.style_encoder(batch.x_ref, batch.y_trg)
            x_fake = self.generator.render(self._features(batch), s_trg, self._masks(batch))
        return self._discriminator_terms(batch, x_fake)

    def _discriminator_terms(self, batch: Batch, x_fake: Tensor) -> Terms:
        pictures, domains = torch.cat([batch.x, x_fake.to(batch.x.dtype)]), torch.cat([batch.y_src, batch.y_trg])
        logits = self.discriminator(pictures, domains)
        real, fake = logits.chunk(2)
        return {"real": (1.0, logistic_real(real)), "fake": (1.0, logistic_fake(fake))}

    def penalty_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """R1 on the real pictures (Appendix: training details)."""
        return {"penalty": (self.config.penalty_weight, r1(self.discriminator.score_gradient(batch.x, batch.y_src)))}

    def generator_latent_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Eq. (5), styles from noise."""
        s_trg = self.mapping_network(batch.z_trg, batch.y_trg)
        with torch.no_grad():
            s_trg2 = self.mapping_network(batch.z_trg2, batch.y_trg)
        features = self._features(batch)
        x_fake = batch.x_fake if "x_fake" in batch else self.generator.render(features, s_trg, self._masks(batch))
        return self._generator_terms(batch, features, x_fake, s_trg, s_trg2, progress)

    def generator_reference_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Eq. (5), styles from references."""
        with torch.no_grad():
            s_trg, s_trg2 = (self.style_encoder(x, batch.y_trg) for x in (batch.x_ref, batch.x_ref2))
        features = self.generator.features(batch.x)  # Anew: the generator has been trained since.
        x_fake = self.generator.render(features, s_trg, self._masks(batch))
        return self._generator_terms(batch, features, x_fake, s_trg, s_trg2, progress)

    def _generator_terms(
        self,
        batch: Batch,
        features: tuple[Tensor, dict[int, Tensor]],
        x_fake: Tensor,
        s_trg: Tensor,
        s_trg2: Tensor,
        progress: Tensor,
    ) -> Terms:
        config, masks = self.config, self._masks(batch)
        masks_fake = self._masks(batch.extend(**self._look_at(x_fake)))
        with torch.no_grad():  # The diversity term takes the second picture as a constant.
            x_fake2 = self.generator.render(features, s_trg2, masks)
        s_src = self.style_encoder(batch.x, batch.y_src)
        x_rec = self.generator(x_fake, s_src, masks_fake)
        diversity = config.diversity_weight * (1 - progress / config.diversity_steps).clamp(min=0)
        return {
            "adversarial": (1.0, logistic_real(self.discriminator(x_fake, batch.y_trg))),  # Eq. (1)
            "style": (config.style_weight, l1(self.style_encoder(x_fake, batch.y_trg), s_trg)),  # Eq. (2)
            "diversity": (-diversity, l1(x_fake, x_fake2)),  # Eq. (3)
            "cycle": (config.cycle_weight, l1(x_rec, batch.x)),  # Eq. (4)
        }

    def begin(self, new: bool) -> tuple[str, ...]:
        """Read the landmark network's weights for a new run; make sure that masks can be made."""
        if self.config.masks == "given" and not self._given:
            raise ConfigError("recipe.masks given: train from Python, asterism.train(..., masks=function)")
        if self.config.masks == "face" and new and self.config.fan:
            try:
                self.fan.load_state_dict(read_weights(self.config.fan))
            except (OSError, ValueError) as error:
                raise ConfigError(f"recipe.fan {self.config.fan}: {error}") from error
        if self.config.masks == "face" and not self.fan.loaded:
            raise ConfigError(
                "recipe.masks face needs the landmark network: give --recipe.fan FILE (wing.ckpt), or --init a model with it"
            )
        return ()

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """Make the masks of the sources, which all four updates use."""
        return self._look_at(batch.x)

    def mask_by(self, masks: Masks) -> None:
        """Take the masks of the high-pass skips from a function, in place of those that the configuration names."""
        if not self.config.high_pass:
            raise ConfigError("this model has no high-pass skips (recipe.high_pass 0), so that it takes no masks")
        self._given, self.calls_out = (masks,), True
        self.abilities = replace(self.abilities, masks=MASKS)

    def find_masks(self, x: Tensor) -> tuple[Tensor, ...]:
        """Make the masks of pictures x [N, C, H, W], where they depend on the picture; they carry no gradient."""
        if not self.abilities.masks or not (self._given or self.config.masks == "face"):
            return ()
        with torch.no_grad():
            return self._given[0](x) if self._given else face_masks(self.fan(x))

    def _look_at(self, x: Tensor) -> dict[str, Tensor]:
        return dict(zip(MASKS, self.find_masks(x), strict=False))

    def _masks(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """The masks of the high-pass skips: the batch's own, else all ones."""
        given = (batch.mask_face, batch.mask_core) if "mask_face" in batch else ()
        return self._skip_by(batch.x, given)

    def _skip_by(self, x: Tensor, masks: tuple[Tensor, ...]) -> tuple[Tensor, Tensor] | None:
        if not self.config.high_pass:
            return None
        if masks:
            face, core = masks
            return face, core
        if self.config.masks == "given":
            raise ConfigError(
                "this model was trained with masks that the caller gives: load(..., masks=function), or translate --masks DIR"
            )
        ones = x.new_ones(x.shape[0], 1, 1, 1)
        return ones, ones

    def draw_style(self, z: Tensor, told: Tensor) -> Tensor:
        """Return styles F_y(z) [N, S] from latents z [N, Z], standard normal, and domains y [N]."""
        return self.mapping_network(z, told)

    def read_style(self, x: Tensor, told: Tensor) -> Tensor:
        """Return the styles E_y(x) [N, S] of pictures x [N, C, H, W], read as pictures of the domains y [N]."""
        return self.style_encoder(x, told)

    def mean_style(self, told: Tensor) -> Tensor:
        """Return the mean styles [N, S] of the domains y [N]: what truncation draws styles towards."""
        styles = [self.mapping_network.styles(self.latents, k) for k in range(len(self.mapping_network.unshared))]
        return at_least_float32(torch.stack(styles)).mean(1)[told]

    def realness(self, x: Tensor) -> Tensor:
        """Return logits [N], each of the domain in which the picture looks most real."""
        return self.discriminator.main(x).flatten(1).amax(1)

    def label_slots(self) -> list[Slot]:
        """A domain has a branch of the mapping network, a head of the style encoder and a row of the discriminator's."""
        slots = []
        head = f"discriminator.main.{len(self.discriminator.main) - 1}"
        for domain, name in enumerate(self.space.domain_names):
            for branches in ("mapping_network.unshared", "style_encoder.unshared"):
                slots += self.slots_within(f"{branches}.{domain}", name)
            slots += [Slot(f"{head}.weight", name, 0, domain), Slot(f"{head}.bias", name, 0, domain)]
        return slots

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return G(x, s) in the styles s [N, S], or in the mean style of the domains y [N]."""
        s = self.mean_style(told) if s is None else s
        return self.generator(x, s, self._skip_by(x, masks or self.find_masks(x)))


def _check_skips(config: Config, picture: PictureFormat) -> None:
    """Raise ConfigError unless the high-pass skips can act as they are asked to."""
    if not config.high_pass:
        if config.masks != "ones":
            raise ConfigError(f"recipe.masks {config.masks} needs high-pass skips: set recipe.high_pass, published 1")
        return
    if config.masks == "face" and picture.channels != 3:
        raise ConfigError(f"recipe.masks face takes RGB pictures; these have {picture.channels} channels")
    sides = [2**k for k in range(3, picture.height.bit_length())]
    if config.skip_sizes and not set(config.skip_sizes) & set(sides):
        raise ConfigError(
            f"recipe.skip_sizes {','.join(map(str, config.skip_sizes))}: none of them is a size of the generator's features, "
            f"which are {', '.join(map(str, sides))} at {picture.height} px"
        )
    if list(config.skip_sizes) != sorted(set(config.skip_sizes)):
        raise ConfigError("recipe.skip_sizes: give each size once, the smallest first, which takes the first mask")


def _check_domains(space: LabelSpace) -> None:
    """Raise ConfigError unless every dataset has domains."""
    for dataset, name in enumerate(space.datasets):
        if not space.domains(dataset):
            raise ConfigError(
                f"{name} has no labels of which exactly one holds, so StarGAN v2 has no domains there: use a folder per "
                "domain, or name such labels with --data.exclusive A,B"
            )
