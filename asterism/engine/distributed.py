"""One or several training processes, started by torchrun; one process needs nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from asterism.errors import AsterismError

T = TypeVar("T")

ANSWER_MINUTES = 10
"""How long a process waits for the others' gradients; one that ended is noticed at once where its connection closes."""

ALONE_HOURS = 2
"""How long the others wait for what the first process does alone: train a judge, measure, save, draw previews."""


class ProcessError(AsterismError, RuntimeError):
    """The training processes cannot find one another, or one of them is gone; the message says what to look at."""


@dataclass(frozen=True)
class Processes:
    """This process's place among those that train one model; rows of a global batch are divided among them in order."""

    rank: int = 0
    world: int = 1
    control: Any = None  # A group for what is not on a device.

    @staticmethod
    def own_device(device: str) -> str:
        """Return which device this process uses: of several on one machine, torchrun's local rank counts the GPUs."""
        several = device in ("auto", "cuda") and torch.cuda.is_available() and "LOCAL_RANK" in os.environ
        return f"cuda:{os.environ['LOCAL_RANK']}" if several else device

    @classmethod
    def join(cls, device: torch.device) -> Processes:
        """Join the group that torchrun's environment describes; alone without one. NCCL on CUDA, gloo elsewhere."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls()
        backend, patience = "nccl" if device.type == "cuda" else "gloo", timedelta(minutes=ANSWER_MINUTES)
        with others():
            store, rank, _ = next(dist.rendezvous("env://", timeout=patience))
            # Of a group that it starts anew, torchrun's store holds the addresses of the ended processes.
            store = dist.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
            dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=patience)
            control = dist.new_group(backend="gloo", timeout=timedelta(hours=ALONE_HOURS))
        return cls(rank, world, control)

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def rows(self, count: int) -> tuple[int, int]:
        """Return which of `count` samples are this process's: start, stop."""
        return self.rank * count // self.world, (self.rank + 1) * count // self.world

    def sum_(self, tensor: Tensor) -> Tensor:
        """Add a tensor over all processes, in place, and return it."""
        if self.world > 1:
            with others():
                dist.all_reduce(tensor)
        return tensor

    def told(self, value: T) -> T:
        """Return the first process's value in every process."""
        if self.world > 1:
            with others():
                dist.broadcast_object_list(box := [value], group=self.control)
            return box[0]
        return value

    def largest(self, value: int) -> int:
        """Return the largest of all processes' values, when every process is here."""
        if self.world > 1:
            with others():
                dist.all_reduce(most := torch.tensor(value), dist.ReduceOp.MAX, group=self.control)
            return int(most)
        return value

    def leave(self) -> None:
        """Leave the group."""
        if self.world > 1:
            dist.destroy_process_group()


@contextmanager
def others() -> Iterator[None]:
    """Name the processes in an error of a message between them."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        # Without places in PyTorch's sources and remarks.
        reason = re.sub(r"\[\S+\.cc:\d+\] |\. .*|\n.*", "", str(error).strip())
        raise ProcessError(
            f"no answer from the other training processes ({reason}): see the output of each for the one that ended first, "
            "then run the same command again to resume at the last checkpoint"
        ) from error
