"""Penalties on the gradient of the discriminator's score with respect to its input.

They take the gradient itself: a discriminator offers it as `score_gradient`, written out where its layers allow it.
Where they do not (a discriminator with norms), `input_gradient` differentiates its score; the update says `eager` then.

Of a gradient [N, C, H, W] they return [N], at least float32, >= 0, without the factor lambda.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from asterism.machine import at_least_float32

EPSILON = 1e-12
"""Under the root, where the published code has nothing: keeps the derivative finite at a zero gradient."""


def input_gradient(score: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the gradient [N, C, H, W] of the summed score with respect to x, as a differentiable function of the weights.

    Args:
        score: from pictures [N, C, H, W] to scores of any shape; a sample's scores depend on that sample alone.
        x: [N, C, H, W].
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(score(x).sum(), x, create_graph=True)
    return gradient


def gradient_penalty(gradient: Tensor) -> Tensor:
    """One-centred gradient penalty, between real and fake: (||grad D(x^)||_2 - 1)^2; the norm runs over C, H and W.

    WGAN-GP (arXiv:1704.00028), Eq. (3); StarGAN, Eq. (8).
    """
    norm = (at_least_float32(gradient).square().flatten(1).sum(1) + EPSILON).sqrt()
    return (norm - 1).square()


def r1(gradient: Tensor) -> Tensor:
    """Zero-centred gradient penalty on real pictures: ||grad D(x)||^2 / 2, summed over C, H and W (arXiv:1801.04406)."""
    return at_least_float32(gradient).square().flatten(1).sum(1) / 2
