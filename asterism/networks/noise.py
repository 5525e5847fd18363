"""Noise as a function of a seed, where a network wants more of it than a batch should carry.

A pass is then a function of the weights and the batch, and nothing larger than seeds is drawn on the CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor


def noisy(x: Tensor, seed: Tensor | None, deviation: float) -> Tensor:
    """Return pictures [N, C, H, W] with normal noise added, a function of each one's seed, int64 [N]; none adds none."""
    if seed is None:
        return x
    # Never narrower than float32: in bfloat16 0.999 is 1, where the noise is infinite.
    uniform = hashed(seed, 0, x[0].numel()).to(torch.promote_types(x.dtype, torch.float32)).view(x.shape)
    return x + deviation * 2**0.5 * torch.erfinv(2 * uniform - 1)


def hashed(seed: Tensor, stream: int, count: int) -> Tensor:
    """Return numbers in (0, 1), float32 [N, count], as good as uniform, by hashing seed, stream and place.

    Seeds are int64 [N]. The mixing is SplitMix64's (Steele, Lea and Flood 2014), in whole numbers that wrap.
    """
    z = seed[:, None] * -0x61C8864680B583EB + (torch.arange(count, device=seed.device) * 4 + stream) * 0x2545F4914F6CDD1D
    z = (z ^ (z >> 30 & (1 << 34) - 1)) * -0x40A7B892E31B1A47
    z = (z ^ (z >> 27 & (1 << 37) - 1)) * -0x6B2FB644ECCEEE15
    z = z ^ (z >> 31 & (1 << 33) - 1)
    return ((z >> 41 & (1 << 23) - 1).to(torch.float32) + 0.5) / (1 << 23)
