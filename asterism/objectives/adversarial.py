"""Wasserstein scores (arXiv:1701.07875), as StarGAN uses them: raw logits, no sigmoid.

`logits` are raw, [N] or [N, P] over P patches; the patches of a picture are averaged.
"""

from __future__ import annotations

from torch import Tensor


def critic_real(logits: Tensor) -> Tensor:
    """What the critic pays for real pictures: -mean_p D(x). StarGAN (arXiv:1711.09020), Eq. (8).

    Returns [N], any real value.
    """
    return -_mean(logits)


def critic_fake(logits: Tensor) -> Tensor:
    """What the critic pays for fakes: mean_p D(G(x, c)). StarGAN, Eq. (8). Returns [N], any real value."""
    return _mean(logits)


def generator_fake(logits: Tensor) -> Tensor:
    """What the generator pays for its fakes: -mean_p D(G(x, c)). StarGAN, Eq. (8). Returns [N], any real value."""
    return -_mean(logits)


def _mean(logits: Tensor) -> Tensor:
    return logits.float().flatten(1).mean(1) if logits.ndim > 1 else logits.float()
