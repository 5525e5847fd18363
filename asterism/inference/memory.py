"""What a network needs to translate a picture, the bytes of its tensors, and what a device has: for planning large pictures."""

from __future__ import annotations

import contextlib
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from asterism.inference.placed import PlacedModel
from asterism.machine import Machine
from asterism.recipes.render import translate

LEAST = 128
"""Side of the smaller of two pictures that are measured: below it, what a network keeps of its weights counts for more."""

_known: weakref.WeakKeyDictionary[PlacedModel, float] = weakref.WeakKeyDictionary()


def bytes_per_pixel(placed: PlacedModel, told: Tensor, s: Tensor | None) -> float:
    """Return what each pixel more costs a model, at the peak; by translating two pictures, once.

    Args:
        told, s: of one picture's target, as `Recipe.translate` takes them.
    """
    if placed not in _known:
        multiple = placed.recipe.abilities.side_multiple or 1
        picture, fixed = placed.model.picture, placed.recipe.abilities.fixed_height
        height, width = (max(LEAST, side) // multiple * multiple for side in (picture.height, picture.width))
        small, large = ([picture.height if fixed else times * height, times * width] for times in (1, 2))
        more = _peak(placed, told, s, large) - _peak(placed, told, s, small)
        _known[placed] = more / (large[0] * large[1] - small[0] * small[1])
    return _known[placed]


def available(machine: Machine) -> int | None:
    """Return the bytes that a device has free, those that PyTorch holds unused included; none where nothing tells."""
    device = machine.device
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    free = []
    with contextlib.suppress(OSError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    with contextlib.suppress(OSError, ValueError):  # A container's own limit; "max" where there is none.
        free.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(free, default=None)


def _peak(placed: PlacedModel, told: Tensor, s: Tensor | None, sides: list[int]) -> int:
    machine = placed.machine
    x = machine.take(told.new_zeros((1, placed.model.picture.taken.channels, *sides)))
    with torch.no_grad(), machine.backend_flags(), machine.autocast(), _Ledger() as ledger:
        translate(placed.recipe, x, told, s)
    return ledger.peak + x.nbytes


class _Ledger(TorchDispatchMode):
    """Counts the bytes of the tensors that are made while it is entered.

    Attributes:
        peak: the most at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do what is asked for, and note the storages of the results."""
        made = func(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in (t for t in tree_leaves(made) if isinstance(t, Tensor)):
            storage = tensor.untyped_storage()
            if storage._cdata in given or storage._cdata in self._seen:
                continue
            self._seen.add(storage._cdata)
            self.held += storage.nbytes()
            weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.held)
        return made

    def _freed(self, number: int, size: int) -> None:
        self._seen.discard(number)
        self.held -= size
