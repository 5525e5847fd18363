"""Pools: a history of past fakes that the discriminator sees again (arXiv:1612.07828, Section 2.3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from asterism.data.batch import Batch
from asterism.engine.distributed import Processes
from asterism.machine import at_least_float32


class Pools:
    """Keeps past values of shared tensors, by name.

    The first values fill a pool and pass as they are. Then, at a chance of one half, a value takes the place of a random
    past one, which passes instead of it. Which ones is a function of seed and step, so that a resumed run goes on exactly.

    Args:
        sizes: name of a shared tensor -> how many past values are kept; 0 lets every value pass as it is.
        seed: of the run.
        processes: each keeps the same pools; values are exchanged between them.
    """

    def __init__(self, sizes: Mapping[str, int], seed: int, processes: Processes) -> None:
        self.sizes, self.seed, self.processes = sizes, seed, processes
        self.kept: dict[str, Tensor] = {}

    def plan(self, first: int, count: int) -> dict[str, Tensor]:
        """Return, for each pool and `count` values of which the first is the `first`-th of the run, what happens to them.

        Returns:
            `<name>_slot` int64 [count], `<name>_store` and `<name>_swap` bool [count], which `exchange` reads.
        """
        plans: dict[str, Tensor] = {}
        for number, (name, size) in enumerate(self.sizes.items()):
            rng = torch.Generator().manual_seed((self.seed << 20) + 7919 * first + number + 1)
            full = torch.arange(first, first + count) >= size
            swap = full & (torch.rand(count, generator=rng) < 0.5) & (size > 0)
            slot = torch.randint(max(size, 1), (count,), generator=rng)
            slot = torch.where(full, slot, torch.arange(first, first + count))
            plans |= {f"{name}_slot": slot, f"{name}_store": swap | ~full, f"{name}_swap": swap}
        return plans

    def exchange(self, shared: Batch, plan: Batch) -> dict[str, Tensor]:
        """Return `pooled_<name>` [n, ...] for each pool, without gradients, and keep what the plan says.

        Args:
            shared: holds this process's values [n, ...] of every pool.
            plan: of all processes' values, as `plan` made it.
        """
        result = {}
        for name, size in self.sizes.items():
            own = at_least_float32(getattr(shared, name).detach())
            if size:
                slot, store, swap = (getattr(plan, f"{name}_{what}") for what in ("slot", "store", "swap"))
                mine = slice(*self.processes.rows(len(slot)))
                values = own.new_zeros(len(slot), *own.shape[1:])
                values[mine] = own
                self.processes.sum_(values)
                if name not in self.kept:
                    self.kept[name] = values.new_zeros(size, *values.shape[1:])
                pool = self.kept[name]
                passed = []
                for i in range(len(values)):  # In order: a value may replace one of its own batch.
                    place, value = slot[i : i + 1], values[i : i + 1]
                    past = pool.index_select(0, place)
                    passed.append(torch.where(swap[i], past, value))
                    pool.index_copy_(0, place, torch.where(store[i], value, past))
                own = torch.cat(passed[mine])
            result[f"pooled_{name}"] = own
        return result

    def load(self, kept: Mapping[str, Tensor], device: torch.device) -> None:
        """Take the pools of a checkpoint."""
        self.kept = {name: values.to(device) for name, values in kept.items()}
