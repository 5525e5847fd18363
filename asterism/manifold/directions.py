"""Directions in the space of codes along which pictures change in one respect.

Shapes: N codes of D numbers; L labels; K principal directions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asterism.config import ConfigError


def of_label(codes: Tensor, values: Tensor, known: Tensor, name: str) -> Tensor:
    """Return the direction [D] of a label: the mean code of pictures that have it minus that of those that have not.

    That is cov(code, value) / var(value), which of a label that is a number is how codes change with it.

    Args:
        codes: [N, D].
        values: [N], of the label, 0 or 1, or shares of a number's range.
        known: [N] in {0, 1}; codes of unknown value do not count.
        name: of the label, for messages.

    Raises:
        ConfigError: fewer than two codes of which it is known, or all have one value of it.
    """
    held = known > 0
    codes, values = codes[held].double(), values[held].double()
    if len(values) < 2 or float(values.max() - values.min()) == 0:
        every = f"all of these {len(values)} have the same value of it" if len(values) else "of none it is known"
        raise ConfigError(f"the direction {name} needs pictures with and without it; {every}")
    apart = values - values.mean()
    return ((apart[:, None] * codes).sum(0) / apart.square().sum()).float()


def principal(codes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the K principal directions [K, D] of codes [N, D], a standard deviation long, and their shares [K].

    Raises:
        ConfigError: more directions than the codes span.
    """
    _check_count(count, codes)
    apart = codes.double() - codes.double().mean(0)
    _, sizes, axes = torch.linalg.svd(apart, full_matrices=False)
    directions = _pointed(axes[:count]) * sizes[:count, None] / (len(codes) - 1) ** 0.5
    return directions.float(), (sizes.square() / sizes.square().sum())[:count].float()


def principal_of_pictures(codes: Tensor, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the K directions [K, D] of codes that go along the principal directions of what they make.

    Drawn codes are alike in all directions, and their principal ones say nothing; those of pictures do. Codes are regressed
    on the pictures' coordinates, of unit variance, as GANSpace (arXiv:2004.02546), Section 2.2, does with a network's layer.

    Args:
        codes: [N, D].
        features: [N, F], of the codes' pictures, such as their pixels.

    Returns:
        The directions, and the shares [K] of the features' variance.

    Raises:
        ConfigError: more directions than the codes span.
    """
    _check_count(count, codes)
    apart = features.double() - features.double().mean(0)
    seen, sizes, _ = torch.linalg.svd(apart, full_matrices=False)  # seen [N, K]: coordinates of length 1.
    coordinates = seen[:, :count] * (len(codes) - 1) ** 0.5
    found = coordinates.T @ (codes.double() - codes.double().mean(0)) / (len(codes) - 1)
    return _pointed(found).float(), (sizes.square() / sizes.square().sum())[:count].float()


def _check_count(count: int, codes: Tensor) -> None:
    most = min(len(codes) - 1, codes.shape[1])
    if not 0 < count <= most:
        raise ConfigError(f"the number of principal directions is {count}; these {len(codes)} codes have 1 to {most}")


def _pointed(directions: Tensor) -> Tensor:
    """Turn each direction [K, D] round whose largest number is negative, so that a direction is the same in every run."""
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return directions * torch.where(largest < 0, -1.0, 1.0)
