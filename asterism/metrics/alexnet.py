"""AlexNet's convolutions ("One weird trick", arXiv:1404.5997), whose activations LPIPS compares."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS = (64, 192, 384, 256, 256)
LEAST_SIDE = 31
"""Pixels; of smaller pictures its poolings leave nothing."""


class AlexNet(nn.Module):
    """The five convolutions with their ReLUs; keys are those of the published file (`features.0.weight`, ...).

    Pictures are shifted and scaled from [-1, 1] to ImageNet's statistics, as LPIPS does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, 1, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, 1, 1),
            nn.ReLU(),
        )
        self.shift = nn.Buffer(torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.scale = nn.Buffer(torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the five activations [N, C_l, H_l, W_l] of pictures x [N, 3, H, W] in [-1, 1], at least `LEAST_SIDE` px."""
        x = (x - self.shift) / self.scale
        found = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(x)
        return found
