"""Aster: edits of labels that leave the rest of a picture alone. asterism's own recipe; docs/aster.md has its measurements.

One generator, told which labels are wanted (+1), not wanted (-1) or to be left as they are (0), edits its input by a layer
of colour with an opacity. One discriminator judges every label by itself: whether a picture is real *and* has, or lacks, that
label, as a whole and patch by patch. Only labels that were asked to change drive the generator. No term classifies fakes, and
nothing leads back to the source: StarGAN's classification of fakes rewards any mark that the classifier knows, and its cycle
rewards timid edits.

A sample is judged by its own labels alone, never beside another sample's, so micro-batches and processes change nothing.

Shapes: x [N, C, H, W] in [-1, 1]; labels, known, take [N, L]; c [N, n] code; weights [N, 2, L].
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
from asterism.networks.aster import SMALLEST, Discriminator, Generator, Verdict, check_size, halvings_for
from asterism.objectives.adversarial import logistic_fake, logistic_real
from asterism.objectives.classification import classification
from asterism.objectives.distances import l1
from asterism.objectives.penalties import r1
from asterism.recipes.base import Abilities, Adam, Phase, Recipe, Slot, Terms, Update

REFERENCE_PIXELS = 32 * 32
"""Of the pictures that `penalty_weight` is stated for: gradients shrink as pixels become more."""

MEET = 200
"""Steps after the coarse ones in which the new discriminator gets to know the edits, and the generator waits for it."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Aster's choices."""

    width: int = option(64, "Channels of both networks' first convolution.", low=1)
    coarse: int = option(0, "First steps, on half the side, at half of the cost, where the networks take that.", low=0)
    alone: int = option(0, "Step from which, after coarse ones, one label or set changes at a time; 0: never.", low=0)
    same: float = option(0.15, "Share of the samples that are to stay as they are.", low=0)
    more: float = option(0.4, "Chance of each further label, or set of alternatives, to be changed beside the first.", low=0)
    hide: float = option(0.5, "Share of the edits that are told nothing of the labels that stay.", low=0)
    judge_weight: float = option(1.0, "Weight of the judge of whole pictures.", low=0)
    local_weight: float = option(3.0, "Weight of the judge of large patches.", low=0)
    patch_weight: float = option(1.0, "Weight of the judge of small patches.", low=0)
    kept_weight: float = option(0.25, "Weight in the discriminator of labels that a fake keeps.", low=0)
    keep_weight: float = option(8.0, "Weight of the change that an edit makes.", low=0)
    same_weight: float = option(20.0, "Weight of the change where none was asked for.", low=0)
    penalty_weight: float = option(0.2, "Weight of the gradient penalty at 32 x 32 pixels; it grows with the pixels.", low=0)
    dead_zone: float = option(0.03, "Changes of a value below this become none, on [-1, 1].", low=0)
    generator_lr: float = option(1e-3, "Learning rate of the generator.", low=0)
    discriminator_lr: float = option(6e-4, "Learning rate of the discriminator.", low=0)


class Aster(Recipe):
    """Aster, asterism's own: changes attributes of pictures and leaves the rest; any strength."""

    config_type = Config
    averaged = ("generator",)
    unlabelled = True
    advised_batch = 8
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {"data": {"size": 128}, "train": {"steps": 60000, "decay_steps": 30000, "ema_kimg": 5}},
        "large": {
            "recipe": {"width": 96},
            "data": {"size": 256},
            "train": {"steps": 150000, "decay_steps": 75000, "ema_kimg": 10},
        },
        "small": {  # Half an hour of a laptop's CPU.
            "recipe": {"width": 48, "coarse": 4000, "alone": 6000, "keep_weight": 2.0},
            "data": {"size": 64},
            "train": {"steps": 7200, "decay_steps": 2000, "ema_kimg": 2, "checkpoint_every": 1000, "preview_every": 1000},
        },
    }

    def __init__(self, config: Config, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__(config, space, picture)
        size = (picture.height, picture.width)
        halvings = halvings_for(size)
        check_size(size, halvings)
        code = space.num_labels + len(space.numbers)
        self.generator = Generator(picture.channels, code, config.width, halvings, config.dead_zone)
        self.discriminator = Discriminator(picture.channels, space.num_labels, size, config.width)
        self.step = 2 << halvings
        self.abilities = Abilities(
            translates=True,
            told="change",
            keeps=True,
            side_multiple=self.step,
            attends=True,
            judges=True,
            scores=("discriminator",),
        )
        self.phases = (Phase("whole"),)
        half = (size[0] // 2, size[1] // 2)
        coarse = config.coarse if min(half) >= SMALLEST else 0
        if coarse:
            self.coarse_discriminator = Discriminator(picture.channels, space.num_labels, half, config.width)
            self.phases = (Phase("coarse", coarse), Phase("meet", coarse + MEET), *self.phases)
        if config.alone > (coarse and coarse + MEET):
            self.phases = (*self.phases[:-1], Phase("mixed", config.alone), Phase("whole"))
        self.enter("whole")
        self.updates = (
            Update("coarse_discriminator", trains=("coarse_discriminator",)),
            Update("discriminator", trains=("discriminator",), during=("meet", "mixed", "whole")),
            Update("generator", trains=("generator",), shares=True, during=("coarse", "mixed", "whole")),
        )[0 if coarse else 1 :]

    def optimizers(self) -> dict[str, Adam]:
        """Adam without momentum, as usual where a zero-centred penalty holds the discriminator."""
        rates = {name: self.config.discriminator_lr for name in self.networks} | {"generator": self.config.generator_lr}
        return {name: Adam(rate, betas=(0.0, 0.99)) for name, rate in rates.items()}

    def condition(self, target: Batch, source: Tensor | None = None, strength: float | Tensor = 1.0) -> Tensor:
        """Return the code and, in a last column, the strength [N, n + 1]."""
        c = self.code(target.labels, target.known)
        return torch.cat([c, c.new_ones(len(c), 1) * strength], 1)

    def code(self, labels: Tensor, known: Tensor) -> Tensor:
        """Return what is asked of labels, c [N, n]: 1 to hold, -1 not to hold, 0 to stay as they are.

        A number is asked for as its place in its range, -1 to 1; after all labels comes, for each number, whether it is
        asked for.
        """
        return torch.cat([(2 * self.space.shares(labels) - 1) * known, known[:, list(self.space.numbers)]], 1)

    @property
    def units(self) -> list[list[int]]:
        """The labels that change together: each set of alternatives, and each other label by itself."""
        sets = [list(choice) for choice in self.space.alternatives]
        joined = {index for choice in sets for index in choice}
        return sets + [[index] for index in range(self.space.num_labels) if index not in joined]

    @property
    def more(self) -> float:
        """The chance of each further unit to change in the present phase."""
        return 0.0 if self.config.alone and self.phase == "whole" else self.config.more

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw which labels change, and to what; what the code tells of the others; and where the penalty is taken."""
        count, units, own = len(batch), self.units, batch.known > 0
        may = torch.stack([own[:, unit].all(1) for unit in units], 1)  # [N, U]
        first = torch.where(may, torch.rand(may.shape, generator=rng), -1.0).argmax(1)
        taken = F.one_hot(first, len(units)).bool() | (torch.rand(may.shape, generator=rng) < self.more)
        changed = torch.rand(count, 1, generator=rng) >= self.config.same
        taken &= may & changed
        labels, take = batch.labels.clone(), torch.zeros_like(batch.known)
        drawn = self.space.sample_uniform(batch.dataset, rng)
        for place, unit in enumerate(units):
            here = taken[:, place]
            if len(unit) > 1:  # Another alternative, each as likely as any other; any of them where none holds.
                now, holds = labels[:, unit].argmax(1), labels[:, unit].any(1)
                other = (now + torch.randint(1, len(unit), (count,), generator=rng)) % len(unit)
                new = F.one_hot(torch.where(holds, other, drawn[:, unit].argmax(1)), len(unit)).to(labels.dtype)
            else:
                new = drawn[:, unit] if unit[0] in self.space.numbers else 1 - labels[:, unit]
            labels[:, unit] = torch.where(here[:, None], new, labels[:, unit])
            take[:, unit] = here[:, None].to(take.dtype)
        told = torch.where(torch.rand(count, 1, generator=rng) < self.config.hide, take, batch.known)
        told = torch.where(take.any(1, keepdim=True), told, batch.known)  # Where nothing changes, all of it is told.
        often = (1 - self.config.same) * (1 / may.sum(1, keepdim=True).clamp(1) * (1 - self.more) + self.more)
        kept = self.config.kept_weight
        return {
            "c_trg": self.code(labels, told),
            "take": take,
            # Real pictures count as much in a label's judge as fakes that were asked for that label do on average.
            "weights_real": self._weights(batch.labels, batch.known * (often + kept * (1 - often))),
            "weights_fake": self._weights(labels, take + kept * (batch.known - take)),
            "weights_taken": self._weights(labels, take),
            "at_fake": torch.rand(count, 1, 1, 1, generator=rng) < 0.5,
        }

    def _weights(self, labels: Tensor, weights: Tensor) -> Tensor:
        """Return [N, 2, L]: which of a label's two judges counts how much; of alternatives the one that holds."""
        shares = self.space.shares(labels)
        absent = 1 - shares
        for choice in self.space.alternatives:
            absent[:, list(choice)] = 0
        return torch.stack([absent, shares], 1) * weights[:, None]

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """Return the pictures of half the side in coarse steps."""
        return {"x": F.avg_pool2d(batch.x, 2)} if self.phase == "coarse" else {}

    @property
    def judges(self) -> list[Discriminator]:
        """The discriminators that the generator hears, the one for use first: that of half the side stays to the end.

        A new discriminator soon knows the edits of coarse steps, which are blurred, from real pictures. If the generator heard
        it alone, it would unlearn them.
        """
        coarse = [self.coarse_discriminator] if "coarse_discriminator" in self.networks else []
        return coarse if self.phase == "coarse" else [self.discriminator, *coarse]

    def _seen(self, judge: Discriminator, x: Tensor) -> Tensor:
        """Return pictures of the present phase as a discriminator takes them."""
        return x if self.phase == "coarse" or judge is self.discriminator else F.avg_pool2d(x, 2)

    def _used(self, x: Tensor) -> Verdict:
        """Return what the discriminator that is best trained so far says of whole pictures."""
        return self.judges[0](F.avg_pool2d(x, 2) if self.phase == "coarse" else x)

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """The edits, which both updates begin with."""
        half = self.phase == "coarse"
        return {"x_fake": batch.x_fake if "x_fake" in batch else self.generator(batch.x, batch.c_trg, half)}

    def discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """What the discriminator of whole pictures learns."""
        return self._judged(self.discriminator, batch)

    def coarse_discriminator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """What the discriminator of half the side learns."""
        return self._judged(self.coarse_discriminator, batch)

    def _judged(self, judge: Discriminator, batch: Batch) -> Terms:
        """Real pictures with their labels against edits with theirs, and each edit against its own source, small patches."""
        config = self.config
        with torch.no_grad():
            x_fake = self._seen(judge, self.share(batch)["x_fake"].detach().to(batch.x.dtype))
        x = self._seen(judge, batch.x)
        both = judge(torch.cat([x, x_fake]))
        real, fake = (Verdict(*(part.chunk(2)[i] for part in both)) for i in range(2))
        at_fake = batch.at_fake
        weights = torch.where(at_fake[:, :, 0], batch.weights_fake, batch.weights_real)
        gradient = judge.score_gradient(torch.where(at_fake, x_fake, x), weights)
        return {
            "real": (config.judge_weight, (logistic_real(real.judge) * batch.weights_real).sum((1, 2))),
            "fake": (config.judge_weight, (logistic_fake(fake.judge) * batch.weights_fake).sum((1, 2))),
            "real_local": (config.local_weight, (logistic_real(real.local).mean(-1) * batch.weights_real).sum((1, 2))),
            "fake_local": (config.local_weight, (logistic_fake(fake.local).mean(-1) * batch.weights_fake).sum((1, 2))),
            "real_patch": (config.patch_weight, logistic_real(real.patch).mean(1)),
            "fake_patch": (config.patch_weight, logistic_fake(fake.patch).mean(1)),
            # For use only: the generator never hears of it.
            "class": (1.0, classification(real.classes, batch.labels, batch.known, self.space)),
            "penalty": (config.penalty_weight * gradient[0, 0].numel() / REFERENCE_PIXELS, r1(gradient)),
        }

    def generator_terms(self, batch: Batch, progress: Tensor) -> Terms:
        """Be taken for real with the labels that were asked for, and change little; nothing where nothing was asked."""
        config = self.config
        x_fake = self.share(batch)["x_fake"]
        verdicts = [judge(self._seen(judge, x_fake.to(batch.x.dtype))) for judge in self.judges]
        judge = [(logistic_real(said.judge) * batch.weights_taken).sum((1, 2)) for said in verdicts]
        local = [(logistic_real(said.local).mean(-1) * batch.weights_taken).sum((1, 2)) for said in verdicts]
        patch = [logistic_real(said.patch).mean(1) for said in verdicts]
        change = l1(x_fake, batch.x)
        changed = batch.take.amax(1)
        return {
            "judge": (config.judge_weight, torch.stack(judge).mean(0)),
            "local": (config.local_weight, torch.stack(local).mean(0)),
            "patch": (config.patch_weight, torch.stack(patch).mean(0)),
            "keep": (config.keep_weight, change * changed),
            "same": (config.same_weight, change * (1 - changed)),
        }

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return x and the change that G makes of it, scaled by the strength: at 1, G(x, c)."""
        c, strength = told[:, :-1], told[:, -1, None, None, None]
        return x + strength * (self.generator(x, c) - x)

    def attend(self, x: Tensor, told: Tensor) -> Tensor:
        """Return the opacity of the layer of colour, scaled by the strength."""
        return (told[:, -1, None, None, None] * self.generator.change(x, told[:, :-1])[1]).clamp(0, 1)

    def classify(self, x: Tensor) -> Tensor:
        """Return the discriminator's class logits [N, L]; x has the training size."""
        return self._used(x).classes

    def realness(self, x: Tensor) -> Tensor:
        """Return scores [N]: of small patches, and of each label's judge that finds the picture more real, mean over labels."""
        said = self._used(x)
        return said.patch.mean(1) + said.judge.amax(1).mean(1)

    def completed(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return a file's weights; those of version 0.2.0 have no way in and out for half the side: it gives nothing."""
        network = "generator."
        if network + "detail" in weights or network + "first.0.weight" not in weights:
            return weights
        own = self.generator.state_dict()
        lacking = {network + key: torch.zeros_like(own[key]) for key in own if key.startswith(("first_half.", "last_half."))}
        return {**lacking, network + "detail": torch.ones_like(self.generator.detail), **weights}

    def label_slots(self) -> list[Slot]:
        """The code's first layer reads the labels; the heads write two logits, and one, of each."""
        count, slots = self.space.num_labels, self.slots_along("generator.code.0.weight", 1)
        for place, index in enumerate(self.space.numbers):
            slots.append(Slot("generator.code.0.weight", self.space.names[index], 1, count + place))
        for network in (name for name in self.networks if name != "generator"):
            for parameter in ("judge.weight", "local.weight", "local.bias"):
                for start in (0, count):
                    slots += self.slots_along(f"{network}.{parameter}", 0, start)
            slots += self.slots_along(f"{network}.classes.weight", 0)
        return slots
