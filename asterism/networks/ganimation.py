"""The generator of GANimation (arXiv:1807.09251): StarGAN's, with a head for colours and one for the attention.

Parameter names and shapes are those of the authors' code, `attetion_reg` spelled as there. The discriminator is StarGAN's.

Shapes: N batch, C picture channels, H, W multiples of 4, n code length.
"""

from __future__ import annotations

from torch import Tensor, nn

from asterism.machine import at_least_float32
from asterism.networks import stargan
from asterism.networks.cyclegan import initialize
from asterism.networks.layers import Conv2d


class Generator(nn.Module):
    """Paint some of a picture's pixels anew, as a code says.

    Args:
        channels: C of the pictures.
        code_size: n.
        width: channels after the first convolution; the paper's is 64.
        blocks: residual blocks; the paper's number is 6.
    """

    def __init__(self, channels: int, code_size: int, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        self.main = stargan.Generator(channels, code_size, width, blocks).main[:-1]  # [N, width, H, W]
        self.img_reg = nn.Sequential(Conv2d(width, channels, 7, 1, 3, bias=False), nn.Tanh())  # [N, C, H, W]
        self.attetion_reg = nn.Sequential(Conv2d(width, 1, 7, 1, 3, bias=False), nn.Sigmoid())  # [N, 1, H, W]
        initialize(self)

    def heads(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return colours [N, C, H, W] in (-1, 1) and the attention [N, 1, H, W] in (0, 1), of which 1 keeps a pixel.

        Args:
            x: [N, C, H, W] in [-1, 1].
            c: [N, n].
        """
        h = self.main(stargan.with_code(x, c))  # [N, width, H, W]
        return at_least_float32(self.img_reg(h)), at_least_float32(self.attetion_reg(h))

    def forward(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pictures A x + (1 - A) C, [N, C, H, W], and the attention A, at least float32; as `heads`."""
        colours, attention = self.heads(x, c)
        return attention * at_least_float32(x) + (1 - attention) * colours, attention
