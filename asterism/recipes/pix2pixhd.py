"""pix2pixHD: High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs (arXiv:1711.11585).

One generator, from one domain to the other, learned from pairs: a global generator, and enhancers that each double the size;
discriminators of one kind for pictures of several sizes, whose features real and translated pictures are to have in common.

Shapes: x, x_src, x_trg [N, C, H, W] in [-1, 1]; the condition c [N, C', H, W], what the networks see of a source; y int64 [N]
domain, 0 or 1; F features, M centres, K classes; s [N, K F] the features that a picture's things of each class have.

**Coarse to fine** (Section 3.1). With enhancers, training has three phases: the global generator alone on halved pictures, the
enhancers alone while the global generator rests, then all together. The discriminators of the smaller pictures are trained from
the first phase on, that of the full size from the second.

**Features** (Section 3.3). With `features`, an encoder reads F numbers at each pixel of the true picture and takes their mean
over an instance; the generator sees these too. What things of a class look like is kept as centres of their features, learned
beside the other networks; one centre of each class is a style. A photo has a single instance, of a single class.

What differs from the published code, beyond the engine's doing: without label maps a sample is a picture of either domain and
comes with its partner, so that an epoch is every pair twice; the learning rate falls in every step; the phases are one run, at
whose end the rate falls, where it does so in each of theirs; the first phase sees what the later ones hand to the global
generator, the halved input, where the published one sees pictures read at half the size; centres follow the features in every
step, where k-means runs after training there; in a sample all instances of a class share its centre.
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
from asterism.networks.label_maps import planes
from asterism.networks.pix2pixhd import Centres, Discriminator, Enhancer, Generator, check_size, halve, means_of, regions
from asterism.networks.vgg import VGG19, read_weights
from asterism.objectives.adversarial import least_squares
from asterism.objectives.distances import l1
from asterism.recipes.base import Abilities, Adam, Phase, Recipe, Stream, Terms, Update


@dataclass(frozen=True, kw_only=True)
class Config:
    """pix2pixHD's choices; the defaults are those of the published code."""

    direction: Literal["AtoB", "BtoA"] = option("AtoB", "From the first domain of the data to the second, or back.")
    conv_dim: int = option(64, "Channels after the global generator's first convolution.", low=1)
    num_downs: int = option(4, "Halvings of the global generator.", low=1)
    num_blocks: int = option(9, "Residual blocks of the global generator.", low=1)
    enhancers: int = option(0, "Local enhancers, each of which doubles the size.", low=0, high=3)
    enhancer_blocks: int = option(3, "Residual blocks of each enhancer.", low=1)
    global_steps: int = option(
        100_000, "With enhancers: first steps, of the global generator alone on halved pictures.", unit="steps", low=0
    )
    enhancer_steps: int = option(
        5_000, "With enhancers: steps after that, of the enhancers while the global generator rests.", unit="steps", low=0
    )
    scales: int = option(2, "Discriminators, each of pictures of half the size; the paper has 3 at 2048 x 1024.", low=1)
    discriminator_conv_dim: int = option(64, "Channels after each discriminator's first convolution.", low=1)
    discriminator_layers: int = option(3, "Halvings of each discriminator.", low=1)
    feature_weight: float = option(10.0, "Weight of both distances between features, lambda in Eq. (5).", low=0)
    vgg: str = option("", "torchvision's file of VGG-19, for the perceptual term; none leaves the term out.", resumable=True)
    features: int = option(0, "Features of an instance's look that an encoder reads, published 3; 0 has no encoder.", low=0)
    encoder_conv_dim: int = option(16, "Channels after the encoder's first convolution.", low=1)
    encoder_downs: int = option(4, "Halvings of the encoder.", low=1)
    centres: int = option(10, "Centres of each class's features, of which a style takes one.", low=1)
    lr: float = option(2e-4, "Learning rate of all networks.", low=0)


VGG_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""Of relu1_1, relu2_1, ... relu5_1 (the published code's; the paper's supplement has 1 / M_i)."""

FOLLOWING = 0.1
"""Pull on a centre, as a share of that on the next nearer one: none is left where no features are."""

CENTRES_LR = 1e-2
REGIONS = 1024
"""Regions of a picture, in the order of their ids, from which centres are learned."""

_DATA = {"size": (512, 1024)}
_TRAIN = {"epochs": 200, "decay_epochs": 100, "batch_size": 1}


class Pix2PixHD(Recipe):
    """pix2pixHD: large pictures from label maps or others, learnt from pairs."""

    config_type = Config
    streams = (Stream("pair", of="partner", aligned=True),)
    num_domains = range(2, 3)
    two_kinds = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {"data": _DATA, "train": _TRAIN},
        "published": {"data": _DATA, "train": _TRAIN | {"ema_kimg": 0}},
        "large": {  # Of 2,975 pairs: 200 epochs of the global generator, 10 of the enhancer, 90 of both; the last 50 decaying.
            "recipe": {"enhancers": 1, "scales": 3, "global_steps": 595_000, "enhancer_steps": 29_750},
            "data": {"size": (1024, 2048)},
            "train": {"steps": 892_500, "decay_steps": 148_750, "batch_size": 1},
        },
        "small": {  # A laptop's CPU: narrower, and rates that get there in fewer steps.
            "recipe": {
                "conv_dim": 20,
                "num_downs": 2,
                "num_blocks": 4,
                "discriminator_conv_dim": 24,
                "discriminator_layers": 2,
                "encoder_conv_dim": 8,
                "encoder_downs": 2,
                "lr": 5e-4,
            },
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
        halvings = max(config.num_downs + config.enhancers, config.encoder_downs if config.features else 0)
        keys = f"recipe.num_downs {config.num_downs}, enhancers {config.enhancers}, scales {config.scales}"
        check_size((picture.height, picture.width), halvings, config.scales, keys)
        if picture.source and config.direction == "BtoA":
            raise ConfigError(
                "recipe.direction BtoA: the pictures of the two domains are of different kinds, and those of the first are the "
                "sources; leave it out, and turn the domains round with --data.pairs BtoA"
            )
        self.classes = picture.taken.classes
        kinds, seen, made = max(1, self.classes), picture.taken.planes, picture.channels
        self.generator = Generator(seen + config.features, made, config.conv_dim, config.num_downs, config.num_blocks)
        making = ["generator"]
        if config.enhancers:
            shape = (config.conv_dim, config.enhancers, config.enhancer_blocks)
            self.enhancer = Enhancer(seen + config.features, made, *shape)
            making.append("enhancer")
        if config.features:
            self.encoder = Generator(made, config.features, config.encoder_conv_dim, config.encoder_downs, blocks=0)
            self.centres = Centres(kinds, config.centres, config.features)
            making.append("encoder")
        judge = (config.discriminator_conv_dim, config.discriminator_layers, config.scales)
        self.discriminator = Discriminator(seen + made, *judge)
        if config.vgg:
            if made != 3:
                raise ConfigError(f"recipe.vgg {config.vgg}: VGG-19 sees RGB pictures; these have {made} channels")
            self.vgg = VGG19()
        self.target = 1 if config.direction == "AtoB" else 0
        self.averaged = (*making, *(["centres"] if config.features else []))
        self.abilities = Abilities(
            translates=True,
            told="domain",
            latent=kinds if config.features else 0,
            style=kinds * config.features,
            reads_style=bool(config.features) and not self.classes,  # Nothing tells what a pixel of a photo is of.
            targets=(space.domain_names[self.target],),
            side_multiple=1 << config.num_downs + config.enhancers,
        )
        self.pools = {"x_fake": 0}  # Both updates see what the unstepped generator made, as published.
        self.phases = self._phases(making)
        self.enter(self.phases[-1].name)
        stages = {"global": ("generator",), "enhancer": ("enhancer",), "all": ("generator", "enhancer")}
        self.updates = (
            *(
                Update(
                    "generator" if phase.name == "all" else phase.name,
                    trains=tuple(n for n in making if n in (*stages[phase.name], "encoder")),
                    during=(phase.name,),
                    terms="generator",
                    shares=True,
                )
                for phase in self.phases
            ),
            Update("discriminator", trains=("discriminator",)),
            *([Update("centres", trains=("centres",))] if config.features else []),
        )

    def _phases(self, making: list[str]) -> tuple[Phase, ...]:
        """With enhancers: where each phase ends, and what begins it with a new Adam, as the published runs do."""
        first, second = self.config.global_steps, self.config.global_steps + self.config.enhancer_steps
        phases = []
        if self.config.enhancers and first:
            phases.append(Phase("global", first))
        if self.config.enhancers and second > first:
            phases.append(Phase("enhancer", second, ("discriminator", *(n for n in making if n == "encoder"))))
        return *phases, Phase("all", resets=tuple(making))

    def optimizers(self) -> dict[str, Adam]:
        """Adam with beta1 = 0.5 for all, and a rate of its own for the centres of features."""
        trained = (*self.averaged, "discriminator")
        return {name: Adam(CENTRES_LR) if name == "centres" else Adam(self.config.lr) for name in trained}

    def begin(self, new: bool) -> tuple[str, ...]:
        """Read VGG-19's weights, which no checkpoint holds."""
        if not self.config.vgg:
            return ("without the perceptual term, which needs VGG-19's weights (recipe.vgg FILE)",) if new else ()
        try:
            self.vgg.load(read_weights(self.config.vgg))
        except (OSError, ValueError) as error:
            raise ConfigError(f"recipe.vgg {self.config.vgg}: {error}") from error
        return ()

    # -- what the networks see -------------------------------------------------------------------------------------------

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Note which domain each sample's own picture is of; the partner comes with it."""
        return {"y": self.space.domain(batch.labels)}

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return x_src and x_trg [N, C, H, W]: each sample's own picture and its partner, in the direction of translation."""
        if self.picture.source:  # Samples are sources then.
            return batch.x, batch.x_pair
        own = (batch.y != self.target)[:, None, None, None]
        return torch.where(own, batch.x, batch.x_pair), torch.where(own, batch.x_pair, batch.x)

    def see(self, x_src: Tensor) -> Tensor:
        """Return the condition c [N, C', H, W] of sources: of a label map a channel a class, and the instances' edges."""
        return planes(x_src, self.classes)

    def ids(self, x_src: Tensor) -> Tensor:
        """Return the instance that each pixel belongs to, [N, 1, H, W]: without instances its class, all of a photo one."""
        return x_src[:, -1:] if self.classes else torch.zeros_like(x_src[:, :1])

    def classes_of(self, x_src: Tensor) -> Tensor:
        """Return the class of each pixel, int64 [N, 1, H, W]."""
        return x_src[:, :1].long() if self.classes else torch.zeros_like(x_src[:, :1], dtype=torch.long)

    def judged(self, x: Tensor) -> Tensor:
        """Bring conditions or pictures to the size at which they are judged: in the phase `global` that of its generator."""
        for _ in range(self.config.enhancers if self.phase == "global" else 0):
            x = halve(x)
        return x

    # -- making pictures -------------------------------------------------------------------------------------------------

    def encode(self, x_src: Tensor, x_trg: Tensor) -> Tensor:
        """Return the features [N, F, H, W] of true pictures, one vector an instance (Section 3.3)."""
        places = regions(self.ids(x_src))
        means, _ = means_of(self.encoder(x_trg), places)
        return means.gather(2, places[:, None].expand(-1, means.shape[1], -1)).unflatten(2, x_trg.shape[2:])

    def spread(self, x_src: Tensor, s: Tensor) -> Tensor:
        """Return the features [N, F, H, W] of sources whose things of each class have those of styles s [N, K F]."""
        classes = self.classes_of(x_src).flatten(1)[:, None].expand(-1, self.config.features, -1)
        return s.unflatten(1, (-1, self.config.features)).transpose(1, 2).gather(2, classes).unflatten(2, x_src.shape[2:])

    def render(self, x_src: Tensor, features: Tensor | None = None) -> Tensor:
        """Return pictures [N, C, H, W]; in the phase `global` of half the size, or of a quarter with two enhancers, ...

        Args:
            features: [N, F, H, W] in [-1, 1], where the recipe has features: the look of each pixel's instance. Of `encode`, of
                `spread`, or put together from these, instance by instance.
        """
        c = self.see(x_src)
        inputs = [c if features is None else torch.cat([c, features.to(c.dtype)], 1)]
        for _ in range(self.config.enhancers):
            inputs.append(halve(inputs[-1]))
        if self.phase == "global" or not self.config.enhancers:
            return self.generator(inputs[-1])
        return self.enhancer(self.generator.features(inputs[-1]), inputs)

    # -- training --------------------------------------------------------------------------------------------------------

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """The translations, which the generator is trained by and the discriminators see."""
        x_src, x_trg = self.pair(batch)
        return {"x_fake": self.render(x_src, self.encode(x_src, x_trg) if self.config.features else None)}

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Eq. (5), with least squares for Eq. (3)'s adversarial terms, and the perceptual term of Section 4."""
        x_src, x_trg = self.pair(batch)
        c, x_trg = self.judged(self.see(x_src)), self.judged(x_trg)
        x_fake = batch.x_fake if "x_fake" in batch else self.share(batch)["x_fake"]
        scales = self.judges()
        fake = self.discriminator(c, x_fake, scales)
        with torch.no_grad():
            real = self.discriminator(c, x_trg, scales)
        weight, layers = self.config.feature_weight, self.config.discriminator_layers
        pairs = [
            pair for both in zip(fake, real, strict=True) for pair in list(zip(*both, strict=True))[:-1]
        ]  # Not the logits.
        terms: Terms = {
            "adversarial": (1.0, self.score(fake, 1)),
            # Eq. (4): means over the layers' elements, with the published factors.
            "features": (weight, 4 / (layers + 1) / scales * torch.stack([l1(f, r) for f, r in pairs]).sum(0)),
        }
        if self.config.vgg:
            with torch.no_grad():
                wanted = self.vgg(x_trg)
            seen = zip(VGG_WEIGHTS, self.vgg(x_fake), wanted, strict=True)
            terms["perceptual"] = (weight, torch.stack([w * l1(f, r) for w, f, r in seen]).sum(0))
        return terms

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Eq. (3) in least squares, halved so that D learns more slowly than G."""
        x_src, x_trg = self.pair(batch)
        c, x_trg = self.judged(self.see(x_src)), self.judged(x_trg)
        if "pooled_x_fake" in batch:
            x_fake = batch.pooled_x_fake
        else:
            with torch.no_grad():
                x_fake = self.share(batch)["x_fake"]
        # In one pass: norms are each picture's own, so that no sample sees another.
        both = self.discriminator(torch.cat([c, c]), torch.cat([x_trg, x_fake.to(x_trg.dtype)]), self.judges())
        real, fake = ([[layers[-1].chunk(2)[half]] for layers in both] for half in (0, 1))
        return {"real": (0.5, self.score(real, 1)), "fake": (0.5, self.score(fake, 0))}

    def judges(self) -> int:
        """Say how many discriminators see the pictures of this phase."""
        return max(1, self.config.scales - (self.config.enhancers if self.phase == "global" else 0))

    def score(self, found: list[list[Tensor]], wanted: int) -> Tensor:
        """Return what is paid for the logits of all discriminators, of which real (1) or fake (0) is wanted: their sum, [N]."""
        return torch.stack([least_squares(layers[-1], wanted) for layers in found]).sum(0)

    def centres_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Squared distances of a region's features from the centres of its class, by its share of the picture's area.

        k-means has the nearest alone; the others follow by rank (neural gas: Martinetz, Berkovich and Schulten 1993).
        """
        x_src, x_trg = self.pair(batch)
        with torch.no_grad():
            places = regions(self.ids(x_src))
            means, counts = means_of(self.encoder(x_trg), places)
        classes = torch.zeros_like(places).scatter_reduce(1, places, self.classes_of(x_src).flatten(1), "amax")
        distances = self.centres(means[:, :, :REGIONS].to(self.centres.at.dtype), classes[:, :REGIONS])
        shares = counts[:, :REGIONS].to(distances.dtype) / places.shape[1]
        ranked = distances.sort(2).values * FOLLOWING ** torch.arange(distances.shape[2], device=distances.device)
        return {"distance": (1.0, (ranked.sum(2) * shares).sum(1))}

    # -- use -------------------------------------------------------------------------------------------------------------

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return G(x), with the features of styles s; what the first phase makes is enlarged. There is but one target."""
        features = None
        if self.config.features:
            features = self.spread(x, self.mean_style(told) if s is None else s)
        y = self.render(x, features)
        return y if y.shape[2:] == x.shape[2:] else F.interpolate(y, x.shape[2:], mode="bilinear", align_corners=False)

    def draw_style(self, z: Tensor, told: Tensor) -> Tensor:
        """Return of each class one of its centres."""
        return self.centres.choose(z).flatten(1)

    def mean_style(self, told: Tensor) -> Tensor:
        """Return the mean of each class's centres."""
        return self.centres.at.mean(1).flatten().expand(len(told), -1)

    def read_style(self, x: Tensor, told: Tensor) -> Tensor:
        """Return the mean features of pictures, as the encoder reads them."""
        return self.encoder(x).mean((2, 3))
