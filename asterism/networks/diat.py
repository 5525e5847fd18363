"""The networks of DIAT (arXiv:1610.05586), of which no code was published: sizes that the paper leaves open are ours.

Shapes: N batch, C picture channels, P patches.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.machine import at_least_float32
from asterism.networks.layers import Conv2d, InstanceNorm2d
from asterism.networks.stargan import Discriminator as StarGANDiscriminator
from asterism.networks.stargan import Generator as StarGANGenerator
from asterism.networks.stargan import ResidualBlock


class Generator(nn.Module):
    """Give pictures the attribute: y = m T(x) + (1 - m) x, with a transform network T and a mask m.

    Args:
        channels: C of the pictures.
        width: channels after the first convolution of T; the mask's network has half of it.
        blocks: residual blocks of T; the paper has 5.
        masked: with a mask, as in the journal version; else y = T(x), as in the first one.
    """

    def __init__(self, channels: int, width: int = 64, blocks: int = 5, masked: bool = True) -> None:
        super().__init__()
        self.transform = StarGANGenerator(channels, 0, width, blocks)
        self.mask = Mask(channels, max(1, width // 2)) if masked else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the pictures [N, C, H, W] in [-1, 1], and the mask [N, 1, H, W] in (0, 1) if there is one.

        H and W are multiples of 4.
        """
        y = self.transform(x, x.flatten(1)[:, :0])
        if self.mask is None:
            return y, None
        m = self.mask(x)
        return torch.lerp(*map(at_least_float32, (x, y, m))), m


class Mask(nn.Module):
    """Say where a picture is to change: a map of a quarter of the side, 32 x 32 of 128 pixels, smoothed and enlarged."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv2d(channels, width, 7, 1, 3, bias=False), InstanceNorm2d(width, slope=0.0)]
        for depth in range(2):
            sizes = width << depth, width << depth + 1
            layers += [Conv2d(*sizes, 4, 2, 1, bias=False), InstanceNorm2d(sizes[1], slope=0.0)]
        self.main = nn.Sequential(*layers, *(ResidualBlock(4 * width) for _ in range(2)), Conv2d(4 * width, 1, 3, 1, 1))
        kernel = torch.exp(-torch.arange(-2.0, 3.0).square() / 2)
        self.gauss = nn.Buffer(torch.outer(kernel, kernel)[None, None] / kernel.sum().square(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mask [N, 1, H, W] in (0, 1) of pictures [N, C, H, W]."""
        m = F.pad(self.main(x).sigmoid(), (2, 2, 2, 2), mode="replicate")
        m = F.conv2d(m, self.gauss.to(m.dtype))
        return F.interpolate(m, size=x.shape[2:], mode="bilinear", align_corners=False)


class Discriminator(StarGANDiscriminator):
    """Tell pictures that have the attribute from translations: StarGAN's discriminator without its class head."""

    def __init__(self, channels: int, size: tuple[int, int], width: int = 64, layers: int = 6) -> None:
        super().__init__(channels, 1, size, width, layers)
        del self.conv2

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return patch logits [N, P], raw, of pictures [N, C, H, W] in [-1, 1]."""
        return self.conv1(self.main(x)).flatten(1)


class Denoiser(nn.Module):
    """Two 3x3 convolutions, which learn to take noise off pictures; what they would take off is not smooth."""

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        self.main = nn.Sequential(Conv2d(channels, width, 3, 1, 1), nn.ReLU(), Conv2d(width, channels, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return self.main(x)


class VGG(nn.Module):
    """The convolutions of a network of VGG's kind (arXiv:1409.1556), never trained: 3x3, ReLU, and pooling between.

    Names are torchvision's, `features.<n>.weight` and `.bias`, with n counting convolutions, ReLUs and poolings: how many there
    are, and where the poolings, the numbers say. Weights are no part of checkpoints or model files: `load` takes them.
    """

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take weights of `read_weights`."""
        self.numbers = sorted({int(key.split(".")[1]) for key in weights})
        for key, tensor in weights.items():
            self.register_buffer(key.replace(".", "_"), tensor, persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the last activations of each size of pictures [N, 3, H, W] in [-1, 1]."""
        found, before = [], -2
        for n in self.numbers:
            if n - before > 2:  # A pooling lies between.
                found.append(x)
                x = F.max_pool2d(x, 2)
            weight, bias = (self.get_buffer(f"features_{n}_{part}") for part in ("weight", "bias"))
            x, before = F.relu(F.conv2d(x, weight, bias, padding=1)), n
        return [*found, x]


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the convolutions of a network of VGG's kind out of a state dict; nothing in it is executed.

    Raises:
        OSError: it cannot be opened.
        ValueError: it holds more than tensors, or not such a network.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError("it holds more than tensors, or is no checkpoint; it was not opened further") from error
    held = held if isinstance(held, Mapping) else {}
    found = {key: t.float() for key, t in held.items() if re.fullmatch(r"features\.\d+\.(weight|bias)", str(key))}
    channels = 3
    for number in sorted({int(key.split(".")[1]) for key in found}):
        weight, bias = (found.get(f"features.{number}.{part}") for part in ("weight", "bias"))
        if weight is None or bias is None or weight.ndim != 4 or weight.shape[1:] != (channels, 3, 3):
            raise ValueError(
                f"features.{number} is no 3x3 convolution of {channels} channels with a bias; expected VGG's, as torchvision"
            )
        channels = len(weight)
    if not found:
        raise ValueError("it holds no features.0.weight; expected a network of VGG's kind, with torchvision's names")
    return found
