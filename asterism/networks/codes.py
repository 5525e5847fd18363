"""Codes: the parts of a latent that have a name and a meaning of their own (InfoGAN, arXiv:1606.03657).

A latent is standard normal as a whole, so that whoever draws one need not know of codes; they are read from it. A category of K
values has K numbers of the latent, the largest of which says the value: all values are equally likely. A number, uniform in
[-1, 1], has one, of which it is the error function, erf(z / sqrt(2)).

Shapes: N batch, Z latent size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Code:
    """A part of a latent.

    Args:
        name: of the code.
        at: where in the latent it begins.
        values: of a category, which are called 0, 1, ...; 0: it is a number.
    """

    name: str
    at: int
    values: int = 0

    @property
    def end(self) -> int:
        """Where in the latent what follows it begins."""
        return self.at + max(self.values, 1)

    def read(self, z: Tensor) -> Tensor:
        """Return what latents [N, Z] say: a category as one-hot vectors [N, values], a number as [N, 1] in [-1, 1]."""
        own = z[:, self.at : self.end]
        if not self.values:
            return torch.erf(own / math.sqrt(2))
        return (torch.arange(self.values, device=z.device) == own.argmax(1, keepdim=True)).to(z.dtype)
