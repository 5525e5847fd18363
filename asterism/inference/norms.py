"""One set of instance norm's statistics for all tiles of a picture.

Instance norm subtracts the mean of a map over the picture that it is given, and divides by the deviation (arXiv:1607.08022,
Eq. 1). Of a tile these are the tile's own, so that a tile of sky comes out otherwise than the same sky beside houses, and
neighbouring tiles drift apart. Here they are taken once, from pieces of the picture that lie side by side in one sheet, and
then hold for every tile: the network becomes one of convolutions alone.

Shapes: N batch, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class SharedNorms(TorchFunctionMode):
    """While it is entered, notes the statistics of the norms that are called, in order, or uses what was noted.

    Statistics are noted of a batch of one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._noted: list[tuple[Tensor, Tensor]] = []
        self._batch, self._calls, self._noting = 1, 0, True

    @property
    def found(self) -> bool:
        """Whether any norms were called."""
        return bool(self._noted)

    def of(self, batch: int) -> SharedNorms:
        """Enter this to have norms of a batch of so many pictures use what was noted."""
        self._batch, self._calls, self._noting = batch, 0, False
        return self

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do what is called, but norms over pictures by the shared statistics."""
        kwargs = kwargs or {}
        if func is torch.native_batch_norm and args[5]:  # One picture, normalised by itself: as `networks/cpu` does.
            made = self._normalized(args[0], args[1], args[2], args[7], 1)
            return kwargs["out"][0].copy_(made), *kwargs["out"][1:]
        if func is functional.instance_norm:
            return self._normalized(args[0], kwargs.get("weight"), kwargs.get("bias"), kwargs["eps"], len(args[0]))
        return func(*args, **kwargs)

    def _normalized(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, pictures: int) -> Tensor:
        if self._noting:
            variance, mean = torch.var_mean(x.to(torch.promote_types(x.dtype, torch.float32)), (0, 2, 3), correction=0)
            self._noted.append((mean, variance))
        else:
            mean, variance = self._noted[self._calls // self._batch]
            self._calls += pictures
        return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)
