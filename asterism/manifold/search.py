"""Minimise many functions at once, each row for itself: L-BFGS, and Adam.

A row's result does not depend on the rows beside it, so that several starts and several pictures share each evaluation of the
network and nothing else.

Shapes: variables u [N, D]; values [N].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]
"""From variables [N, D] to values [N], differentiable; value n depends on row n alone."""

HISTORY = 10
"""Pairs of steps and gradients that L-BFGS remembers."""
ARMIJO, CURVATURE = 1e-4, 1e-10
HALVINGS = 12
"""Times that a step of L-BFGS is shortened before its row counts as arrived."""


@dataclass(frozen=True)
class Found:
    """Where a search ended.

    Args:
        u: [N, D], the best of each row.
        value: [N], of these.
        evaluations: of the function, all rows at once.
    """

    u: Tensor
    value: Tensor
    evaluations: int


def lbfgs(function: Function, u: Tensor, steps: int, tolerance: float = 1e-6) -> Found:
    """Minimise by L-BFGS (Nocedal and Wright, Algorithms 7.4 and 7.5) with a backtracking line search.

    Args:
        u: [N, D], the starts.
        steps: at most; a row rests once no number of its gradient exceeds `tolerance` or no shorter step makes it better.
        tolerance: on the gradient.
    """
    value, gradient = _both(function, u)
    evaluations, pairs = 1, list[tuple[Tensor, Tensor, Tensor]]()
    resting = torch.zeros(len(u), dtype=torch.bool, device=u.device)
    for _ in range(steps):
        resting = resting | (gradient.abs().amax(1) <= tolerance)
        if bool(resting.all()):
            break
        direction = _direction(gradient, pairs)
        slope = (gradient * direction).sum(1)
        uphill = slope >= 0
        direction = torch.where(uphill[:, None], -gradient, direction)
        slope = torch.where(uphill, -gradient.square().sum(1), slope)
        # Before anything is known of the curvature, a step of length 1 at most.
        first = 1 / gradient.abs().sum(1).clamp(min=1)
        length = torch.ones_like(value) if pairs else first
        length = torch.where(uphill, first, length)
        new_u, new_value, new_gradient, taken = u, value, gradient, resting.clone()
        for _ in range(HALVINGS):
            tried = torch.where(taken[:, None], new_u, u + length[:, None] * direction)
            tried_value, tried_gradient = _both(function, tried)
            evaluations += 1
            good = ~taken & (tried_value <= value + ARMIJO * length * slope)
            new_u = torch.where(good[:, None], tried, new_u)
            new_value = torch.where(good, tried_value, new_value)
            new_gradient = torch.where(good[:, None], tried_gradient, new_gradient)
            taken |= good
            if bool(taken.all()):
                break
            # The minimum of the parabola through both values and the slope, kept between a tenth and a half.
            bent = -slope * length.square() / (2 * (tried_value - value - slope * length)).clamp(min=1e-30)
            shorter = torch.where(bent.isfinite(), bent, torch.zeros_like(bent)).clamp(0.1 * length, 0.5 * length)
            length = torch.where(taken, length, shorter)
        resting = resting | ~taken
        pairs = [*pairs, _pair(new_u - u, new_gradient - gradient)][-HISTORY:]
        u, value, gradient = new_u, new_value, new_gradient
    return Found(u, value, evaluations)


def adam(function: Function, u: Tensor, steps: int, lr: float = 0.1, betas: tuple[float, float] = (0.9, 0.999)) -> Found:
    """Minimise by Adam (arXiv:1412.6980); a row's result is the best that it passed."""
    for found in islice(descend(function, u, lr, betas), steps + 1):
        last = found
    return last


def descend(function: Function, u: Tensor, lr: float = 0.1, betas: tuple[float, float] = (0.9, 0.999)) -> Iterator[Found]:
    """Yield where Adam has been so far, the best of each row, before the first update and after each."""
    best, least = u, torch.full((len(u),), torch.inf, dtype=u.dtype, device=u.device)
    mean, square = torch.zeros_like(u), torch.zeros_like(u)
    for step in count(1):
        value, gradient = _both(function, u)
        better = value < least
        best, least = torch.where(better[:, None], u, best), torch.where(better, value, least)
        yield Found(best, least, step)
        mean = torch.lerp(gradient, mean, betas[0])
        square = torch.lerp(gradient.square(), square, betas[1])
        size = (square / (1 - betas[1] ** step)).sqrt() + 1e-8
        u = u - lr * mean / (1 - betas[0] ** step) / size


def _both(function: Function, u: Tensor) -> tuple[Tensor, Tensor]:
    """Return values [N] and gradients [N, D]; a row that is not finite counts as infinitely bad."""
    with torch.enable_grad():
        leaf = u.detach().requires_grad_()
        value = function(leaf)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    value = value.detach()
    sound = value.isfinite() & gradient.isfinite().all(1)
    return torch.where(sound, value, torch.inf), torch.where(sound[:, None], gradient, 0 * u)


def _direction(gradient: Tensor, pairs: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Return minus the inverse Hessian's estimate times the gradient: the two loops."""
    q, weights = gradient, list[Tensor]()
    for s, y, rho in reversed(pairs):
        weights.append(rho * (s * q).sum(1, keepdim=True))
        q = q - weights[-1] * y
    if pairs:
        s, y, rho = pairs[-1]
        scale = (s * y).sum(1, keepdim=True) / y.square().sum(1, keepdim=True).clamp(min=1e-30)
        q = q * torch.where(rho > 0, scale, torch.ones_like(scale))
    for (s, y, rho), weight in zip(pairs, reversed(weights), strict=True):
        q = q + (weight - rho * (y * q).sum(1, keepdim=True)) * s
    return -q


def _pair(s: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what is remembered of a step; rho [N, 1] is 0, so that nothing is, for rows whose curvature is not positive."""
    product = (s * y).sum(1, keepdim=True)
    known = product > CURVATURE * y.square().sum(1, keepdim=True)
    return s, y, torch.where(known, 1 / torch.where(known, product, torch.ones_like(product)), torch.zeros_like(product))
