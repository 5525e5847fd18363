"""The published training steps of CycleGAN and pix2pix, transcribed plainly in our own words, as in `published_step`.

Eager, float32, plane by plane, with PyTorch's own layers; one optimiser each for all that is stepped together amounts to one
per network. Of the pool, which fills for fifty steps, the fakes pass as they are. Dropout takes the masks of the batch in the
place of drawn ones. Parameter names and shapes are the published ones, which are asterism's too.

An update that comes second in a step takes the fakes that the first one made, as published; where there are none, it makes
them.

Shapes: as in `asterism.recipes.cyclegan` and `asterism.recipes.pix2pix`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.data.batch import Batch
from bench.published_step import Published

# -- CycleGAN ----------------------------------------------------------------------------------------------------------


def with_instance_norm(convolution: nn.Module, activation: nn.Module) -> list[nn.Module]:
    """A convolution, instance norm without scale and shift, and an activation."""
    return [convolution, nn.InstanceNorm2d(convolution.out_channels), activation]  # type: ignore[arg-type]


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions of reflected borders, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = [nn.ReflectionPad2d(1), *with_instance_norm(nn.Conv2d(channels, channels, 3), nn.ReLU(True))]
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to the same."""
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """Halvings, residual blocks, doublings, tanh."""

    def __init__(self, width: int, blocks: int, halvings: int = 2) -> None:
        super().__init__()
        layers = [nn.ReflectionPad2d(3), *with_instance_norm(nn.Conv2d(3, width, 7), nn.ReLU(True))]
        for depth in range(halvings):
            halving = nn.Conv2d(width << depth, width << depth + 1, 3, 2, 1)
            layers += with_instance_norm(halving, nn.ReLU(True))
        layers += [ResnetBlock(width << halvings) for _ in range(blocks)]
        for depth in range(halvings, 0, -1):
            doubling = nn.ConvTranspose2d(width << depth, width << depth - 1, 3, 2, 1, output_padding=1)
            layers += with_instance_norm(doubling, nn.ReLU(True))
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Pictures to pictures."""
        return self.model(x)


def patch_layers(channels: int, width: int, layers: int, norm: type[nn.Module]) -> nn.Sequential:
    """The PatchGAN: halving convolutions, one more of stride 1, and one to logits."""
    bias, slope = norm is nn.InstanceNorm2d, 0.2
    trunk: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(slope, True)]
    before = width
    for depth in range(1, layers + 1):
        after, stride = width * min(2**depth, 8), 2 if depth < layers else 1
        trunk += [nn.Conv2d(before, after, 4, stride, 1, bias=bias), norm(after), nn.LeakyReLU(slope, True)]
        before = after
    return nn.Sequential(*trunk, nn.Conv2d(before, 1, 4, 1, 1))


class PatchDiscriminator(nn.Module):
    """Logits of patches."""

    def __init__(self, channels: int, width: int, layers: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.model = patch_layers(channels, width, layers, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures to logits [N, 1, h, w]."""
        return self.model(x)


class PublishedCycleGAN(Published):
    """CycleGAN's step: both generators by one loss, then both discriminators on the fakes that were made for it."""

    def __init__(
        self,
        weights: Mapping[str, Tensor] | None,
        *,
        width: int,
        blocks: int,
        critic_width: int,
        layers: int,
        lr: float = 2e-4,
        device: torch.device,
    ) -> None:
        self.networks = {f"generator_{d}": ResnetGenerator(width, blocks) for d in "ab"}
        self.networks |= {f"discriminator_{d}": PatchDiscriminator(3, critic_width, layers, nn.InstanceNorm2d) for d in "ab"}
        self.updates = {"generators": self.update_generators, "discriminators": self.update_discriminators}
        self.fakes: tuple[Tensor, Tensor] | None = None
        self.to(device)
        self.start(weights, dict.fromkeys(self.networks, lr), betas=(0.5, 0.999))

    def update_generators(self, batch: Batch) -> dict[str, float]:
        """Fool both discriminators, come back, and leave pictures of the target alone."""
        x_a, x_b = by_domain(batch, batch.x_other)
        to_a, to_b = self.networks["generator_a"], self.networks["generator_b"]
        judges = [self.networks["discriminator_a"], self.networks["discriminator_b"]]
        for judge in judges:
            judge.requires_grad_(False)
        fake_b, fake_a = to_b(x_a), to_a(x_b)
        self.fakes = (fake_a.detach(), fake_b.detach())
        losses = {
            "adversarial_a": distance(judges[0](fake_a), 1),
            "adversarial_b": distance(judges[1](fake_b), 1),
            "cycle_a": F.l1_loss(to_a(fake_b), x_a),
            "cycle_b": F.l1_loss(to_b(fake_a), x_b),
            "identity_a": F.l1_loss(to_a(x_a), x_a),
            "identity_b": F.l1_loss(to_b(x_b), x_b),
        }
        weights = {"adversarial": 1, "cycle": 10, "identity": 5}
        total = torch.stack([weights[name.split("_")[0]] * loss for name, loss in losses.items()]).sum()
        self.descend(total, ("generator_a", "generator_b"))
        for judge in judges:
            judge.requires_grad_(True)
        return {name: loss.item() for name, loss in losses.items()}

    def update_discriminators(self, batch: Batch) -> dict[str, float]:
        """Real is 1, fake is 0, halved; a gradient for each domain, then a step of both."""
        x_a, x_b = by_domain(batch, batch.x_other)
        if self.fakes is None:
            with torch.no_grad():
                self.fakes = self.networks["generator_a"](x_b), self.networks["generator_b"](x_a)
        names = ("discriminator_a", "discriminator_b")
        for name in names:
            self.optimizers[name].zero_grad()
        losses: dict[str, float] = {}
        for name, real, fake in zip(names, (x_a, x_b), self.fakes, strict=True):
            judge, domain = self.networks[name], name[-1]
            of_real, of_fake = distance(judge(real), 1), distance(judge(fake), 0)
            (0.5 * (of_real + of_fake)).backward()
            losses |= {f"real_{domain}": of_real.item(), f"fake_{domain}": of_fake.item()}
        for name in names:
            self.optimizers[name].step()
        self.fakes = None
        return losses

    def iteration(self, batch: Batch) -> None:
        """Generators, then discriminators."""
        self.update_generators(batch)
        self.update_discriminators(batch)


def by_domain(batch: Batch, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return x_a and x_b: each sample's own picture and the one that comes with it, sorted by domain."""
    own = (batch.y == 0)[:, None, None, None]
    return torch.where(own, batch.x, other), torch.where(own, other, batch.x)


def distance(logits: Tensor, wanted: float) -> Tensor:
    """Least squares: the mean squared distance of logits from the wanted one."""
    return F.mse_loss(logits, torch.full_like(logits, wanted))


# -- pix2pix -----------------------------------------------------------------------------------------------------------


class UnetLevel(nn.Module):
    """Halve, what lies within, double; beside what came in, unless it is the outermost."""

    def __init__(self, outer: int, inner: int, within: UnetLevel | None, outermost: bool) -> None:
        super().__init__()
        halving = nn.Conv2d(outer, inner, 4, 2, 1, bias=False)
        doubling = nn.ConvTranspose2d(inner if within is None else 2 * inner, outer, 4, 2, 1, bias=outermost)
        down: list[nn.Module] = [halving] if outermost else [nn.LeakyReLU(0.2), halving]
        down += [] if outermost or within is None else [nn.BatchNorm2d(inner)]
        up = [nn.ReLU(), doubling, nn.Tanh() if outermost else nn.BatchNorm2d(outer)]
        self.model = nn.Sequential(*down, *([] if within is None else [within]), *up)
        self.outermost, self.mask = outermost, None

    def forward(self, x: Tensor) -> Tensor:
        """[N, outer, H, W] to [N, 2 outer, H, W], or to as many for the outermost."""
        y = self.model(x)
        if self.mask is not None:  # Dropout, behind the norm.
            y = y * self.mask
        return y if self.outermost else torch.cat([x, y], 1)


class UnetGenerator(nn.Module):
    """The U-Net with dropout in the levels around the innermost."""

    def __init__(self, halvings: int, width: int) -> None:
        super().__init__()
        widths = [3, *(width * min(2**depth, 8) for depth in range(halvings))]
        levels: list[UnetLevel] = []
        for depth in reversed(range(halvings)):
            within = levels[-1] if levels else None
            levels.append(UnetLevel(widths[depth], widths[depth + 1], within, outermost=depth == 0))
        self.model = levels[-1]
        first = min(4, max(1, halvings - 2))
        self.noisy = [(levels[halvings - 1 - depth], widths[depth], depth) for depth in range(first, halvings - 1)]

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """Pictures to pictures; s [N, S] are the masks of dropout, 0 or 2, level by level from outside."""
        begin = 0
        for level, channels, depth in self.noisy:
            height, width = x.shape[2] >> depth, x.shape[3] >> depth
            count = channels * height * width
            level.mask = s[:, begin : begin + count].view(-1, channels, height, width)
            begin += count
        return self.model(x)


class PublishedPix2Pix(Published):
    """pix2pix's step: the discriminator on the pair with the fake and the real pair, then the generator by the stepped one."""

    def __init__(
        self,
        weights: Mapping[str, Tensor] | None,
        *,
        halvings: int,
        width: int,
        critic_width: int,
        layers: int,
        lr: float = 2e-4,
        device: torch.device,
    ) -> None:
        self.generator = UnetGenerator(halvings, width)
        self.discriminator = PatchDiscriminator(6, critic_width, layers, nn.BatchNorm2d)
        self.networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.updates = {"discriminator": self.update_discriminator, "generator": self.update_generator}
        self.fake: Tensor | None = None
        self.to(device)
        self.start(weights, dict.fromkeys(self.networks, lr), betas=(0.5, 0.999))

    def update_discriminator(self, batch: Batch) -> dict[str, float]:
        """The fake is made here, with the graph that the generator's update goes back through."""
        x_src, x_trg = by_domain(batch, batch.x_pair)
        self.fake = self.generator(x_src, batch.s)
        fake = entropy(self.discriminator(torch.cat([x_src, self.fake], 1).detach()), 0)
        real = entropy(self.discriminator(torch.cat([x_src, x_trg], 1)), 1)
        self.descend(0.5 * (fake + real), ("discriminator",))
        return {"fake": fake.item(), "real": real.item()}

    def update_generator(self, batch: Batch) -> dict[str, float]:
        """Fool the discriminator, be near the partner."""
        x_src, x_trg = by_domain(batch, batch.x_pair)
        x_fake = self.generator(x_src, batch.s) if self.fake is None else self.fake
        self.fake = None
        self.discriminator.requires_grad_(False)
        adversarial = entropy(self.discriminator(torch.cat([x_src, x_fake], 1)), 1)
        distance_to_partner = F.l1_loss(x_fake, x_trg)
        self.descend(adversarial + 100 * distance_to_partner, ("generator",))
        self.discriminator.requires_grad_(True)
        return {"adversarial": adversarial.item(), "l1": distance_to_partner.item()}

    def iteration(self, batch: Batch) -> None:
        """Discriminator, then generator."""
        self.update_discriminator(batch)
        self.update_generator(batch)


def entropy(logits: Tensor, wanted: float) -> Tensor:
    """Binary cross-entropy with logits, mean over patches."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, wanted))
