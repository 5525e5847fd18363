"""The optimisers that a recipe may declare for a network; the engine makes and steps them."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass


@dataclass(frozen=True)
class Optimiser:
    """What all of them have.

    Args:
        lr: learning rate.
        weight_decay: L2 decay, added to the gradient.
        clip: the network's gradient is scaled down to this norm; none: it is not.
    """

    lr: float
    _: KW_ONLY
    weight_decay: float = 0.0
    clip: float | None = None


@dataclass(frozen=True)
class Adam(Optimiser):
    """Adam (arXiv:1412.6980).

    Args:
        betas: decays of the first and second moments.
        eps: added to the root of the second moment.
    """

    betas: tuple[float, float] = (0.5, 0.999)
    eps: float = 1e-8


@dataclass(frozen=True)
class RMSprop(Optimiser):
    """RMSprop, uncentred (Tieleman and Hinton 2012); `alpha` is the decay of the mean square, `eps` as for Adam."""

    alpha: float = 0.99
    eps: float = 1e-8


@dataclass(frozen=True)
class SGD(Optimiser):
    """Stochastic gradient descent; `momentum` is the share of the last step that is kept."""

    momentum: float = 0.0
