"""Optimisers that skip steps with non-finite gradients, and count them, on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from asterism.recipes.base import SGD, Adam, Recipe, RMSprop


class Optimizers:
    """One optimiser per network, stepped together by update.

    Fused Adam takes a flag on the device (`found_inf`) that turns its step into nothing, its step counter included, so
    skipping needs no synchronisation. It sees every parameter as a vector in the order of its memory: of tensors with
    several dimensions, the CPU's kernel copies those whose layout is channels last, and steps wrongly without a word where
    parameter, gradient and moments differ in layout (PyTorch 2.13). RMSprop has no such flag, and fused SGD spoils its
    momentum when its first step is skipped: their skipped steps are taken back, on the device too.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.device = device
        self.settings = dict(recipe.optimizers())
        self.parameters = {name: list(recipe.networks[name].parameters()) for name in self.settings}
        # On the device, where a recorded update reads them.
        self.rates = {name: torch.tensor(own.lr, device=device) for name, own in self.settings.items()}
        self.by_network = {name: self._make(name) for name in self.settings}
        self.skipped, self.skipped_in_a_row, self.worst_row = (torch.zeros((), device=device) for _ in range(3))

    def _make(self, name: str) -> torch.optim.Optimizer:
        """Return the optimiser of a network, new, over its parameters as vectors."""
        own = self.settings[name]
        vectors = [nn.Parameter(vector(p.detach(), p)) for p in self.parameters[name]]
        on_device = self.device.type == "cuda"
        kind, how = {
            Adam: (torch.optim.Adam, {"fused": True, "capturable": on_device}),
            RMSprop: (torch.optim.RMSprop, {"foreach": on_device, "capturable": on_device}),
            SGD: (torch.optim.SGD, {"foreach": True}),
        }[type(own)]
        declared = {key: value for key, value in vars(own).items() if key not in ("lr", "clip")}  # Named as PyTorch names them.
        return kind(vectors, lr=self.rates[name], **declared, **how)

    def restart(self, names: Sequence[str]) -> None:
        """Forget the moments of these networks."""
        self.by_network |= {name: self._make(name) for name in names}

    def set_rates(self, factor: float) -> dict[str, float]:
        """Set every learning rate to its base times `factor`; return them by network."""
        rates = {name: own.lr * factor for name, own in self.settings.items()}
        for name, rate in rates.items():
            self.rates[name].fill_(rate)
        return rates

    @torch.no_grad()
    def clamp(self, names: Sequence[str], bound: float) -> None:
        """Clamp the weights of the named networks to plus or minus `bound`."""
        for name in names:
            for parameter in self.parameters[name]:
                parameter.clamp_(-bound, bound)

    def step(self, names: Sequence[str]) -> None:
        """Step all of the named networks or none, and clear their gradients."""
        parameters = [p for name in names for p in self.parameters[name]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        bad = (~torch.isfinite(torch.nn.utils.get_total_norm(gradients))).float()
        for name in names:
            if (clip := self.settings[name].clip) is not None:
                torch.nn.utils.clip_grad_norm_(self.parameters[name], clip, foreach=True)
            for parameter, stepped in zip(self.parameters[name], self.by_network[name].param_groups[0]["params"], strict=True):
                stepped.grad = None if parameter.grad is None else vector(parameter.grad, parameter)
            if isinstance(self.settings[name], Adam):
                self.by_network[name].found_inf = bad  # type: ignore[attr-defined]
                self.by_network[name].step()
            else:
                _step_or_not(self.by_network[name], bad)
            self.by_network[name].zero_grad()
        for parameter in parameters:
            parameter.grad = None
        torch.autograd.graph.increment_version(parameters)  # Written through other tensors: what is kept of them is outdated.
        self.skipped += bad
        self.skipped_in_a_row.add_(bad).mul_(bad)
        torch.maximum(self.worst_row, self.skipped_in_a_row, out=self.worst_row)

    def state_dict(self) -> dict[str, Any]:
        """Return moments, step counts and the count of skipped steps."""
        moments = {name: self._moments(name, own.state_dict(), tensor_of) for name, own in self.by_network.items()}
        return {"adam": moments, "skipped": self.skipped, "skipped_in_a_row": self.skipped_in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        for name, optimizer in self.by_network.items():
            moments = self._moments(name, state["adam"][name], vector)["state"]
            optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
            optimizer.param_groups[0]["lr"] = self.rates[name]
        self.skipped.copy_(state["skipped"])
        self.skipped_in_a_row.copy_(state["skipped_in_a_row"])

    def _moments(self, name: str, state: dict[str, Any], convert: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Any]:
        """Return the state of a network's optimiser with the moments of each parameter converted; step counts stay."""

        def converted(parameter: Tensor, values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {k: v if k == "step" or v is None else convert(v, parameter) for k, v in values.items()}

        return state | {"state": {i: converted(self.parameters[name][i], values) for i, values in state["state"].items()}}


@torch.no_grad()
def _step_or_not(optimizer: torch.optim.Optimizer, bad: Tensor) -> None:
    """Step, and take the step back on the device where `bad` is 1."""
    parameters = optimizer.param_groups[0]["params"]
    before = [p.clone() for p in parameters]
    states = [{k: v.clone() for k, v in optimizer.state[p].items() if v is not None} for p in parameters]
    optimizer.step()
    for parameter, value, state in zip(parameters, before, states, strict=True):
        parameter.copy_(torch.where(bad > 0, value, parameter))
        for key, tensor in optimizer.state[parameter].items():
            if tensor is None:
                continue
            old = state.get(key, torch.zeros_like(tensor))  # Made by this step, which starts from zeros.
            tensor.copy_(torch.where(bad.to(tensor.device) > 0, old, tensor))


def vector(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Return a tensor of a parameter's shape as a vector in the order of the parameter's memory, a view where it can be."""
    last = parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    return (tensor.permute(0, 2, 3, 1) if last else tensor).reshape(-1)


def tensor_of(values: Tensor, parameter: Tensor) -> Tensor:
    """Return what `vector` made a vector of, in the parameter's shape and layout."""
    return torch.empty_like(parameter).copy_(values.as_strided(parameter.shape, parameter.stride()))


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
