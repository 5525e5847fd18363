"""Batch: named tensors whose first dimension is the sample."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Batch:
    """Tensors of one batch by name, read as attributes: `batch.x`, `batch.labels`.

    The loader gives `x` (pictures, uint8 or uint16 until the engine converts them to float32 [-1, 1]), `labels`, `known`,
    `dataset` (see `asterism.labels`) and `position` (int64 [N], the sample's global position); the recipe's `prepare` adds
    its own draws.
    """

    def __init__(self, **tensors: Tensor) -> None:
        self._tensors = tensors

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self.__dict__["_tensors"][name]
        except KeyError:
            held = ", ".join(self.__dict__.get("_tensors", ()))
            raise AttributeError(f"the batch holds no {name!r}, only: {held}") from None

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __len__(self) -> int:
        return len(next(iter(self._tensors.values())))

    def items(self) -> list[tuple[str, Tensor]]:
        """Return the (name, tensor) pairs."""
        return list(self._tensors.items())

    def extend(self, **tensors: Tensor) -> Batch:
        """Return a batch that also holds `tensors`; a name held already is replaced."""
        return Batch(**{**self._tensors, **tensors})

    def rows(self, start: int, stop: int) -> Batch:
        """Return the samples start <= i < stop."""
        return Batch(**{name: t[start:stop] for name, t in self._tensors.items()})

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None, **options: Any) -> Batch:
        """Return the batch on `device`, its floating tensors in `dtype` if that is given."""
        moved = {name: t.to(device, dtype if t.is_floating_point() else None, **options) for name, t in self._tensors.items()}
        return Batch(**moved)
