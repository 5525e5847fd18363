"""Means of the terms between two lines of the log, kept on the device until they are printed."""

from __future__ import annotations

import torch
from torch import Tensor

from asterism.engine.processes import Processes
from asterism.recipes.base import Terms


class Statistics:
    """Sums and counts by name; nothing is read back before `drain`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, update: str, terms: Terms) -> None:
        """Count every sample's value of every term of an update."""
        for name, (_, value) in terms.items():
            key = f"{update}/{name}"
            self.sums[key] = self.sums.get(key, 0) + value.detach().sum()
            self.counts[key] = self.counts.get(key, 0) + len(value)

    def drain(self, processes: Processes) -> dict[str, float]:
        """Return the means over all processes and start anew; the one place that waits for the device."""
        if not self.sums:
            return {}
        table = torch.stack(
            [torch.stack(list(self.sums.values())), torch.tensor(list(self.counts.values()), device=self.device)]
        )
        processes.sum_([table])
        means = (table[0] / table[1]).tolist()
        names, self.sums, self.counts = list(self.sums), {}, {}
        return dict(zip(names, means, strict=True))
