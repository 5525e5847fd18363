"""Generate pictures from latents.

model = asterism.load("runs/faces")
model.generate(count=4)                          # a list of PIL images
model.generate(seeds=(7, 9), to="Blond_Hair")    # for recipes that are told labels
model.generate(count=4, codes={"digit": 3})      # for recipes whose latents have codes

A seed is a latent, drawn by a random generator of its own: the same seed is the same picture in any batch.

Shapes: N pictures, Z latent size, C channels, h x w pixels of the model, L labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.inference.codes import Chosen, written
from asterism.inference.placed import PlacedModel
from asterism.labels import LabelError
from asterism.recipes import render

COUNT = 16
"""Default number of pictures."""

MOST = 2**20
"""Seeds that two ends may stand for."""


def chosen_seeds(count: int | None, seeds: Sequence[int] | None) -> Sequence[int]:
    """Return the seeds that a caller means by their number or by themselves.

    Raises:
        ConfigError: both are given, none is left, or one that PyTorch does not take.
    """
    if count is not None and seeds is not None:
        raise ConfigError("give the number of pictures or their seeds, not both")
    chosen = range(COUNT if count is None else count) if seeds is None else seeds
    if not chosen:
        raise ConfigError(f"the number of pictures is {len(chosen) if count is None else count}; expected at least 1")
    for seed in (min(chosen), max(chosen)):
        if not -(2**63) <= seed < 2**63:
            raise ConfigError(f"a seed is {seed}; expected at most {2**63 - 1}")
    return chosen


def read_seeds(words: str) -> list[int]:
    """Read seeds from words: `7`, `1,5,9` or `0..31`, both ends included.

    Raises:
        ConfigError: other words.
    """
    found: list[int] = []
    for part in words.split(","):
        first, dots, last = part.partition("..")
        try:
            ends = int(first), int(last if dots else first)
        except ValueError:
            raise ConfigError(f"seeds are {words!r}; expected whole numbers such as 7, 1,5,9 or 0..31") from None
        if not 0 <= ends[1] - ends[0] < MOST:
            raise ConfigError(f"seeds {part.strip()}: expected the smaller end first, and at most {MOST:,} of them")
        found += range(ends[0], ends[1] + 1)
    return found


def told_of(placed: PlacedModel, to: str | Mapping[str, Any] | None) -> Tensor:
    """Return what the model is told of a target, [1, ...] on its device.

    Raises:
        ModelError: the model does not generate.
        LabelError: no target for a model that is told labels, a target for one that is not, an unknown label, or labels of
            several datasets.
    """
    model, device = placed.model, placed.machine.device
    model.require("generates")
    if model.recipe.abilities.told == "none":
        if to is not None:
            raise LabelError(f"this model of {model.name} is told no labels: leave out the target, {to}")
        return torch.zeros(1, 0, device=device)
    if to is None:
        raise LabelError(f"this model of {model.name} is told labels: name a target (--to, to=) of {placed.labels}")
    edits = placed.parse(to)
    if len(edits) > 1:
        raise LabelError(f"a generated picture is of one dataset, and {to} names labels of {len(edits)}")
    labels, known, dataset = edits[0].apply(model.space, torch.zeros(1, model.space.num_labels, device=device))
    return model.recipe.condition(Batch(labels=labels, known=known, dataset=dataset), torch.zeros_like(labels))


def latents(seeds: Sequence[int], length: int) -> Tensor:
    """Return the latents [N, Z] of seeds, standard normal, on the CPU."""
    return torch.cat([torch.randn(1, length, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def pictures(
    placed: PlacedModel, seeds: Sequence[int], told: Tensor, batch_size: int = 16, codes: Chosen = ()
) -> Iterator[Tensor]:
    """Make the picture of each seed, batch by batch.

    Args:
        told: [1, ...], from `told_of`.
        codes: from `chosen_codes`.

    Yields:
        float32 [C, h, w] in [-1, 1], on the CPU.

    Raises:
        ConfigError: a batch size below 1.
    """
    yield from decoded(placed, written(latents(seeds, placed.recipe.abilities.latent), codes), told, batch_size)


def decoded(placed: PlacedModel, z: Tensor, told: Tensor, batch_size: int = 16) -> Iterator[Tensor]:
    """Make the picture of each latent of z [N, Z], batch by batch; as `pictures` makes those of seeds.

    Raises:
        ConfigError: a batch size below 1.
    """
    check_batch_size(batch_size)
    machine, recipe = placed.machine, placed.recipe
    for some in z.split(batch_size):
        with torch.no_grad(), machine.backend_flags(), machine.autocast():
            y = render.generate(recipe, some.to(machine.device), told.expand(len(some), *told.shape[1:]))
        yield from y.cpu()


def check_batch_size(batch_size: int) -> None:
    """Raise ConfigError for a batch size below 1."""
    if batch_size < 1:
        raise ConfigError(f"the batch size is {batch_size}; expected at least 1")
