"""The optimisers that a recipe may declare for a network; the engine makes and steps them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Adam:
    """Adam (arXiv:1412.6980).

    Args:
        lr: learning rate.
        betas: decays of the first and second moments.
        weight_decay: L2 decay, added to the gradient.
        eps: added to the root of the second moment.
        clip: the network's gradient is scaled down to this norm; none: it is not.
    """

    lr: float
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0
    eps: float = 1e-8
    clip: float | None = None


@dataclass(frozen=True)
class RMSprop:
    """RMSprop, uncentred (Tieleman and Hinton 2012).

    Args:
        lr: learning rate.
        alpha: decay of the mean square.
        weight_decay, eps, clip: as for Adam.
    """

    lr: float
    alpha: float = 0.99
    weight_decay: float = 0.0
    eps: float = 1e-8
    clip: float | None = None


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum.

    Args:
        lr: learning rate.
        momentum: share of the last step that is kept.
        weight_decay, clip: as for Adam.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip: float | None = None


Optimiser = Adam | RMSprop | SGD
