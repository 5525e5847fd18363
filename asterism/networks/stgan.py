"""The networks of STGAN (arXiv:1904.09709) and, without its selective transfer units, of AttGAN (arXiv:1711.10678).

Encoder, decoder and discriminator have the parameter names and shapes of AttGAN's published PyTorch weights; the units are
beside them. Levels count halvings from 0, the outermost.

Shapes: N batch, C picture channels, W width, n layers; code c [N, L]; the features of level i are [N, W_i, H / 2^(i+1), ...].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asterism.machine import at_least_float32
from asterism.networks.layers import BatchNorm2d, Conv2d
from asterism.networks.sizes import SizeError
from asterism.networks.transposed import ConvTranspose2d

WIDEST = 1024
"""Channels double with every halving, up to these."""


@dataclass(frozen=True)
class Constants:
    """What published implementations do not agree on, and weights depend on.

    Args:
        slope: negative slope of the leaky ReLUs.
        head_slope: the same in the discriminator's heads; 0 is ReLU.
        batch_eps: added to a batch norm's variance.
        instance_eps: the same of an instance norm.
    """

    slope: float = 0.2
    head_slope: float = 0.2
    batch_eps: float = 1e-3
    instance_eps: float = 1e-6


OFFICIAL = Constants()
"""The authors' TensorFlow code, of both papers."""

PYTORCH = Constants(slope=0.01, head_slope=0.0, batch_eps=1e-5, instance_eps=1e-5)
"""AttGAN-PyTorch, whose weights are published."""


class Generator(nn.Module):
    """Halve n times, double n times, and be told the code on the way back.

    A recipe may call `encode` once for several codes.

    Args:
        channels: C.
        code: L, the length of the code.
        width: W, channels after the first convolution.
        layers: n, 2 or more.
        skips: levels, from the innermost, whose features the decoder sees too, n - 1 at most.
        units: the features of a skip pass a selective transfer unit, which is told the code.
        injections: levels of the decoder, from the innermost, that are told the code, as the bottleneck is; n - 1 at most.
        state_injections: of the states that units hand on, how many are told the code, from the innermost.
        constants: slopes and epsilons.
    """

    passes = ("encode", "decode")

    def __init__(
        self,
        channels: int,
        code: int,
        width: int = 64,
        layers: int = 5,
        skips: int = 4,
        units: bool = True,
        injections: int = 4,
        state_injections: int = 4,
        constants: Constants = OFFICIAL,
    ) -> None:
        super().__init__()
        skips, injections = min(skips, layers - 1), min(injections, layers - 1)
        self.skips, self.injections, self.state_injections = skips, injections, state_injections
        widths = [min(width << level, WIDEST) for level in range(layers)]

        def norm(channels: int) -> nn.Module:
            return BatchNorm2d(channels, constants.batch_eps)

        self.enc_layers = nn.ModuleList()
        for entering, leaving in zip([channels, *widths[:-1]], widths, strict=True):
            convolution = Conv2d(entering, leaving, 4, 2, 1, bias=False)
            self.enc_layers.append(Layer(convolution, norm(leaving), nn.LeakyReLU(constants.slope)))
        self.dec_layers = nn.ModuleList()
        entering = widths[-1] + code
        for place, leaving in enumerate(reversed(widths[1:])):  # From the innermost; what leaves meets level n - 2 - place.
            doubling = ConvTranspose2d(entering, leaving, 4, 2, 1, bias=False)
            self.dec_layers.append(Layer(doubling, norm(leaving), nn.ReLU()))
            entering = leaving + (place < skips) * widths[layers - 2 - place] + (place < injections) * code
        self.dec_layers.append(Layer(ConvTranspose2d(entering, channels, 4, 2, 1), nn.Tanh()))
        self.stu = nn.ModuleList()
        state = widths[-1] + code
        for place in range(skips if units else 0):
            leaving = widths[layers - 2 - place]
            self.stu.append(SelectiveTransferUnit(leaving, state))
            state = leaving + (place < state_injections) * code
        self.apply(initialize)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Return pictures [N, C, H, W] in (-1, 1).

        Args:
            x: [N, C, H, W] in [-1, 1], sides that are multiples of 2**n.
            c: [N, L].
        """
        return self.decode(self.encode(x), c)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the features of every level, from the outermost; they do not depend on the code."""
        features = []
        for layer in self.enc_layers:
            x = layer(x)
            features.append(x)
        return features

    def decode(self, features: list[Tensor], c: Tensor) -> Tensor:
        """Return the pictures that features and codes c [N, L] make."""
        skipped = features[-2::-1][: self.skips]  # From the innermost.
        if self.stu:
            skipped = self.transfer(features[-1], skipped, c)
        y = beside(features[-1], c)
        for place, layer in enumerate(self.dec_layers):
            y = layer(y)
            if place < self.skips:
                y = torch.cat([y, skipped[place]], 1)
            if place < self.injections:
                y = beside(y, c)
        return y

    def transfer(self, bottleneck: Tensor, features: list[Tensor], c: Tensor) -> list[Tensor]:
        """Return what the units let through of the features, from the innermost; each hands a state to the next."""
        state, selected = beside(bottleneck, c), []
        for place, (unit, f) in enumerate(zip(self.stu, features, strict=True)):
            y, state = unit(f, state)
            selected.append(y)
            if place < self.state_injections:
                state = beside(state, c)
        return selected


class Layer(nn.Module):
    """A convolution with what follows it, under the name of the published weights."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply them in order."""
        return self.layers(x)


class SelectiveTransferUnit(nn.Module):
    """Decide what of an encoder's features passes on, by the state of the level within.

    Args:
        channels: of the features.
        state: channels of the state that comes in.
    """

    def __init__(self, channels: int, state: int) -> None:
        super().__init__()
        self.upsample = ConvTranspose2d(state, channels, 4, 2, 1)
        self.reset_gate, self.update_gate, self.hidden = (Conv2d(2 * channels, channels, 3, 1, 1) for _ in range(3))

    def forward(self, f: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return what passes, and the next unit's state, both like f [N, W_i, h, w]; the state comes in at half that size."""
        s = self.upsample(state)
        both = torch.cat([f, s], 1)
        s_new = torch.sigmoid(self.reset_gate(both)) * s
        z = torch.sigmoid(self.update_gate(both))
        f_new = torch.tanh(self.hidden(torch.cat([f, s_new], 1)))
        return (1 - z) * s + z * f_new, s_new


class Discriminator(nn.Module):
    """Score pictures as a whole, and read their labels.

    Args:
        channels: C.
        labels: L.
        size: height and width of the pictures.
        width: W, channels after the first convolution.
        layers: n, halvings.
        fc_dim: width of the hidden layer of each head.
        constants: slopes and epsilons.
        exact: see `InstanceNorm2d`.
    """

    def __init__(
        self,
        channels: int,
        labels: int,
        size: tuple[int, int],
        width: int = 64,
        layers: int = 5,
        fc_dim: int = 1024,
        constants: Constants = OFFICIAL,
        exact: bool = True,
    ) -> None:
        super().__init__()
        widths = [channels, *(min(width << level, WIDEST) for level in range(layers))]
        self.conv = nn.Sequential(
            *(
                Layer(
                    Conv2d(entering, leaving, 4, 2, 1, bias=False),
                    InstanceNorm2d(leaving, constants.instance_eps, exact),
                    nn.LeakyReLU(constants.slope),
                )
                for entering, leaving in zip(widths[:-1], widths[1:], strict=True)
            )
        )
        flat = widths[-1] * (size[0] >> layers) * (size[1] >> layers)

        def head(outputs: int) -> nn.Sequential:
            hidden = Layer(nn.Linear(flat, fc_dim), nn.LeakyReLU(constants.head_slope))
            return nn.Sequential(hidden, Layer(nn.Linear(fc_dim, outputs)))

        self.fc_adv, self.fc_cls = head(1), head(labels)
        self.apply(initialize)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return raw scores [N] and raw class logits [N, L] of pictures [N, C, H, W] in [-1, 1]."""
        h = self.conv(x).flatten(1)
        return self.fc_adv(h).flatten(), self.fc_cls(h)


class InstanceNorm2d(nn.InstanceNorm2d):
    """PyTorch's layer with scale and shift, or one whose gradient differentiates as TensorFlow's does.

    TensorFlow's `tf.nn.moments` takes the mean within the variance for a constant. That changes no gradient, since deviations
    from a mean add up to zero, but it changes the gradient of a gradient, which a penalty needs.

    Args:
        channels: C.
        eps: added to the variance.
        exact: False: as TensorFlow's.
    """

    def __init__(self, channels: int, eps: float, exact: bool) -> None:
        super().__init__(channels, eps, affine=True)
        self.exact = exact

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        if self.exact:
            return super().forward(x)
        wide = at_least_float32(x)  # As PyTorch's layer computes.
        mean = wide.mean((2, 3), keepdim=True)
        scale = ((wide - mean.detach()).square().mean((2, 3), keepdim=True) + self.eps).rsqrt()
        return ((wide - mean) * scale * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def beside(h: Tensor, c: Tensor) -> Tensor:
    """Return features h [N, F, h, w] with the code c [N, L] at every pixel, [N, F + L, h, w]."""
    return torch.cat([h, c.to(h.dtype)[:, :, None, None].expand(-1, -1, *h.shape[2:])], 1)


def initialize(module: nn.Module) -> None:
    """Draw weights from Xavier's uniform distribution; biases are zero: what the authors' code leaves to TensorFlow."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check_size(size: tuple[int, int], layers: int, discriminator_layers: int) -> None:
    """Refuse pictures that the networks cannot halve so often, down to 2 pixels or more, which an instance norm needs.

    Raises:
        SizeError: with the nearest valid size.
    """
    most, who = max((layers, "num_layers"), (discriminator_layers, "discriminator_layers"))
    valid = tuple(max(2, round(side / (1 << most))) << most for side in size)
    if valid != tuple(size):
        raise SizeError(
            f"data.size {size[0]}x{size[1]}: sides must be multiples of {1 << most} and at least {2 << most} "
            f"(recipe.{who} {most}); the nearest is {valid[0]}x{valid[1]}"
        )
