"""Gradients of several processes are added in messages that leave while the backward pass still makes others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from asterism.engine.distributed import Processes, others

MESSAGE_BYTES = 25 * 2**20
"""Of which size messages are at least: each costs a delay of its own, and a larger one leaves later (arXiv:2006.15704)."""


class GradientSums:
    """Adds the gradients of an update over all processes.

    A backward pass makes the gradients of the last layers first, so messages hold a network's parameters from its last on.
    They leave in this order in all processes, and who adds first to whom depends on it, hence rounding does: it is a
    function of the networks alone, and not learned from the first step, or a resumed run would round in another way.
    PyTorch's DistributedDataParallel has one such order per wrapped module, and expects one forward and one backward pass of
    the whole of it per step; updates train parts of a recipe, by several passes.

    Args:
        parameters: of each network that is trained.
    """

    def __init__(self, parameters: Mapping[str, Sequence[nn.Parameter]], processes: Processes) -> None:
        self.parameters, self.world = parameters, processes.world
        self.sent: list[tuple[Tensor, Any]] = []
        self.messages: list[list[nn.Parameter]] = []  # Of the update whose last backward pass has begun.
        for parameter in (p for network in parameters.values() for p in network if self.world > 1):
            parameter.register_post_accumulate_grad_hook(self._made)

    def begin(self, names: Sequence[str]) -> None:
        """From now on a gradient of these networks is complete when a backward pass has added to it."""
        self.sent, self.messages, size = [], [], MESSAGE_BYTES
        for parameter in (p for name in names for p in reversed(self.parameters[name])):
            if size >= MESSAGE_BYTES:
                self.messages.append([])
                size = 0
            self.messages[-1].append(parameter)
            size += parameter.nbytes
        self.awaited = [set(map(id, message)) for message in self.messages]

    def _made(self, parameter: Tensor) -> None:
        for awaited in self.awaited if self.messages else ():
            awaited.discard(id(parameter))
        while len(self.sent) < len(self.messages) and not self.awaited[len(self.sent)]:
            self._send()

    def _send(self) -> None:
        """Send the next message: its gradients, zeros where there is none, and which there are, as ones and zeros."""
        message = self.messages[len(self.sent)]
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in message]
        made = [torch.full_like(part[:1], p.grad is not None) for p, part in zip(message, parts, strict=True)]
        flat = torch.cat(parts + made)
        with others():
            self.sent.append((flat, dist.all_reduce(flat, async_op=True)))

    def finish(self, names: Sequence[str]) -> None:
        """Put the sums in the place of the gradients; a parameter that no process has a gradient of is left without."""
        if self.world == 1:
            return
        if not self.messages:
            self.begin(names)
        while len(self.sent) < len(self.messages):
            self._send()
        for message, (flat, work) in zip(self.messages, self.sent, strict=True):
            with others():
                work.wait()
            *sums, made = flat.split([*(p.numel() for p in message), len(message)])
            for parameter, total, count in zip(message, sums, made, strict=True):
                if parameter.grad is not None:
                    parameter.grad.copy_(total.view_as(parameter))
                elif count:  # Only here the device is waited for.
                    parameter.grad = total.view_as(parameter).clone()
        self.messages = []
