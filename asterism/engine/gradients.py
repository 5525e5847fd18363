"""Gradients of several processes are added in messages that leave while the backward pass still makes others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from asterism.engine.distributed import Processes, others

MESSAGE_BYTES = 25 * 2**20
"""About the size of a message: each costs a delay of its own, and a larger one leaves later (arXiv:2006.15704)."""


class GradientSums:
    """Adds the gradients of an update over all processes.

    A backward pass makes the last layers' gradients first, so messages hold parameters from the last on, and leave in this
    order everywhere. Rounding depends on it: learned from the first step, as by DistributedDataParallel, it would differ in a
    resumed run. Nor does that class fit updates of parts of a recipe by several passes.
    """

    def __init__(self, parameters: Mapping[str, Sequence[nn.Parameter]], processes: Processes) -> None:
        self.parameters = parameters if processes.world > 1 else {}
        self.begin((), 0)
        for parameter in (p for network in self.parameters.values() for p in network):
            parameter.requires_grad_().register_post_accumulate_grad_hook(self._add)

    def begin(self, names: Sequence[str], passes: int) -> None:
        """Begin an update of these networks: a gradient is complete after so many backward passes, or at `finish`."""
        own = [p for name in names for p in reversed(self.parameters.get(name, ()))]
        ends = zip(accumulate(p.nbytes for p in own), own, strict=True)
        self.messages = [[p for _, p in part] for _, part in groupby(ends, lambda end: end[0] // MESSAGE_BYTES)]
        self.sent: list[tuple[Tensor, Any]] = []
        self.left: dict[Tensor, int] = dict.fromkeys(own, passes)

    def _add(self, parameter: Tensor) -> None:
        if parameter in self.left:
            self.left[parameter] -= 1
        while len(self.sent) < len(self.messages) and not any(self.left[p] for p in self.messages[len(self.sent)]):
            self._send(self.messages[len(self.sent)])

    def _send(self, message: list[nn.Parameter]) -> None:
        """Send gradients, zeros where there is none, and which there are, as ones and zeros."""
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in message]
        made = [part.new_full((1,), p.grad is not None) for p, part in zip(message, parts, strict=True)]
        flat = torch.cat(parts + made)
        with others():
            self.sent.append((flat, dist.all_reduce(flat, async_op=True)))

    def finish(self) -> None:
        """Put the sums in the place of the gradients; a parameter that no process has a gradient of is left without."""
        for message in self.messages[len(self.sent) :]:
            self._send(message)
        for message, (flat, work) in zip(self.messages, self.sent, strict=True):
            with others():
                work.wait()
            *sums, made = flat.split([*(p.numel() for p in message), len(message)])
            for parameter, total, count in zip(message, sums, made, strict=True):
                if parameter.grad is not None:
                    parameter.grad.copy_(total.view_as(parameter))
                elif count:  # Only here the device is waited for.
                    parameter.grad = total.view_as(parameter).clone()
