"""Edit transfer: what an edit does to a generated picture, done to the photograph (iGAN, arXiv:1609.03552, Section 4.3).

Generated pictures are small and lack detail. So the edit is written down as motion and change of colour from picture to picture
along the path from the projection to the edited code, put together, and applied to the original. Between neighbours,

    sum_x |b(x) - A(x) (a(x + w(x)), 1)|^2 + s (|grad w|^2) + t |grad A|^2

is minimised in turn over the motion w, linearised around what it is so far, and the affine colours A, both by conjugate
gradients, from coarse to fine.

Shapes: pictures [C, h, w] in [-1, 1]; motions [2, h, w], rows and columns in pixels; colours [C, C + 1, h, w].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MOTION_SMOOTH, COLOUR_SMOOTH, COLOUR_KEPT = 0.05, 1.0, 0.01
"""Weights s and t, which the paper does not name, and that of colours that stay, where a picture says nothing of them."""
LEAST_SIDE, TURNS, STEPS = 16, 4, 40
"""Shorter side of the coarsest pictures; turns of motion and colours at each size; steps of conjugate gradients of each."""


@dataclass(frozen=True)
class Transfer:
    """An edit: result(x) = A(x) (source(x + w(x)), 1).

    Args:
        motion: w [2, h, w].
        colours: A [C, C + 1, h, w].
    """

    motion: Tensor
    colours: Tensor

    @classmethod
    def none(cls, like: Tensor) -> Transfer:
        """Return the transfer that leaves pictures [C, h, w] as they are."""
        channels, height, width = like.shape
        colours = torch.eye(channels, channels + 1, dtype=like.dtype, device=like.device)
        return cls(like.new_zeros(2, height, width), colours[:, :, None, None].repeat(1, 1, height, width))

    def apply(self, x: Tensor) -> Tensor:
        """Apply it to a picture [C, H, W] of any size, which shows what the small ones show; not clamped."""
        _, height, width = x.shape
        scale = x.new_tensor([height / self.motion.shape[1], width / self.motion.shape[2]])[:, None, None]
        motion = _resized(self.motion.to(x), (height, width)) * scale
        colours = _resized(self.colours.to(x).flatten(0, 1), (height, width)).unflatten(0, self.colours.shape[:2])
        return recoloured(colours, sampled(x, motion))

    def after(self, first: Transfer) -> Transfer:
        """Return the transfer that makes `first`, then this one."""
        moved = sampled(first.motion, self.motion)
        channels, more = first.colours.shape[:2]
        earlier = sampled(first.colours.flatten(0, 1), self.motion).unflatten(0, (channels, more))
        colours = torch.einsum("cdhw,dehw->cehw", self.colours[:, :channels], earlier)
        colours[:, channels] += self.colours[:, channels]
        return Transfer(self.motion + moved, colours)


def along_path(pictures: Tensor) -> Transfer:
    """Return the transfer from the first to the last of pictures [T, C, h, w] on the path of an edit.

    Small errors of the steps add up, so the colours are found once more for the whole motion; and where pictures flicker
    instead of moving, so that the steps say less than no motion or that between the ends, the best of these is taken.
    """
    first, last = pictures[0], pictures[-1]
    whole = Transfer.none(first)
    for a, b in zip(pictures[:-1], pictures[1:], strict=True):
        whole = between(a, b).after(whole)
    motions = (whole.motion, between(first, last).motion, torch.zeros_like(whole.motion))
    ways = [Transfer(motion, _colours(sampled(first, motion), last)) for motion in motions]
    return min(ways, key=lambda way: float(energy(first, last, way)))


def between(a: Tensor, b: Tensor) -> Transfer:
    """Return the transfer from picture a to picture b, neighbours on a path: b(x) = A(x) (a(x + w(x)), 1) as far as can be."""
    shorter, levels = min(a.shape[1:]), 1
    while shorter >> levels >= LEAST_SIDE:
        levels += 1
    found: Transfer | None = None
    for level in reversed(range(levels)):
        size = (a.shape[1] >> level, a.shape[2] >> level)
        small_a, small_b = (F.interpolate(p[None], size=size, mode="bilinear", antialias=True)[0] for p in (a, b))
        if found is None:
            found = Transfer.none(small_a)
        else:
            scale = a.new_tensor([size[0] / found.motion.shape[1], size[1] / found.motion.shape[2]])[:, None, None]
            colours = _resized(found.colours.flatten(0, 1), size).unflatten(0, found.colours.shape[:2])
            found = Transfer(_resized(found.motion, size) * scale, colours)
        for _ in range(TURNS):
            motion = _motion(small_a, small_b, found)
            found = Transfer(motion, _colours(sampled(small_a, motion), small_b))
    assert found is not None
    return found


def energy(a: Tensor, b: Tensor, found: Transfer) -> Tensor:
    """Return what is minimised, a number."""
    rest = recoloured(found.colours, sampled(a, found.motion)) - b
    rough = [MOTION_SMOOTH * _roughness(found.motion), COLOUR_SMOOTH * _roughness(found.colours)]
    kept = COLOUR_KEPT * (found.colours - Transfer.none(a).colours).square().sum()
    return rest.square().sum() + sum(rough) + kept


def sampled(x: Tensor, motion: Tensor) -> Tensor:
    """Return x(p + w(p)) of maps x [K, h, w] at every pixel p, bilinear, the border's value beyond it."""
    _, height, width = x.shape
    rows = torch.arange(height, dtype=x.dtype, device=x.device)[:, None] + motion[0]
    columns = torch.arange(width, dtype=x.dtype, device=x.device)[None] + motion[1]
    places = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], 2)
    return F.grid_sample(x[None], places[None], mode="bilinear", padding_mode="border", align_corners=False)[0]


def recoloured(colours: Tensor, x: Tensor) -> Tensor:
    """Return A (x, 1) of pictures x [C, h, w]."""
    return torch.einsum("cdhw,dhw->chw", colours[:, :-1], x) + colours[:, -1]


def _motion(a: Tensor, b: Tensor, found: Transfer) -> Tensor:
    """Return the motion that is best where it is linearised around the one so far, colours resting."""
    slopes = torch.stack(torch.gradient(a, dim=(1, 2)), 1)  # [C, 2, h, w]
    slopes = sampled(slopes.flatten(0, 1), found.motion).unflatten(0, slopes.shape[:2])
    slopes = torch.einsum("cdhw,dkhw->ckhw", found.colours[:, :-1], slopes)
    rest = recoloured(found.colours, sampled(a, found.motion)) - b

    def matrix(w: Tensor) -> Tensor:
        return torch.einsum("ckhw,chw->khw", slopes, torch.einsum("ckhw,khw->chw", slopes, w)) + MOTION_SMOOTH * _stiff(w)

    right = -torch.einsum("ckhw,chw->khw", slopes, rest) - MOTION_SMOOTH * _stiff(found.motion)
    step = conjugate_gradients(matrix, right, torch.zeros_like(right), STEPS)
    return found.motion + step.clamp(-2, 2)  # Further than that the linear form says nothing.


def _colours(a: Tensor, b: Tensor) -> Tensor:
    """Return the colours that are best for a moved picture a, exactly but for the number of steps."""
    one = torch.cat([a, torch.ones_like(a[:1])])
    same = Transfer.none(a).colours

    def matrix(change: Tensor) -> Tensor:
        fit = torch.einsum("cdhw,dhw->chw", change, one)[:, None] * one
        return fit + COLOUR_SMOOTH * _stiff(change) + COLOUR_KEPT * change

    return same + conjugate_gradients(matrix, (b - a)[:, None] * one, torch.zeros_like(same), STEPS)


def conjugate_gradients(matrix: Callable[[Tensor], Tensor], right: Tensor, x: Tensor, steps: int) -> Tensor:
    """Solve matrix(x) = right, a symmetric positive system, from x on (Hestenes and Stiefel 1952)."""
    rest = right - matrix(x)
    way, square = rest, rest.square().sum()
    for _ in range(steps):
        turned = matrix(way)
        length = square / (way * turned).sum().clamp(min=1e-30)
        x, rest = x + length * way, rest - length * turned
        now = rest.square().sum()
        way, square = rest + now / square.clamp(min=1e-30) * way, now
    return x


def _stiff(x: Tensor) -> Tensor:
    """Return half the gradient of `_roughness`."""
    down, across = x.diff(dim=-2), x.diff(dim=-1)
    return F.pad(down, (0, 0, 1, 0)) - F.pad(down, (0, 0, 0, 1)) + F.pad(across, (1, 0)) - F.pad(across, (0, 1))


def _roughness(x: Tensor) -> Tensor:
    """Return the sum of squared differences of neighbours."""
    return x.diff(dim=-2).square().sum() + x.diff(dim=-1).square().sum()


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps [K, h, w], bilinear."""
    return F.interpolate(x[None], size=size, mode="bilinear", align_corners=False)[0]
