"""The recipe contract: what one published system declares and what the engine does with it.

A recipe is one file. It holds the networks, the configuration with its presets, the updates of one training step in
order, and for each update a method `<update>_terms` that returns the table of weighted terms. That table is the paper's
objective: the engine sums it, logs it and differentiates it.

A recipe never calls backward or step, moves tensors between devices, reads a value back, chooses a precision, prints or
communicates. An update is a pure function of the weights, the prepared batch and the training progress: every random
choice is made in `prepare`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelSpace

Masks = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From pictures [N, C, H, W] in [-1, 1] to two masks [N, 1, h, w] in [0, 1] of any size."""

Terms = dict[str, tuple[float | Tensor, Tensor]]
"""Name -> (weight, value [N] float32, or float64 in float64); the loss is the sum of weight x mean(value)."""


@dataclass(frozen=True)
class Update:
    """One optimisation step of some networks.

    Args:
        name: its terms are the recipe's method `<name>_terms`.
        trains: the networks that it changes.
        every: n fires on the n-th, 2n-th, ... training step.
        lazy: (name, k) adds the table of `<name>_terms` to every k-th step, k times as heavy: a regulariser that is too
            costly for each step (arXiv:1912.04958, Section 3.1).
        shares: it begins with tensors that earlier updates of the same step need as well, and the networks that make them
            are not trained in between: `share` makes them once, with their graph, and the batch holds them.
    """

    name: str
    trains: tuple[str, ...]
    every: int = 1
    lazy: tuple[str, int] | None = None
    shares: bool = False


@dataclass(frozen=True)
class Adam:
    """The optimiser of one network: Adam (arXiv:1412.6980) with its published settings."""

    lr: float
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0


class Recipe(nn.Module):
    """Base of all recipes: the networks are its direct children.

    Subclasses set `config_type` (a frozen dataclass whose defaults are the paper's), `presets` (name -> overrides with the
    sections recipe, data, train) and `averaged` (networks that the model is used for, so that the engine keeps their EMA).
    A recipe that only judges pictures sets `translates` to False. One that learns from reference pictures says how many it
    takes per sample: the batch then holds `x_ref`, `x_ref2`, ..., all of a domain drawn for the sample, and `labels_ref`.
    One whose targets have styles sets `styled`, and makes them by `draw_style`, `read_style` and `mean_style`.
    Networks without an entry in `optimizers` are never trained; they belong to translation. Results are known to suffer from
    batches smaller than `advised_batch`, which the engine says. One that calls a function of the caller's, which may do
    anything, sets `calls_out`.
    `updates` is set by the constructor, since how often an update fires may be configured.
    """

    config_type: ClassVar[type]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    averaged: ClassVar[tuple[str, ...]] = ()
    translates: ClassVar[bool] = True
    references: ClassVar[int] = 0
    styled: ClassVar[bool] = False
    advised_batch: ClassVar[int] = 1
    calls_out: bool = False
    updates: tuple[Update, ...]

    def __init__(self, config: Any, space: LabelSpace, picture: PictureFormat) -> None:
        super().__init__()
        self.config = config
        self.space = space
        self.picture = picture

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by name."""
        return dict(self.named_children())

    def optimizers(self) -> dict[str, Adam]:
        """Return the optimiser settings of every network that is trained."""
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
        raise NotImplementedError

    def begin(self, new: bool) -> None:
        """Read what training needs beside data and random weights, such as a frozen network's published weights.

        Args:
            new: a run's first start; else its weights are those of a checkpoint.

        Raises:
            ConfigError: something that training needs is missing; says what, before training starts.
        """

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """StyleSource at the pictures of a step, once and without gradients, for what several of its updates need.

        Args:
            batch: prepared, with pictures, on the device, not yet split into micro-batches.

        Returns:
            Tensors [N, ...] by name, which the batch then holds as well.
        """
        return {}

    def mask_by(self, masks: Masks) -> None:
        """Take the masks of pictures from a function; for recipes that carry detail over by masks.

        Raises:
            ConfigError: this recipe, or this model of it, takes no masks.
        """
        raise ConfigError(f"{type(self).__name__} takes no masks")

    def share(self, batch: Batch) -> dict[str, Tensor]:
        """Return by name the tensors [N, ...] that an update `shares`, each the one that the update itself would make.

        Earlier updates of the step find them in the batch and detach them. They are not there where an update comes alone
        or a batch is divided into micro-batches, whose graphs would all be kept.
        """
        raise NotImplementedError

    def translate(self, x: Tensor, target: Batch) -> Tensor:
        """Translate pictures.

        Args:
            x: [N, C, H, W] in [-1, 1], in the type of the weights: float32, or float64 in float64.
            target: `labels` [N, L], `known` [N, L], `dataset` [N] of the wanted domains; for a styled recipe also `s`
                [N, S], else it takes the domain's mean style; for one that takes masks, `mask_face` and `mask_core`
                [N, 1, h, w] where they are given.

        Returns:
            [N, C, H, W] in the type of x, raw: the caller clamps to [-1, 1].
        """
        raise NotImplementedError

    def classify(self, x: Tensor) -> Tensor:
        """Return raw class logits [N, L] of pictures [N, C, H, W]; what keeps the labels that a target does not name."""
        raise NotImplementedError(f"{type(self).__name__} has no class head")

    @property
    def latent_dim(self) -> int:
        """Z, the length of the latents that `draw_style` takes."""
        raise NotImplementedError

    def draw_style(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return styles [N, S] from latents z [N, Z], standard normal, in the domains of labels [N, L]."""
        raise NotImplementedError

    def read_style(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the styles [N, S] of pictures x [N, C, H, W], read as pictures of the domains of labels [N, L]."""
        raise NotImplementedError

    def mean_style(self, labels: Tensor) -> Tensor:
        """Return the mean styles [N, S] of the domains of labels [N, L]: what truncation draws styles towards."""
        raise NotImplementedError

    @property
    def classifies(self) -> bool:
        """Whether the recipe has a class head."""
        return type(self).classify is not Recipe.classify

    @property
    def masked(self) -> bool:
        """Whether `translate` depends on masks that are made from the picture, by the recipe's `observe` or by the caller."""
        return False

    @property
    def side_multiple(self) -> int | None:
        """Of what `translate` takes any height and width to be multiples; none where it takes those of training only."""
        return None

    def label_parts(self) -> dict[int, list[tuple[str, int | None]]]:
        """Say which parameters belong to one label each, so that a model can move to other labels.

        Returns:
            Label index -> its parameters in an order that all labels share: (name, its row, or none for the whole).
        """
        return {}

    def label_axes(self) -> dict[str, tuple[int, int, bool]]:
        """Say which parameters have an axis that runs over labels, so that a model can move to more labels.

        Returns:
            Parameter name -> (axis, first index, whether the labels are followed by mask bits).
        """
        return {}
