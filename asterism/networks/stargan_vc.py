"""The networks of StarGAN-VC: gated convolutions over time, with the names and shapes of the published checkpoints.

Shapes: N batch, F features of a frame, T frames, n code length, L labels, W width, Z length of an embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.machine import at_least_float32
from asterism.networks.noise import hashed
from asterism.networks.sizes import SizeError

GAIN = 0.1
"""Of the normal initialisation of convolutions, small so that all gates begin half open."""


class Gated(nn.Module):
    """A convolution with weight norm, instance norm without parameters, and a gate: a * sigmoid(b) of its two halves.

    Args:
        channels: in and out.
        kernel, stride: in frames; the padding keeps T / stride frames, or T * stride.
        transposed: it lengthens.
    """

    def __init__(self, channels: tuple[int, int], kernel: int, stride: int = 1, transposed: bool = False) -> None:
        super().__init__()
        kind = nn.ConvTranspose1d if transposed else nn.Conv1d
        self.conv1 = _Weights(kind(channels[0], 2 * channels[1], kernel))
        self.stride, self.padding, self.transposed = stride, (kernel - stride) // 2, transposed

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, channels in, T] to [N, channels out, T / stride], or T * stride."""
        move = F.conv_transpose1d if self.transposed else F.conv1d
        h = F.instance_norm(move(x, self.conv1(), self.conv1.bias, self.stride, self.padding))
        a, b = h.chunk(2, dim=1)
        return a * b.sigmoid()


class _Weights(nn.Module):
    """The weight of a convolution as length and direction of each first index's part (arXiv:1602.07868), and its bias."""

    def __init__(self, plain: nn.Conv1d | nn.ConvTranspose1d) -> None:
        super().__init__()
        nn.init.xavier_normal_(plain.weight, GAIN)
        assert plain.bias is not None
        self.bias = plain.bias
        self.weight_g = nn.Parameter(plain.weight.detach().norm(dim=(1, 2), keepdim=True))
        self.weight_v = plain.weight

    def forward(self) -> Tensor:
        """Return the weight [channels, channels, kernel]."""
        return self.weight_v * (self.weight_g / self.weight_v.norm(dim=(1, 2), keepdim=True))


class Embedding(nn.Module):
    """The vectors of labels: of a code that names one label, that label's vector.

    Args:
        code_size: n.
        length: Z.
    """

    def __init__(self, code_size: int, length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(code_size, length))

    def forward(self, c: Tensor) -> Tensor:
        """Map codes [N, n] to [N, Z, 1]."""
        return (c.to(self.weight.dtype) @ self.weight)[:, :, None]


class Generator(nn.Module):
    """Translate a sequence of frames to the speaker that a code names: every layer of the decoder is told.

    Args:
        features: F.
        code_size: n.
        width: W of all layers but the bottleneck.
        bottleneck: its channels.
        embedding: Z.
        source: layers of the encoder are told the code of the source.
    """

    def __init__(self, features: int, code_size: int, width: int, bottleneck: int, embedding: int, source: bool) -> None:
        super().__init__()
        more = embedding if source else 0
        self.le1 = Gated((features + more, width), 9)  # [N, W, T]
        self.le2 = Gated((width + more, width), 8, 2)  # [N, W, T / 2]
        self.le3 = Gated((width + more, width), 8, 2)  # [N, W, T / 4]
        self.le4 = Gated((width + more, width), 5)
        self.le5 = Gated((width + more, bottleneck), 5)
        self.le6 = Gated((bottleneck + embedding, width), 5, transposed=True)
        self.le7 = Gated((width + embedding, width), 5, transposed=True)
        self.le8 = Gated((width + embedding, width), 8, 2, transposed=True)  # [N, W, T / 2]
        self.le9 = Gated((width + embedding, width), 8, 2, transposed=True)  # [N, W, T]
        self.le10 = nn.Conv1d(width + embedding, features, 9, padding=4)
        self.eb0 = Embedding(code_size, embedding) if source else None
        self.eb1 = Embedding(code_size, embedding)

    def forward(self, x: Tensor, c: Tensor, c_src: Tensor) -> Tensor:
        """Return sequences [N, F, T] from sequences [N, F, T] and codes [N, n] of target and source; T is a multiple of 4."""
        for layer in (self.le1, self.le2, self.le3, self.le4, self.le5):
            x = layer(x if self.eb0 is None else _beside(x, self.eb0(c_src)))
        for layer in (self.le6, self.le7, self.le8, self.le9):
            x = layer(_beside(x, self.eb1(c)))
        return self.le10(_beside(x, self.eb1(c)))


class Discriminator(nn.Module):
    """Tell real from fake, and the speaker, at every fourth frame.

    Args:
        features: F.
        num_labels: L.
        width: W.
        dropout: share of the values behind every layer that a pass with a seed drops.
    """

    def __init__(self, features: int, num_labels: int, width: int, dropout: float) -> None:
        super().__init__()
        self.le1 = Gated((features, width), 9)
        self.le2 = Gated((width, width), 8, 2)
        self.le3 = Gated((width, width), 8, 2)
        self.le4 = Gated((width, width), 5)
        self.le_adv = nn.Conv1d(width, 1, 5, padding=2, bias=False)
        self.le_cls = nn.Conv1d(width, num_labels, 5, padding=2, bias=False)
        for head in (self.le_adv, self.le_cls):
            nn.init.xavier_normal_(head.weight, GAIN)
        self.dropout = dropout

    def forward(self, x: Tensor, seed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return raw scores [N, T / 4] and raw logits [N, L, T / 4] of sequences [N, F, T].

        Args:
            seed: int64 [N], of what each sequence's pass drops; none: nothing.
        """
        for stream, layer in enumerate((self.le1, self.le2, self.le3, self.le4)):
            x = layer(x)
            if seed is not None and self.dropout:
                kept = hashed(seed, stream, x[0].numel()).view(x.shape) >= self.dropout
                x = x * kept.to(x.dtype) / (1 - self.dropout)
        return at_least_float32(self.le_adv(x)[:, 0]), at_least_float32(self.le_cls(x))


def _beside(x: Tensor, e: Tensor) -> Tensor:
    """Return frames [N, C, T] with an embedding [N, Z, 1] at each, [N, C + Z, T]."""
    return torch.cat([x, e.to(x.dtype).expand(-1, -1, x.shape[2])], dim=1)


def check_size(height: int, width: int) -> None:
    """Refuse a number of frames that the networks cannot take: they halve time twice and normalise over what is left.

    Raises:
        SizeError: with the nearest valid size.
    """
    valid = max(8, round(width / 4) * 4)
    if width != valid:
        raise SizeError(
            f"data.size {height}x{width}: the columns, which are frames, must be a multiple of 4 and at least 8; the nearest "
            f"is {height}x{valid}"
        )
