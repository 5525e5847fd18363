"""Memory: what a device has, activations computed twice instead of kept, and what still fits after running out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from asterism.engine.compilation import CompiledTerms
from asterism.errors import ran_out
from asterism.networks.batch_norm import frozen_statistics
from asterism.recipes.base import Recipe

if TYPE_CHECKING:
    from asterism.engine.trainer import Trainer


def available(device: torch.device) -> int | None:
    """Return the bytes that a device has free, those that PyTorch holds unused included; none where nothing tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


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
        context_fn=lambda: (contextlib.nullcontext(), frozen_statistics()),  # Of the first pass, and of the repeated one.
        **named,
    )


def what_fits(trainer: Trainer, drawn: list[Any]) -> str:
    """Find by trying what makes the step fit in which memory ran out, and say which keys to give.

    Args:
        drawn: the step's batches, as the loader gave them; nothing is stepped, and gradients are cleared.
    """
    if not drawn:
        return "Free some, then run the same command again"
    if trainer.recipe.coupled:  # Its batches are not divided.
        return f"Take a smaller --train.batch_size than {trainer.config.batch_size}, or a smaller --data.size"
    # Not compiled: each size tried would take minutes.
    trainer.tables = CompiledTerms(trainer.recipe, trainer.machine.device, "off")
    trainer.recorder = None  # Recordings hold memory.
    batch_size = trainer.config.batch_size
    tries = [(trainer.config.accumulate * 2**n, False) for n in range(1, batch_size.bit_length() + 1)]
    tries = [(min(parts, batch_size), again) for parts, again in tries if parts < 2 * batch_size]
    if not trainer.config.checkpoint_activations:
        tries.append((batch_size, True))
    for parts, again in tries:
        if again:
            recompute_activations(trainer.recipe, again)
        if _fits(trainer, drawn, parts):
            keys = f"--train.accumulate {parts}" + (" --train.checkpoint_activations yes" if again else "")
            return (
                f"Batches of {batch_size} in {parts} parts fit (tried): the same command with {keys} computes the same step "
                "and resumes from the last checkpoint"
            )
    return (
        "Not even one picture at a time fits: choose a smaller --data.size or narrower networks (asterism list shows the "
        "recipe's widths), or free memory"
    )


def _fits(trainer: Trainer, drawn: list[Any], parts: int) -> bool:
    """Differentiate the first micro-batch of every update, divided in `parts`, without stepping."""
    if trainer.machine.device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        for whole, stored in drawn:
            batch = trainer.prepare(whole, stored)
            micro = batch.rows(0, -(-len(batch) // parts))
            for update in trainer.recipe.updates:
                trainer.differentiate(update, micro, len(whole), torch.zeros((), device=trainer.machine.device), lazy=True)
        return True
    except RuntimeError as error:
        if not ran_out(error):
            raise
        return False
    finally:
        trainer.recipe.zero_grad(set_to_none=True)
