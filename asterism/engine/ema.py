"""Averaged weights (EMA): what previews, evaluation and the model file use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from asterism.recipes.base import Recipe


def decay(images: int, batch: int, half_life: float, ramp: float) -> float:
    """Return the share of the average that a step keeps: 0.5 ** (batch / half-life in pictures).

    Args:
        images: pictures seen so far, this step's included.
        batch: pictures of this step.
        half_life: thousand pictures after which a weight counts half; survives a change of batch size.
        ramp: the half-life is at most this share of `images`, so that early averages are not the initial weights;
            0 uses the full half-life from the start.
    """
    pictures = min(half_life * 1000, images * ramp) if ramp else half_life * 1000
    return 0.5 ** (batch / max(pictures, 1e-8))


class Average:
    """Exponential moving averages of the networks that translation uses, starting from their initial weights."""

    def __init__(self, recipe: Recipe, half_life: float, ramp: float) -> None:
        names = recipe.averaged if half_life else ()
        states = ((n, recipe.networks[n].state_dict(keep_vars=True)) for n in names)
        self.live = {f"{n}.{k}": t for n, state in states for k, t in state.items() if t.is_floating_point()}
        self.weights = {k: t.detach().clone() for k, t in self.live.items()}
        self.half_life, self.ramp = half_life, ramp

    @torch.no_grad()
    def update(self, images: int, batch: int) -> None:
        """Move the averages towards the live weights after a step of `batch` pictures, `images` in all."""
        if self.weights:
            keep = decay(images, batch, self.half_life, self.ramp)
            torch._foreach_lerp_(list(self.weights.values()), [t.detach() for t in self.live.values()], 1 - keep)

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor]) -> None:
        """Take the averages of a checkpoint."""
        self._put(weights, self.weights)

    @torch.no_grad()
    def restart(self, networks: Collection[str]) -> None:
        """Let the averages of these networks start anew from their live weights."""
        self._put(self.live, {name: t for name, t in self.weights.items() if name.partition(".")[0] in networks})

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[None]:
        """Put the averages in place of the live weights for the duration."""
        live = {name: tensor.detach().clone() for name, tensor in self.live.items()}
        try:
            self._put(self.weights, self.live)
            yield
        finally:
            self._put(live, self.live)

    @staticmethod
    def _put(weights: Mapping[str, Tensor], places: Mapping[str, Tensor]) -> None:
        for name, tensor in places.items():
            tensor.copy_(weights[name])
