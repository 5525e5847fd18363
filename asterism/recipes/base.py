"""The recipe contract: what one published system declares, and what the engine does with it.

A recipe is one file. It holds the networks, the configuration with its presets, the updates of one training step in
order, and for each update a method that returns the table of weighted terms. That table is the paper's objective: the
engine sums it, logs it and differentiates it.

A recipe never calls backward or step, moves tensors between devices, reads a value back, chooses a precision, prints or
communicates. An update is a pure function of the weights, the prepared batch and the training progress: every random
choice is made in `prepare`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.data.sampling import Stream as Stream
from asterism.labels import LabelSpace
from asterism.networks.codes import Code
from asterism.recipes.optimisers import SGD as SGD
from asterism.recipes.optimisers import Adam as Adam
from asterism.recipes.optimisers import Optimiser as Optimiser
from asterism.recipes.optimisers import RMSprop as RMSprop

Masks = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From pictures [N, C, H, W] in [-1, 1] to two masks [N, 1, h, w] in [0, 1] of any size."""

Terms = dict[str, tuple[float | Tensor, Tensor]]
"""Name -> (weight, value [N] float32, or float64 in float64); the loss is the sum of weight x mean(value)."""


@dataclass(frozen=True)
class Abilities:
    """What a recipe can do with its networks once they are trained. Everything outside recipes asks here, and only here.

    Args:
        translates: it has `translate`, from a picture to a picture.
        generates: it has `generate`, from a latent to a picture.
        told: what `translate` and `generate` are told of the target, as `condition` makes it: the whole `code` c, float
            [N, n]; the `codes` of target and source, float [N, 2 n]; the `domain` y, int64 [N]; the `difference` between
            target and source labels, float [N, L]; the `change` that is asked for, float [N, n], which says nothing of labels
            that stay; or `none`.
        slides: a strength slides the code from the picture's own labels to the target's, and on.
        latent: Z, the length of the latents z, standard normal, that `generate` or `draw_style` takes.
        codes: parts of a latent with names, one after another at its end; it has `recognise`, which reads them from pictures.
        style: S, the length of the styles s that `translate` takes; they come from `draw_style` and `mean_style`.
        reads_style: styles come from `read_style` too, from pictures; else they are noise, which no picture shows.
        targets: the only domains that it translates to, by name; empty: all.
        masks: names of the masks [N, 1, h, w] that `translate` takes.
        side_multiple: `translate` takes any height and width that are multiples of it; none: those of training only.
        fixed_height: `translate` takes any such width, and the height of training only.
        keeps: what its targets leave as it is stays where it is, so that a larger picture keeps its own detail.
        attends: it has `attend`, from a picture to the share of each of its pixels that a translation paints anew.
        judges: it has `classify`, from a picture to the logits of its labels.
        scores: the networks by which it has `realness`, from a picture to how real it looks; empty: it has none.
    """

    translates: bool = False
    generates: bool = False
    told: Literal["code", "codes", "domain", "difference", "change", "none"] = "none"
    slides: bool = False
    latent: int = 0
    codes: tuple[Code, ...] = ()
    style: int = 0
    reads_style: bool = False
    targets: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    side_multiple: int | None = None
    fixed_height: bool = False
    keeps: bool = False
    attends: bool = False
    judges: bool = False
    scores: tuple[str, ...] = ()

    @property
    def by_strength(self) -> bool:
        """Whether it can be told how strongly labels are to change."""
        return self.slides or self.told in ("difference", "change")

    @property
    def makes_pictures(self) -> bool:
        """Whether the trained model translates or generates; a recipe that does neither only judges."""
        return self.translates or self.generates


@dataclass(frozen=True)
class Phase:
    """A stretch of training steps.

    Args:
        name: updates name the phases in which they happen.
        until: the step before which it ends; none: the end of training. Phases follow one another in order.
        resets: networks whose optimiser and average start anew when the phase begins.
        batch: pictures per step and dataset in place of `train.batch_size`; none: as many as that.
    """

    name: str
    until: int | None = None
    resets: tuple[str, ...] = ()
    batch: int | None = None


@dataclass(frozen=True)
class Update:
    """One optimisation step of some networks.

    Args:
        name: what the log calls it.
        trains: the networks that it changes.
        every: n fires on the n-th, 2n-th, ... training step.
        turns: fires on these instead of each n steps, counted from 0.
        lazy: (name, k) adds the table of `<name>_terms` to every k-th step, k times as heavy: a regulariser that is too
            costly for each step (arXiv:1912.04958, Section 3.1).
        shares: it begins with tensors that other updates of the same step need as well. `share` makes them once, with
            their graph, before the step's first update, and the batch holds them. No update before this one may train the
            networks that make them.
        during: the phases in which it happens; empty: all of them.
        terms: its table is the method `<terms>_terms`; empty: `<name>_terms`.
        args: further arguments of that method, such as the level of a pyramid.
        clamp: weights of the trained networks are clamped to plus or minus this before the update (WGAN, arXiv:1701.07875).
        eager: its terms differentiate a gradient (`objectives.penalties.input_gradient`), which a compiler cannot.
    """

    name: str
    trains: tuple[str, ...]
    every: int = 1
    turns: tuple[int, ...] = ()
    lazy: tuple[str, int] | None = None
    shares: bool = False
    during: tuple[str, ...] = ()
    terms: str = ""
    args: tuple[Any, ...] = ()
    clamp: float | None = None
    eager: bool = False

    def due(self, step: int, phase: str) -> bool:
        """Say whether training step `step`, counted from 0 and in this phase, makes the update."""
        return step % self.every in (self.turns or (self.every - 1,)) and (not self.during or phase in self.during)


@dataclass(frozen=True)
class Slot:
    """A slice of a parameter that belongs to one label, so that a model can move to other labels.

    Args:
        parameter: its name.
        owner: the label's name, or `mask:<dataset>` of a bit of the mask vector.
        axis: the axis that runs over owners; none: the whole parameter belongs to the owner.
        index: where on the axis.
    """

    parameter: str
    owner: str
    axis: int | None = None
    index: int = 0


class Recipe(nn.Module):
    """Base of all recipes: the networks are its direct children.

    Subclasses set:
        config_type: a frozen dataclass whose defaults are the paper's.
        presets: name -> overrides with the sections recipe, data, train.
        averaged: the networks that the trained model is used for; the engine keeps their averages (EMA).
        streams: what a sample needs beside its own picture; the batch then holds `x_<name>`, `labels_<name>`,
            `known_<name>`.
        protocol: the evaluation protocol that suits it best.
        advised_batch: the engine warns below this batch size.
        labelled: False: it needs no labels at all.
        unlabelled: it learns from pictures without labels beside labelled ones (`data.unlabelled`).
        coupled: True: samples of a batch meet each other (batch norm, batch statistics), so a batch cannot be split into
            micro-batches.
        num_domains: the numbers of domains that it takes, all of one dataset; empty: any, of any number of datasets.
        two_kinds: True: it takes sources of another kind than it makes, such as label maps: pictures x are of `picture.taken`,
            those of its streams, which are `partner`s then, of `picture`.

    The constructor sets:
        updates: in the order of a step.
        abilities: what the trained networks can do.
        phases: where training has several.
        pools: name of a shared tensor -> how many past values of it the engine keeps. The batch then holds
            `pooled_<name>`: for each sample its own value or, at a chance of one half once the pool is full, a past one
            (arXiv:1612.07828, Section 2.3).
        calls_out: the recipe runs a function of the user's; it is then neither compiled nor recorded.

    Networks without an entry in `optimizers` are never trained.
    """

    config_type: ClassVar[type]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    averaged: tuple[str, ...] = ()
    streams: tuple[Stream, ...] = ()
    protocol: ClassVar[str] = "stargan"
    advised_batch: ClassVar[int] = 1
    labelled: ClassVar[bool] = True
    unlabelled: ClassVar[bool] = False
    coupled: bool = False
    num_domains: ClassVar[range] = range(0)
    two_kinds: ClassVar[bool] = False
    calls_out: bool = False
    updates: tuple[Update, ...]
    abilities: Abilities
    phases: tuple[Phase, ...] = (Phase("all"),)
    pools: Mapping[str, int] = {}

    def __init__(self, config: Any, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__()
        self.config = config
        self.space = space
        self.picture = picture
        self.phase = self.phases[-1].name
        wanted = self.num_domains
        if wanted and (space.num_datasets > 1 or len(space.domain_names) not in wanted):
            found, least = ", ".join(space.domain_names) or "none", f"{wanted[0]}{' or more' * (len(wanted) > 1)}"
            raise ConfigError(
                f"{type(self).__name__} translates between {least} domains of one dataset; these data "
                f"have {len(space.domain_names)} in {space.num_datasets}: {found}; give it the folders or rows of {wanted[0]}"
            )

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by name."""
        return dict(self.named_children())

    def optimizers(self) -> Mapping[str, Optimiser]:
        """Return the optimiser of every network that is trained."""
        raise NotImplementedError

    def prepare(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Make every random choice of the step, without gradients.

        Args:
            batch: `labels`, `known`, `dataset`, `position` of the whole batch, over all processes and before it is split
                into micro-batches; on the CPU and without pictures, so that a choice cannot depend on who holds which.
            rng: CPU generator, a function of seed, step and dataset.

        Returns:
            Tensors [N, ...] by name, which the batch then holds as well.
        """
        return {}

    def begin(self, new: bool) -> tuple[str, ...]:
        """Read what training needs beside data and random weights, such as a frozen network's; return what to tell a person.

        Args:
            new: a run's first start; else its weights are those of a checkpoint.

        Raises:
            ConfigError: something that training needs is missing; says what, before training starts.
        """
        return ()

    def enter(self, phase: str) -> None:
        """Begin a phase: `self.phase` tells methods of the recipe which one it is, in training and in the trained model."""
        self.phase = phase

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """Look at the pictures of a step, once and without gradients, for what several of its updates need.

        Args:
            batch: prepared, with pictures, on the device, not yet split into micro-batches.

        Returns:
            Tensors [N, ...] by name, which the batch then holds as well.
        """
        return {}

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """Return by name the tensors [N, ...] that an update `shares`, each the one that the update itself would make.

        The other updates of the step find them in the batch and detach them. They are not there where an update comes alone
        or a batch is divided into micro-batches, whose graphs would all be kept.
        """
        raise NotImplementedError

    def remark(self, terms: Mapping[str, float]) -> str:
        """Return what a person should know of the means that the log shows, by `<update>/<term>`; mostly nothing."""
        return ""

    def completed(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights of a model file, with those that files of earlier versions lack."""
        return weights

    def label_slots(self) -> list[Slot]:
        """Return which slices of parameters belong to labels; parameters without slots do not depend on them.

        Slots of one owner are listed in an order that all owners share.
        """
        return []

    def slots_along(self, parameter: str, axis: int, start: int = 0, *, masked: bool = False) -> list[Slot]:
        """Return the slots of a parameter whose axis runs over the labels from index `start` on.

        Args:
            masked: after the labels come the bits of the mask vector, as in a code.
        """
        owners = [*self.space.names]
        if masked and self.space.num_datasets > 1:
            owners += [f"mask:{name}" for name in self.space.datasets]
        return [Slot(parameter, owner, axis, start + i) for i, owner in enumerate(owners)]

    def slots_within(self, module: str, owner: str) -> list[Slot]:
        """Return the slots of a module, such as a network, all of which belongs to one label."""
        return [Slot(f"{module}.{key}", owner) for key, _ in self.get_submodule(module).named_parameters()]

    def condition(self, target: Batch, source: Tensor | None = None, strength: float | Tensor = 1.0) -> Tensor:
        """Return what `translate` and `generate` are told of a target, by `abilities.told`.

        Args:
            target: `labels` and `known` [N, L], `dataset` [N] of the wanted domains.
            source: labels [N, L] of the pictures, for recipes that are told the difference, and where a strength is not 1.
            strength: of the difference or the change: 1 is the whole of it, 0 none; one for all, or [N, 1] or [N, L].
        """
        told = self.abilities.told
        if told == "code":
            c = self.space.encode(target.labels, target.known, target.dataset)
            if not self.abilities.slides or source is None:
                return c
            own = self.space.encode(source, target.known, target.dataset)
            if isinstance(strength, Tensor) and strength.shape[1] > 1:  # Mask bits stay as they are.
                strength = F.pad(strength, (0, c.shape[1] - strength.shape[1]))
            return own + strength * (c - own)
        if told == "codes":
            assert source is not None
            codes = (self.space.encode(labels, target.known, target.dataset) for labels in (target.labels, source))
            return torch.cat([*codes], dim=1)
        if told == "domain":
            return self.space.domain(target.labels)
        if told == "difference":
            assert source is not None
            return strength * (self.space.shares(target.labels) - self.space.shares(source)) * target.known
        return target.labels[:, :0]

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Translate pictures. Tensors in, tensor out: it is exported and served as it stands.

        Args:
            x: float32 [N, C, H, W] in [-1, 1].
            told: of `condition`.
            s: styles [N, S], where the recipe has them; none: the mean style of the domain.
            masks: [N, 1, h, w] each, in the order of `abilities.masks`; empty: the recipe finds them in x if it can.

        Returns:
            float32 [N, C, H, W], raw: the caller clamps to [-1, 1].
        """
        raise NotImplementedError

    def attend(self, x: Tensor, told: Tensor) -> Tensor:
        """Return how much of each pixel `translate` paints anew, [N, 1, H, W], 0 for none to 1; arguments as there."""
        raise NotImplementedError

    def generate(self, z: Tensor, told: Tensor) -> Tensor:
        """Return pictures [N, C, H, W], raw, from latents z [N, Z], standard normal, and what `condition` says."""
        raise NotImplementedError

    def recognise(self, x: Tensor) -> Tensor:
        """Return what pictures [N, C, H, W] say of each code, in order: logits of a category's values, or a number."""
        raise NotImplementedError

    def classify(self, x: Tensor) -> Tensor:
        """Return raw class logits [N, L] of pictures [N, C, H, W]; what keeps the labels that a target does not name."""
        raise NotImplementedError

    def realness(self, x: Tensor) -> Tensor:
        """Return raw scores [N] of pictures x [N, C, H, W] of the training size; higher ones look more real."""
        raise NotImplementedError

    def draw_style(self, z: Tensor, told: Tensor) -> Tensor:
        """Return styles [N, S] from latents z [N, Z], standard normal, for targets as `condition` says."""
        raise NotImplementedError

    def read_style(self, x: Tensor, told: Tensor) -> Tensor:
        """Return the styles [N, S] of pictures x [N, C, H, W], read as pictures of the domains that `told` names."""
        raise NotImplementedError

    def mean_style(self, told: Tensor) -> Tensor:
        """Return the mean styles [N, S] of the domains that `told` names: what truncation draws styles towards."""
        raise NotImplementedError

    def find_masks(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the masks of pictures x [N, C, H, W], in the order of `abilities.masks`; empty where it cannot find them."""
        return ()

    def mask_by(self, masks: Masks) -> None:
        """Take the masks of pictures from a function; for recipes that carry detail over by masks.

        Raises:
            ConfigError: this recipe, or this model of it, takes no masks.
        """
        raise ConfigError(f"{type(self).__name__} takes no masks")
