"""Adversarial objectives: Wasserstein scores (arXiv:1701.07875), least squares, and the logistic loss, non-saturating.

`logits` are raw: no sigmoid before. Of [N], or [N, P] over P patches, Wasserstein scores (any real value) and least squares
(>= 0) return [N], a picture's mean; logistic losses (>= 0) keep the shape that they are given. All are at least float32.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from asterism.machine import at_least_float32


def critic_real(logits: Tensor) -> Tensor:
    """What the critic pays for real pictures: -mean_p D(x). StarGAN (arXiv:1711.09020), Eq. (8)."""
    return -_mean(logits)


def critic_fake(logits: Tensor) -> Tensor:
    """What the critic pays for fakes: mean_p D(G(x, c)). StarGAN, Eq. (8)."""
    return _mean(logits)


def generator_fake(logits: Tensor) -> Tensor:
    """What the generator pays for its fakes: -mean_p D(G(x, c)). StarGAN, Eq. (8)."""
    return -_mean(logits)


def least_squares(logits: Tensor, target: float) -> Tensor:
    """Squared distance from the wanted score, 1 or 0: mean_p (D_p(x) - target)^2. LSGAN (arXiv:1611.04076), Eq. (2)."""
    return _mean((at_least_float32(logits) - target).square())


def logistic_real(logits: Tensor) -> Tensor:
    """-log D(x): the discriminator on real pictures, and the generator, non-saturating, on fakes (arXiv:1406.2661)."""
    return F.softplus(-at_least_float32(logits))


def logistic_fake(logits: Tensor) -> Tensor:
    """-log(1 - D(G(x, s))): the discriminator on fakes. StarGAN v2 (arXiv:1912.01865), Eq. (1)."""
    return F.softplus(at_least_float32(logits))


def _mean(logits: Tensor) -> Tensor:
    return at_least_float32(logits).flatten(1).mean(1) if logits.ndim > 1 else at_least_float32(logits)
