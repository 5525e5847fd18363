"""VGG-19's convolutions (arXiv:1409.1556, configuration E), whose activations a perceptual distance compares."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512,))
"""Of the convolutions of each size, up to the first of the fifth; between two sizes, a pooling."""


class VGG19(nn.Module):
    """The convolutions up to relu5_1, never trained; the weights are no part of checkpoints and model files.

    Names are those of torchvision's file (`features.0.weight`, ...). Without weights, all activations are zero.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: list[list[int]] = []  # Of each size's convolutions, as torchvision numbers them.
        place, channels = 0, 3
        for widths in CHANNELS:
            self.places.append([])
            for width in widths:
                for part, shape in (("weight", (width, channels, 3, 3)), ("bias", (width,))):
                    self.register_buffer(f"features_{place}_{part}", torch.zeros(shape), persistent=False)
                self.places[-1].append(place)
                place, channels = place + 2, width  # A convolution and its ReLU,
            place += 1  # and a pooling.

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take weights of `read_weights`."""
        for key, tensor in weights.items():
            self.get_buffer(key.replace(".", "_")).copy_(tensor)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return relu1_1, relu2_1, ... relu5_1, [N, C_l, H / 2^l, W / 2^l] with l from 0, of x [N, 3, H, W] in [-1, 1].

        As in pix2pixHD's code, pictures are not brought to ImageNet's mean and deviation.
        """
        found = []
        for size, places in enumerate(self.places):
            x = F.max_pool2d(x, 2) if size else x
            for number, place in enumerate(places):
                weight, bias = (self.get_buffer(f"features_{place}_{part}") for part in ("weight", "bias"))
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
                if number == 0:
                    found.append(x)
        return found


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the convolutions out of torchvision's file of VGG-19 (`vgg19-dcbb9e9d.pth`); nothing in it is executed.

    Raises:
        OSError: it cannot be opened.
        ValueError: it holds more than tensors, or not this network; names the keys.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError("it holds more than tensors, or is no checkpoint; it was not opened further") from error
    held = held if isinstance(held, Mapping) else {}
    with torch.device("meta"):
        expected = {name.replace("_", "."): t.shape for name, t in VGG19().named_buffers()}
    wrong = [key for key, shape in expected.items() if not isinstance(held.get(key), Tensor) or held[key].shape != shape]
    if wrong:
        raise ValueError(
            f"it does not hold VGG-19's convolutions: {', '.join(wrong[:3])} missing or of another shape ({len(wrong)} of "
            f"{len(expected)}); expected torchvision's vgg19 file, without batch norms"
        )
    return {key: held[key] for key in expected}
