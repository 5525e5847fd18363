"""3x3 convolutions with a quarter of the multiplications: Winograd's minimal filtering, F(4x4, 3x3) of arXiv:1509.09308.

Four by four outputs at a time are made from six by six inputs: both sides are transformed by small constant matrices, and
between them the sum over channels is a matrix product per transformed position, 36 products where 144 were. In exact
arithmetic it is the convolution; in float32 its rounding is about three times that of direct sums (2e-6 against 8e-7 of the
result, docs/performance.md), which is why nothing of lower precision goes this way.

Shapes: x [N, C, H, W] and y, g [N, O, H, W], channels last, H and W multiples of 4; w [O, C, 3, 3]; T tiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 4
"""Side of the outputs that are made at a time."""

TILES = 64
"""As many tiles there must be, or the transform of the kernel does not pay."""

BLOCK = 2**16
"""Values of a position transformed at a time, tiles times channels: enough rows for fast products, few enough for the cache."""

# Transforms of inputs, kernels and products by the points 0, 1, -1, 2, -2 and infinity.
INPUT = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0]]
INPUT += [[0, 4, 0, -5, 0, 1]]
KERNEL = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6]]
KERNEL += [[0, 0, 1]]
OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


@cache
def _matrices(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return the transforms of both dimensions at once: [36, 36], [36, 9] and [16, 36]."""
    with torch.inference_mode(False):
        small = [torch.tensor(rows, dtype=torch.float64) for rows in (INPUT, KERNEL, OUTPUT)]
        inputs, kernels, outputs = (torch.kron(a, a).to(dtype) for a in small)
    return inputs, kernels, outputs


def pays(x: Tensor, shape: Sequence[int], stride: int, padding: int, transposed: bool = False) -> bool:
    """Say whether a convolution by a kernel of this shape, or its transpose, on a CPU is faster so, as measured."""
    count, channels, *kernel = shape
    height, width = (side if transposed else side - 2 + 2 * padding for side in x.shape[2:])
    return (
        (*kernel, stride) == (3, 3, 1)
        and padding <= 1
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and height % TILE == width % TILE == 0
        and min(count, channels) >= 128
        and len(x) * height * width >= TILES * TILE**2
    )


def surrounded(x: Tensor, padding: int) -> Tensor:
    """Return maps with zeros around them."""
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, *[padding] * 4)).permute(0, 3, 1, 2) if padding else x


def transpose(g: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Return the transpose of conv2d by w with this zero padding, applied to g; without, whole tiles are made, and cut."""
    if padding:
        return outputs(surrounded(g, 1), weight, True)
    height, width = (side + 2 for side in g.shape[2:])
    return outputs(F.pad(g, (2, 2 - width % -TILE, 2, 2 - height % -TILE)), weight, True)[:, :, :height, :width]


def outputs(x: Tensor, weight: Tensor, turned: bool = False) -> Tensor:
    """Return conv2d(x, w) without padding, of x [N, C, H + 2, W + 2]; or by the kernel turned: [C, O], and flipped."""
    inputs, kernels, outputs = _matrices(x.dtype)
    u = ((kernels.flip(1) if turned else kernels) @ weight.permute(2, 3, 0, 1).reshape(9, -1)).view(36, *weight.shape[:2])
    u = u if turned else u.transpose(1, 2)
    y = x.new_empty(len(x), x.shape[2] - 2, x.shape[3] - 2, u.shape[2])
    for tiles, part in _blocks(x.permute(0, 2, 3, 1), y):
        products = torch.bmm(_transformed(tiles, inputs), u)
        part.copy_(_by_tile(outputs, products.transpose(0, 1)).view(part.shape))
    return y.permute(0, 3, 1, 2)


def weight_gradient(x: Tensor, g: Tensor) -> Tensor:
    """Return the gradient of w, [O, C, 3, 3], in `outputs`: every transform the other way round."""
    inputs, kernels, outputs = _matrices(x.dtype)
    count, channels = g.shape[1], x.shape[1]
    total = x.new_empty(36, count, channels)
    for i, (tiles, part) in enumerate(_blocks(x.permute(0, 2, 3, 1), g.permute(0, 2, 3, 1))):  # The first needs no zeros.
        total.baddbmm_(_transformed(part, outputs.t()).transpose(1, 2), _transformed(tiles, inputs), beta=min(i, 1))
    return (kernels.t() @ total.view(36, -1)).view(3, 3, count, channels).permute(2, 3, 0, 1)


def _transformed(tiles: Tensor, transform: Tensor) -> Tensor:
    """Transform tiles [n, h, w, k, k, C] by a matrix [36, k * k], to [36, T, C]."""
    return _by_tile(transform, tiles.reshape(-1, transform.shape[1], tiles.shape[-1])).transpose(0, 1)


def _by_tile(transform: Tensor, tiles: Tensor) -> Tensor:
    """Multiply [a, b] with every tile of [T, b, C]: one after another, so that they stay in the nearest cache."""
    return torch.bmm(transform.expand(len(tiles), *transform.shape), tiles)


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield views of tiles of inputs x [N, H + 2, W + 2, C] with what surrounds them, and of outputs y [N, H, W, O].

    They are [n, h, w, k, k, C] with k = 6 and 4, and begin every 4 pixels; as many at a time as `BLOCK` tells.
    """
    rows, columns = (full // TILE for full in y.shape[1:3])
    tiles = BLOCK // max(x.shape[3], y.shape[3])
    images, lines = max(1, tiles // (rows * columns)), max(1, tiles // columns)
    inputs, outputs = _windows(x, TILE + 2), _windows(y, TILE)
    for n in range(0, len(x), images):
        for row in range(0, rows, lines):
            block = slice(n, n + images), slice(row, row + lines)
            yield inputs[block], outputs[block]


def _windows(maps: Tensor, side: int) -> Tensor:
    """Return the view [N, rows, columns, side, side, C] of maps [N, H, W, C]."""
    return maps.unfold(1, side, TILE).unfold(2, side, TILE).permute(0, 1, 2, 4, 5, 3)
