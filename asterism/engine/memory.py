"""Memory: free device memory, activation checkpointing, and settings that fit after running out."""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from asterism.config import TrainConfig
from asterism.networks.batch_norm import FrozenStatistics
from asterism.recipes.base import Recipe

NOTHING_FITS = (
    "no setting that keeps the step unchanged makes it fit: choose a smaller --train.batch_size, a smaller --data.size or "
    "narrower networks (asterism list RECIPE shows the widths), or free memory"
)


def recompute_activations(recipe: Recipe, again: bool) -> None:
    """With `again`, let each call of a network keep its inputs alone; the rest is computed again (arXiv:1604.06174).

    At any time one call's activations exist instead of those of every call of the update. The result is the same: nothing in
    the networks is random. Without it, calls keep what they need, as they are written.
    """
    for network in recipe.networks.values():
        for method in getattr(network, "passes", ("forward",)):
            network.__dict__.pop(method, None)  # The wrapper of an earlier call, in front of the class's own.
            if again:
                network.__dict__[method] = partial(_recomputed, getattr(network, method))


def _recomputed(forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    return checkpoint(
        forward,
        *arguments,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (contextlib.nullcontext(), FrozenStatistics()),  # Of the first pass, and of the repeated one.
        **named,
    )


def keys_that_fit(config: TrainConfig, divides: bool, fits: Callable[[int, bool], bool]) -> str | None:
    """Find the least change of a run that does not fit in memory by which the same step fits.

    Args:
        divides: whether a batch may be divided into more micro-batches.
        fits: says whether the step fits with `accumulate` and `checkpoint_activations` at these values. What fits in parts
            fits in more parts.

    Returns:
        The keys to give, fewer parts first and activations kept where that is possible; None if no such change fits.
    """
    own, most = config.checkpoint_activations, config.batch_size if divides else config.accumulate
    for again in (False, True)[own:]:
        tries = range(config.accumulate + (again == own), most + 1)
        place = bisect_left(tries, True, key=lambda parts: fits(parts, again))
        if place < len(tries):
            keys = [f"--train.accumulate {tries[place]}"] if tries[place] > config.accumulate else []
            return " ".join(keys + ["--train.checkpoint_activations yes"] * (again and not own))
    return None
