"""The published training steps of RelGAN and GANimation, transcribed plainly in our own words, as in `published_step`.

Both are told labels. RelGAN's is the step of its Keras code: fakes of the discriminator's update have no graph, each picture
goes through the discriminator by itself, both penalties differentiate a gradient. The class head is asterism's own, one small
layer; both sides train it. GANimation's fakes are made with a graph that is thrown away, once for the discriminator's step and
that of its penalty, and again for the generator's.

Shapes: as in `asterism.recipes.relgan` and `asterism.recipes.ganimation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.data.batch import Batch
from bench.published_networks import StarGANGenerator
from bench.published_step import Published, PublishedStarGAN, label_cross_entropy

# -- RelGAN ------------------------------------------------------------------------------------------------------------


class SwitchableNorm(nn.Module):
    """A mixture of instance norm, layer norm, and the constants that stood for batch norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.mean_weight, self.var_weight = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
        self.register_buffer("running_mean", torch.ones(1, channels, 1))
        self.register_buffer("running_var", torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same."""
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
        mean_layer = mean.mean(1, keepdim=True)
        var_layer = (var + mean**2).mean(1, keepdim=True) - mean_layer**2
        a, b = self.mean_weight.softmax(0), self.var_weight.softmax(0)
        mean = a[0] * mean + a[1] * mean_layer + a[2] * self.running_mean[..., None]
        var = b[0] * var + b[1] * var_layer + b[2] * self.running_var[..., None]
        return self.weight * (x - mean) / (var + 1e-5).sqrt() + self.bias


def switched(layer: nn.Module) -> nn.Sequential:
    """A convolution, the norm, ReLU."""
    return nn.Sequential(layer, SwitchableNorm(layer.out_channels), nn.ReLU(True))  # type: ignore[arg-type]


class SwitchedResidual(nn.Module):
    """Two 3x3 convolutions with norms, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(2))
        self.f = nn.Sequential(*switched(first), second, SwitchableNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to the same."""
        return x + self.f(x)


class RelGANGenerator(nn.Module):
    """StarGAN's shape, told by how much every label changes."""

    def __init__(self, labels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.conv_in = switched(nn.Conv2d(3 + labels, width, 7, 1, 3))
        self.down1 = switched(nn.Conv2d(width, 2 * width, 4, 2, 1))
        self.down2 = switched(nn.Conv2d(2 * width, 4 * width, 4, 2, 1))
        self.resb = nn.Sequential(*(SwitchedResidual(4 * width) for _ in range(blocks)))
        self.up2 = switched(nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1))
        self.up1 = switched(nn.ConvTranspose2d(2 * width, width, 4, 2, 1))
        self.conv_out = nn.Sequential(nn.Conv2d(width, 3, 7, 1, 3))

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        """Pictures and changes [N, L] to pictures."""
        h = torch.cat([x, v[:, :, None, None].repeat(1, 1, *x.shape[2:])], 1)
        h = self.resb(self.down2(self.down1(self.conv_in(h))))
        return torch.tanh(self.conv_out(self.up1(self.up2(h))))


class RelGANDiscriminator(nn.Module):
    """Halving convolutions, and three heads: real, match, the degree of interpolation."""

    def __init__(self, labels: int, widths: Sequence[int], degrees: int) -> None:
        super().__init__()
        trunk: list[nn.Module] = []
        for before, width in zip((3, *widths), widths, strict=False):
            trunk += [nn.Conv2d(before, width, 4, 2, 1), nn.LeakyReLU(0.01, True)]
        top = widths[-1]
        self.convs = nn.Sequential(*trunk)
        self.conv_adv, self.conv_int = nn.Conv2d(top, 1, 1), nn.Conv2d(top, degrees, 1)
        self.convs_cls = nn.Sequential(nn.Conv2d(2 * top + labels, top, 1), nn.LeakyReLU(0.01), nn.Conv2d(top, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Pictures to features."""
        return self.convs(x)

    def match(self, h: Tensor, other: Tensor, v: Tensor) -> Tensor:
        """Whether v leads from one picture to the other, of the features of both."""
        return self.convs_cls(torch.cat([h, other, v[:, :, None, None].repeat(1, 1, *h.shape[2:])], 1))

    def degree(self, h: Tensor) -> Tensor:
        """The degree of interpolation of every patch, [N, h, w], of features."""
        return self.conv_int(h).mean(1)


class PublishedRelGAN(Published):
    """RelGAN's step: the discriminator with both penalties, then the generator."""

    def __init__(
        self,
        weights: Mapping[str, Tensor] | None,
        *,
        size: int,
        labels: int,
        width: int,
        blocks: int,
        widths: Sequence[int],
        degrees: int,
        lr: float = 5e-5,
        device: torch.device,
    ) -> None:
        self.generator = RelGANGenerator(labels, width, blocks)
        self.discriminator = RelGANDiscriminator(labels, widths, degrees)
        self.classifier = nn.Conv2d(widths[-1], labels, size >> len(widths), bias=False)
        names = ("generator", "discriminator", "classifier")
        self.networks = {name: getattr(self, name) for name in names}
        self.updates = {"discriminator": self.update_discriminator, "generator": self.update_generator}
        self.to(device)
        self.start(weights, dict.fromkeys(names, lr), betas=(0.5, 0.999))

    def update_discriminator(self, batch: Batch) -> dict[str, float]:
        """Real or fake, six triplets of which the first is right, the degree of interpolation, two penalties."""
        g, d, v = self.generator, self.discriminator, batch.v_ab
        with torch.no_grad():
            x_fake, x_zero, x_part = (g(batch.x, told) for told in (v, torch.zeros_like(v), batch.strength * v))
        a, b, c, fake, zero, part = (d(x) for x in (batch.x, batch.x_b, batch.x_c, x_fake, x_zero, x_part))
        ends = torch.where(batch.strength[:, :, None] < 0.5, d.degree(zero), d.degree(fake))
        wanted = torch.minimum(batch.strength, 1 - batch.strength)[:, :, None]
        middle = batch.alpha * batch.x + (1 - batch.alpha) * x_fake
        losses = {
            "real": squares(d.conv_adv(b), 1),
            "fake": squares(d.conv_adv(fake), 0),
            "match_real": squares(d.match(a, b, v), 1),
            "match_fake": squares(d.match(a, fake, v), 0),
            "match_source": squares(d.match(c, b, v), 0),
            "match_target": squares(d.match(a, c, v), 0),
            "match_ac": squares(d.match(a, b, batch.v_ac), 0),
            "match_cb": squares(d.match(a, b, batch.v_cb), 0),
            "interpolation": squares(d.degree(part) - wanted, 0),
            "interpolation_ends": squares(ends, 0),
            "penalty": slope_penalty(lambda x: d.conv_adv(d(x)), middle),
            "penalty_interpolation": slope_penalty(lambda x: d.degree(d(x)), x_part),
            "class": label_cross_entropy(self.classifier(a.detach()).flatten(1), batch.labels),
        }
        factors = {"interpolation": 10, "interpolation_ends": 10, "penalty": 150, "penalty_interpolation": 150}
        total = torch.stack([factors.get(name, 1) * loss for name, loss in losses.items()]).sum()
        self.descend(total, ("discriminator", "classifier"))
        return {name: loss.item() for name, loss in losses.items()}

    def update_generator(self, batch: Batch) -> dict[str, float]:
        """Be real, match, look like no interpolation, come back, and change nothing where nothing is asked for."""
        g, d, v = self.generator, self.discriminator, batch.v_ab
        d.requires_grad_(False)
        x_fake, x_zero, x_part = (g(batch.x, told) for told in (v, torch.zeros_like(v), batch.strength * v))
        a, fake, part = (d(x) for x in (batch.x, x_fake, x_part))
        losses = {
            "fake": squares(d.conv_adv(fake), 1),
            "match": squares(d.match(a, fake, v), 1),
            "interpolation": squares(d.degree(part), 0),
            "reconstruction": F.l1_loss(g(x_fake, -v), batch.x),
            "zero": F.l1_loss(x_zero, batch.x),
            "orthogonal": off_diagonal(g),
        }
        factors = {"interpolation": 10, "reconstruction": 10, "zero": 10, "orthogonal": 0}  # Built, and never added.
        total = torch.stack([factors.get(name, 1) * loss for name, loss in losses.items()]).sum()
        self.descend(total, ("generator",))
        d.requires_grad_(True)
        return {name: loss.item() for name, loss in losses.items()}

    def iteration(self, batch: Batch) -> None:
        """Discriminator, then generator."""
        self.update_discriminator(batch)
        self.update_generator(batch)


def off_diagonal(network: nn.Module) -> Tensor:
    """How far from orthogonal the larger kernels are, position by position."""
    found = torch.zeros(())
    for kernel in (p for p in network.parameters() if p.ndim == 4 and p.shape[3] > 1):
        w = kernel.flatten(2).permute(2, 0, 1)
        square = (w.transpose(1, 2) @ w).square()
        found = found.to(square) + square.sum() - square.diagonal(dim1=1, dim2=2).sum()
    return found


def squares(values: Tensor, wanted: float) -> Tensor:
    """Least squares."""
    return ((values - wanted) ** 2).mean()


def slope_penalty(score: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(||grad|| - 1)^2 of a score's sum over patches, by differentiating the gradient."""
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(score(x).sum(), x, create_graph=True)
    return ((slope.flatten(1).square().sum(1).sqrt() - 1) ** 2).mean()


# -- GANimation --------------------------------------------------------------------------------------------------------


class AttentiveGenerator(nn.Module):
    """StarGAN's generator without its last layers, a head for colours and one for the attention."""

    def __init__(self, channels: int, codes: int, width: int, blocks: int) -> None:
        super().__init__()
        self.main = StarGANGenerator(channels, codes, width, blocks).main[:-2]
        self.img_reg = nn.Sequential(nn.Conv2d(width, channels, 7, 1, 3, bias=False), nn.Tanh())
        self.attetion_reg = nn.Sequential(nn.Conv2d(width, 1, 7, 1, 3, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures and codes to pictures, and the attention, of which 1 keeps a pixel."""
        h = self.main(torch.cat([x, c[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1))
        colours, attention = self.img_reg(h), self.attetion_reg(h)
        return attention * x + (1 - attention) * colours, attention


class PublishedGANimation(PublishedStarGAN):
    """GANimation's three steps over one dataset; the generator's at every fifth iteration."""

    draws = AttentiveGenerator

    def __init__(self, weights: Mapping[str, Tensor] | None, **shape: Any) -> None:
        super().__init__(weights, **shape)
        self.updates = {"discriminator": self.update_discriminator, "penalty": self.update_penalty}
        self.updates |= {"generator": self.update_generator}
        self.fake: Tensor | None = None

    def update_discriminator(self, batch: Batch) -> dict[str, float]:
        """Critic of real and fake, the numbers of real pictures."""
        self.fake = self.generator(batch.x, batch.c_trg)[0].detach()
        (real, read), (fake, _) = self.discriminator(batch.x), self.discriminator(self.fake)
        losses = {"real": -real.mean(), "fake": fake.mean(), "numbers": F.mse_loss(read, batch.c_src)}
        self.descend(losses["real"] + losses["fake"] + 160 * losses["numbers"], ("discriminator",))
        return {name: loss.item() for name, loss in losses.items()}

    def update_penalty(self, batch: Batch) -> dict[str, float]:
        """A step of its own, on the same fakes."""
        if self.fake is None:
            self.fake = self.generator(batch.x, batch.c_trg)[0].detach()
        between = batch.alpha * batch.x + (1 - batch.alpha) * self.fake
        penalty = slope_penalty(lambda x: self.discriminator(x)[0], between)
        self.descend(10 * penalty, ("discriminator",))
        return {"penalty": penalty.item()}

    def update_generator(self, batch: Batch) -> dict[str, float]:
        """Fool the critic, have the target's numbers, come back; a small, smooth attention both ways."""
        self.discriminator.requires_grad_(False)
        x_fake, there = self.generator(batch.x, batch.c_trg)
        patches, read = self.discriminator(x_fake)
        x_rec, back = self.generator(x_fake, batch.c_src)
        losses = {
            "fake": -patches.mean(),
            "numbers": F.mse_loss(read, batch.c_trg),
            "reconstruction": F.l1_loss(x_rec, batch.x),
            "attention": there.mean(),
            "attention_back": back.mean(),
            "smooth": variation(there),
            "smooth_back": variation(back),
        }
        factors = {"fake": 1, "numbers": 160, "reconstruction": 10, "attention": 0.1, "smooth": 2.5e-4}
        total = torch.stack([factors[name.removesuffix("_back")] * loss for name, loss in losses.items()]).sum()
        self.descend(total, ("generator",))
        self.discriminator.requires_grad_(True)
        shares = {"kept": (there > 0.95).double().mean(), "painted": (there < 0.05).double().mean()}
        return {name: loss.item() for name, loss in (losses | shares).items()}

    def iteration(self, batch: Batch) -> None:
        """Five steps of the discriminator and of its penalty, one of the generator."""
        for _ in range(self.critic_steps):
            self.update_discriminator(batch)
            self.update_penalty(batch)
        self.update_generator(batch)


def variation(a: Tensor) -> Tensor:
    """Absolute differences of neighbours, summed over a picture, mean over the batch."""
    return (a.diff(dim=2).abs().sum() + a.diff(dim=3).abs().sum()) / len(a)
