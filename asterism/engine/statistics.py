"""Means of the terms between two log lines, kept on the device until they are printed."""

from __future__ import annotations

import torch
from torch import Tensor

from asterism.engine.distributed import Processes
from asterism.recipes.base import Terms


class Statistics:
    """Sum and count of each term, [2] by name, changed in place; nothing is read back before `drain`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.totals: dict[str, Tensor] = {}

    def add(self, update: str, terms: Terms) -> None:
        """Count every sample's value of every term of an update."""
        for name, (_, value) in terms.items():
            key = f"{update}/{name}"
            if key not in self.totals:
                self.totals[key] = torch.zeros(2, dtype=value.dtype, device=self.device)
            self.totals[key][0] += value.detach().sum()
            self.totals[key][1] += len(value)

    def drain(self, processes: Processes) -> dict[str, float]:
        """Return the means over all processes and start anew; the one place that waits for the device."""
        if not self.totals:
            return {}
        table = processes.sum_(torch.stack(list(self.totals.values())))
        torch._foreach_zero_(list(self.totals.values()))
        return {name: total / count for name, (total, count) in zip(self.totals, table.tolist(), strict=True) if count}
