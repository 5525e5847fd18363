"""One or several training processes, started by torchrun; one process needs nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from asterism.errors import AsterismError


class ProcessError(AsterismError, RuntimeError):
    """The training processes cannot find one another, or one of them is gone; the message says what to look at."""


@dataclass(frozen=True)
class Processes:
    """This process's place among those that train one model; rows of a global batch are divided among them in order."""

    rank: int = 0
    world: int = 1

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
        if not dist.is_initialized():
            with _others():
                dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), world)

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def rows(self, count: int) -> tuple[int, int]:
        """Return which of `count` samples are this process's: start, stop."""
        return self.rank * count // self.world, (self.rank + 1) * count // self.world

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Add each tensor over all processes, in place, in one message."""
        if self.world == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        with _others():
            dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def gather(self, own: Tensor, count: int) -> Tensor:
        """Return all processes' rows [count, ...] of a tensor of which this process holds its own, in every process."""
        if self.world == 1:
            return own
        whole = own.new_zeros(count, *own.shape[1:])
        whole[slice(*self.rows(count))] = own
        self.sum_([whole])
        return whole

    def any(self, flag: bool, device: torch.device) -> bool:
        """Say whether the flag is set in any process."""
        votes = torch.tensor([float(flag)], device=device)
        self.sum_([votes])
        return bool(votes.item() > 0)

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            with _others():
                dist.barrier()

    def leave(self) -> None:
        """Leave the group."""
        if self.world > 1:
            dist.destroy_process_group()


@contextmanager
def _others() -> Iterator[None]:
    """Name the processes in an error of a message between them."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise ProcessError(
            f"no answer from the other training processes ({str(error).strip().partition(chr(10))[0]}): see "
            "torchrun's output for them, then run the same command again to resume"
        ) from error
