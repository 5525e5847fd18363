"""The face alignment network whose landmark maps make the masks of StarGAN v2's faces.

Unverified: the layers, keys and shapes are those of the published weight file, which was not at hand, so no output was
ever compared with it. What the keys do not tell (the order of the coordinate channels, rows first, and the ranges) is as
remembered from CoordConv (arXiv:1807.03247). One hourglass of depth 4 (arXiv:1603.06937) made of hierarchical blocks
(arXiv:1703.07332), with coordinate channels, as in Adaptive Wing Loss (arXiv:1904.07399).

Shapes: N batch; pictures [N, 3, 256, 256]; maps [N, 98, 64, 64], one per landmark of the WFLW scheme.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LANDMARKS = 98
SIDE = 256
"""Pixels that the network sees."""

DEPTH = 4
WIDTH = 256


class HierarchicalBlock(nn.Module):
    """Three convolutions, each on the one before, side by side in the output; before each norm and ReLU.

    Args:
        inputs, outputs: channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half, quarter = outputs // 2, outputs // 4
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, half, 3, 1, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), nn.Conv2d(half, quarter, 3, 1, 1, bias=False)
        self.bn3, self.conv3 = nn.BatchNorm2d(quarter), nn.Conv2d(quarter, quarter, 3, 1, 1, bias=False)
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs:
            self.downsample = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H, W]."""
        first = self.conv1(F.relu(self.bn1(x)))
        second = self.conv2(F.relu(self.bn2(first)))
        third = self.conv3(F.relu(self.bn3(second)))
        return torch.cat([first, second, third], dim=1) + self.downsample(x)


class Coordinates(nn.Module):
    """A convolution that also sees where it is: row, column and distance from the middle, each in [-1, 1].

    Args:
        conv: takes 3 channels more than the picture has.
        side: pixels of the square input.
    """

    def __init__(self, conv: nn.Conv2d, side: int) -> None:
        super().__init__()
        self.conv = conv
        row, column = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
        radius = torch.sqrt(row**2 + column**2)
        self.coordinates = nn.Buffer(torch.stack([row, column, radius / radius.max()])[None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [N, inputs, side, side] with the coordinates beside it."""
        return self.conv(torch.cat([x, self.coordinates.to(x.dtype).expand(x.shape[0], -1, -1, -1)], dim=1))


class Hourglass(nn.Module):
    """Blocks at five sizes, each halving of the map answered by a doubling that the skipped branch is added to."""

    def __init__(self) -> None:
        super().__init__()
        self.coordconv = Coordinates(nn.Conv2d(WIDTH + 3, WIDTH, 1), SIDE // 4)
        for level in range(DEPTH, 0, -1):  # In the order of the published keys.
            setattr(self, f"b1_{level}", HierarchicalBlock(WIDTH, WIDTH))
            setattr(self, f"b2_{level}", HierarchicalBlock(WIDTH, WIDTH))
        self.b2_plus_1 = HierarchicalBlock(WIDTH, WIDTH)
        for level in range(1, DEPTH + 1):
            setattr(self, f"b3_{level}", HierarchicalBlock(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, 256, 64, 64] to the same shape."""
        return self._at(DEPTH, self.coordconv(x))

    def _at(self, level: int, x: Tensor) -> Tensor:
        branch = getattr(self, f"b1_{level}")(x)
        low = getattr(self, f"b2_{level}")(F.avg_pool2d(x, 2))
        low = self._at(level - 1, low) if level > 1 else self.b2_plus_1(low)
        low = getattr(self, f"b3_{level}")(low)
        return branch + F.interpolate(low, scale_factor=2, mode="nearest")


class FAN(nn.Module):
    """Find the landmarks of a face. Its weights are loaded, never initialised and never trained.

    Until `load_state_dict` its parameters are not numbers, so that it cannot be used by mistake; its batch norms always
    use their running statistics.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Coordinates(nn.Conv2d(6, 64, 7, 2, 3), SIDE)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = HierarchicalBlock(64, 128)
        self.conv3 = HierarchicalBlock(128, 128)
        self.conv4 = HierarchicalBlock(128, 256)
        self.m0 = Hourglass()
        self.top_m_0 = HierarchicalBlock(WIDTH, WIDTH)
        self.conv_last0 = nn.Conv2d(WIDTH, WIDTH, 1)
        self.bn_end0 = nn.BatchNorm2d(WIDTH)
        self.l0 = nn.Conv2d(WIDTH, LANDMARKS + 1, 1)
        for parameter in self.parameters():
            nn.init.constant_(parameter, torch.nan)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FAN:
        """Stay in evaluation mode, whatever is asked."""
        return super().train(False)

    @property
    def loaded(self) -> bool:
        """Whether weights were loaded."""
        return not bool(torch.isnan(self.l0.weight).any())

    def forward(self, x: Tensor) -> Tensor:
        """Return landmark maps [N, 98, 64, 64], about 0 to 1, of pictures [N, 3, H, W] in [-1, 1]."""
        x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        h = F.relu(self.bn1(self.conv1(x * 0.5 + 0.5)))
        h = self.conv4(self.conv3(F.avg_pool2d(self.conv2(h), 2)))
        h = self.top_m_0(self.m0(h))
        h = F.relu(self.bn_end0(self.conv_last0(h)))
        return self.l0(h)[:, :LANDMARKS]  # The last map is the boundary of all parts.


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the landmark network's weights from a published file; nothing in it is executed.

    Args:
        path: `wing.ckpt`, or a StarGAN v2 file that holds a `fan`.

    Raises:
        OSError: it cannot be opened.
        ValueError: it holds more than tensors, or not exactly this network; names the keys.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError("it holds more than tensors, or is no checkpoint; it was not opened further") from error
    return chosen_weights(held if isinstance(held, Mapping) else {})


def chosen_weights(held: Mapping[str, object]) -> dict[str, Tensor]:
    """Return the landmark network's weights out of what a published file holds.

    The level `fan` or `state_dict` and the prefix `module.` may stand in front. Files of the stacked network hold further
    hourglasses, which are left out, as published; old ones do not count the batches of their norms.

    Raises:
        ValueError: it does not hold exactly this network otherwise; names the keys.
    """
    for level in ("fan", "state_dict"):
        inner = held.get(level)
        held = inner if isinstance(inner, Mapping) else held
    weights = {str(k).removeprefix("module."): t for k, t in held.items() if isinstance(t, Tensor)}
    weights = {k: t for k, t in weights.items() if not re.match(r"(m|top_m_|conv_last|bn_end|l)[1-9]\.|(bl|al)\d\.", k)}
    with torch.device("meta"):
        expected = FAN().state_dict()
    counts = {k: torch.tensor(0) for k in expected if k.endswith("num_batches_tracked")}
    weights = counts | weights
    wrong = [k for k in expected if k not in weights] + [k for k in weights if k not in expected]
    wrong += [k for k, t in expected.items() if k in weights and weights[k].shape != t.shape]
    if wrong:
        raise ValueError(
            f"it does not hold the landmark network: {', '.join(wrong[:3])} missing, surprising or of another shape "
            f"({len(wrong)} such keys; the network has {len(expected)})"
        )
    return {key: weights[key] for key in expected}
