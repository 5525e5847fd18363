"""ResNet-18 (arXiv:1512.03385, Table 1), for pictures from 32 px up and any number of channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from asterism.networks.layers import BatchNorm2d


class ResNet18(nn.Module):
    """Four stages of two basic blocks, then the mean over positions and a linear layer.

    The stem is a 3x3 convolution of stride 2 without pooling, so that small pictures keep some extent.

    Args:
        channels: of the pictures.
        outputs: logits.
        width: channels of the first stage; the paper's is 64.
    """

    def __init__(self, channels: int, outputs: int, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, 2, 1, bias=False), BatchNorm2d(width), nn.ReLU())
        blocks: list[nn.Module] = []
        for stage in range(4):
            size = width << stage
            blocks += [BasicBlock(size if stage == 0 else size // 2, size, 1 if stage == 0 else 2), BasicBlock(size, size, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width * 8, outputs)

    def features(self, x: Tensor) -> Tensor:
        """Return [N, 8 * width] features, the mean over positions, of pictures [N, C, H, W] in [-1, 1]."""
        return self.blocks(self.stem(x)).mean((2, 3))

    def stages(self, x: Tensor) -> list[Tensor]:
        """Return what the four stages make of pictures [N, C, H, W]: [N, width 2^l, H / 2^(l + 1), W / 2^(l + 1)]."""
        found = [self.stem(x)]
        for block in self.blocks:
            found.append(block(found[-1]))
        return found[2::2]

    def forward(self, x: Tensor) -> Tensor:
        """Return raw logits [N, outputs]."""
        return self.head(self.features(x))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            BatchNorm2d(outputs),
        )
        self.stride = stride
        same = inputs == outputs and stride == 1
        projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), BatchNorm2d(outputs))
        self.shortcut = nn.Identity() if same else projection

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / stride, W / stride].

        The shortcut is the paper's 1x1 convolution of stride `stride`, whose skipped pixels are left out beforehand: with
        few channels, its gradient in oneDNN writes past the end of a buffer (uxlfoundation/oneDNN#6035).
        """
        return F.relu(self.shortcut(x[:, :, :: self.stride, :: self.stride]) + self.residual(x))
