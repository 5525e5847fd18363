"""Optimisers with a guard: a step whose gradients are not finite is skipped on the device, and counted there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from asterism.engine.processes import Processes
from asterism.recipes.base import Recipe


class Optimizers:
    """One fused Adam per network, stepped together by update.

    Fused Adam takes a flag on the device (`found_inf`) that turns its step into nothing, its step counter included, so
    skipping needs no synchronisation.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.by_network: dict[str, torch.optim.Adam] = {}
        self.base_rates: dict[str, float] = {}
        for name, adam in recipe.optimizers().items():
            parameters = list(recipe.networks[name].parameters())
            self.by_network[name] = torch.optim.Adam(
                parameters, lr=adam.lr, betas=adam.betas, weight_decay=adam.weight_decay, fused=True
            )
            self.base_rates[name] = adam.lr
        self.skipped = torch.zeros((), device=device)
        self.skipped_in_a_row = torch.zeros((), device=device)
        self.worst_row = torch.zeros((), device=device)

    def set_rates(self, factor: float) -> dict[str, float]:
        """Set every learning rate to its base times `factor`; return them by network."""
        rates = {name: base * factor for name, base in self.base_rates.items()}
        for name, optimizer in self.by_network.items():
            optimizer.param_groups[0]["lr"] = rates[name]
        return rates

    def step(self, names: Sequence[str], processes: Processes) -> None:
        """Add the gradients of the named networks over processes, step all of them or none, and clear the gradients."""
        parameters = [p for name in names for p in self.by_network[name].param_groups[0]["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        processes.sum_(gradients)
        bad = (~torch.isfinite(torch.nn.utils.get_total_norm(gradients))).float()
        for name in names:
            self.by_network[name].grad_scale, self.by_network[name].found_inf = None, bad
            self.by_network[name].step()
        for parameter in parameters:
            parameter.grad = None
        self.skipped += bad
        self.skipped_in_a_row = (self.skipped_in_a_row + bad) * bad
        self.worst_row = torch.maximum(self.worst_row, self.skipped_in_a_row)

    def state_dict(self) -> dict[str, Any]:
        """Return moments, step counts and the count of skipped steps."""
        return {
            "adam": {name: optimizer.state_dict() for name, optimizer in self.by_network.items()},
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        for name, optimizer in self.by_network.items():
            optimizer.load_state_dict(state["adam"][name])
        self.skipped = state["skipped"].to(self.skipped.device)
        self.skipped_in_a_row = state["skipped_in_a_row"].to(self.skipped.device)


def rate_factor(step: int, steps: int, decay_steps: int) -> float:
    """Return the learning rate's factor at a step: 1, then linear to 0 over the last `decay_steps`.

    A function of the step alone (nothing accumulates): min(1, (steps - step) / decay_steps) for 0 <= step < steps.
    StarGAN (arXiv:1711.09020), Section 5.3.
    """
    return min(1.0, (steps - step) / decay_steps) if decay_steps else 1.0


def freeze_others(recipe: Recipe, trained: Sequence[str]) -> None:
    """Let exactly the trained networks' parameters collect gradients."""
    for name, network in recipe.networks.items():
        network.requires_grad_(name in trained)
