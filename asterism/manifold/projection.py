"""Projection: the code whose picture is most like a given one (iGAN, arXiv:1609.03552, Section 4.1).

Shapes: N pictures x [N, C, h, w] in [-1, 1]; K starts each; codes of D numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.manifold.decoder import Decoder
from asterism.manifold.search import adam, lbfgs

Features = Callable[[Tensor], Tensor | Sequence[Tensor]]
"""From pictures [N, C, h, w] in [-1, 1] to features [N, ...], or several, such as the stages of a network."""

METHODS = ("lbfgs", "adam")
STEPS = {"lbfgs": 100, "adam": 300}
"""Steps where none are asked for; both have then converged on the models of docs/manifold.md."""
STARTS = 4
FEATURE_WEIGHT = 0.1


@dataclass(frozen=True)
class Projection:
    """Where pictures lie on a model's manifold.

    Args:
        codes: [N, D].
        pictures: what the model makes of them, float [N, C, h, w] in [-1, 1].
        errors: mean squared error of the pixels [N], in the range [-1, 1].
        starts: codes [N, K, D] that the search began with.
        losses: [N, K], what each start came to; the least one's code was taken.
    """

    codes: Tensor
    pictures: Tensor
    errors: Tensor
    starts: Tensor
    losses: Tensor


def pixel_error(y: Tensor, x: Tensor) -> Tensor:
    """Return the mean squared difference of pictures y and x [N, C, h, w]: [N]."""
    return (y - x).square().flatten(1).mean(1)


def feature_error(features: Features, y: Tensor, wanted: Sequence[Tensor]) -> Tensor:
    """Return how far the features of pictures y are from the wanted ones [N, ...]: [N], the mean over the networks' stages.

    Each is the squared difference as a share of the wanted features' own square. iGAN takes AlexNet's fourth convolution as
    it comes, with the weight 0.002; networks that users name have any scale, which the share takes out.
    """
    pairs = zip(stages(features, y), wanted, strict=True)
    return torch.stack(
        [(f - w).square().flatten(1).sum(1) / w.square().flatten(1).sum(1).clamp(min=1e-12) for f, w in pairs]
    ).mean(0)


def stages(features: Features, x: Tensor) -> Sequence[Tensor]:
    """Return the features of pictures as a sequence, also where there is one kind of them."""
    found = features(x)
    return [found] if isinstance(found, Tensor) else found


def project(
    decoder: Decoder,
    x: Tensor,
    starts: Tensor,
    *,
    method: Literal["lbfgs", "adam"] = "lbfgs",
    steps: int | None = None,
    features: Features | None = None,
    feature_weight: float = FEATURE_WEIGHT,
) -> Projection:
    """Search, from several starts, the code of each picture.

    What is minimised is the pixels' mean squared error and, through a feature network, `feature_weight` times that of the
    features (Eq. 4 there, with the reconstruction error of the released code).

    Args:
        x: pictures, where the decoder makes them. A decoder that closes over a source takes that picture alone.
        starts: codes [N, K, D], as training draws them or as a network reads them from the pictures.
        steps: at most, from each start; none takes those of `STEPS`; 0 keeps the best of the starts.
        features: a network that sees pictures, frozen.

    Raises:
        ConfigError: an unknown method, fewer than 0 steps, or a negative weight.
    """
    if method not in METHODS:
        raise ConfigError(f"the method is {method!r}; expected one of {', '.join(METHODS)}")
    steps = STEPS[method] if steps is None else steps
    if steps < 0:
        raise ConfigError(f"steps are {steps}; expected 0 or more")
    if not 0 <= feature_weight < math.inf:
        raise ConfigError(f"the weight of features is {feature_weight:g}; expected 0 or more")
    count, tries = starts.shape[:2]
    with torch.no_grad():
        wanted = [w.repeat_interleave(tries, 0) for w in stages(features, x)] if features else []
    all_x = x.repeat_interleave(tries, 0)

    def loss(u: Tensor) -> Tensor:
        y = decoder.decode(decoder.space.inside(u))
        value = pixel_error(y, all_x)
        return value + feature_weight * feature_error(features, y, wanted) if features else value

    u = decoder.space.outside(starts.flatten(0, 1))
    found = lbfgs(loss, u, steps) if method == "lbfgs" else adam(loss, u, steps)
    losses = found.value.unflatten(0, (count, tries))
    best = losses.argmin(1)
    codes = decoder.space.inside(found.u).unflatten(0, (count, tries))[torch.arange(count, device=best.device), best]
    with torch.no_grad():
        pictures = decoder.decode(codes)
    return Projection(codes, pictures, pixel_error(pictures, x), starts, losses)


def draw_starts(decoder: Decoder, count: int, tries: int, like: Tensor, seed: int = 0) -> Tensor:
    """Return starts [N, K, D], the same for each picture: the code that the model reads itself, if it does, then drawn ones.

    Args:
        like: a tensor of their device and precision.

    Raises:
        ConfigError: fewer than one.
    """
    if tries < 1:
        raise ConfigError(f"the number of starts is {tries}; expected at least 1")
    own = [] if decoder.own is None else [decoder.own.to(like)]
    drawn = decoder.space.draw(max(0, tries - len(own)), torch.Generator().manual_seed(seed)).to(like)
    return torch.cat([*own, drawn]).expand(count, -1, -1)
