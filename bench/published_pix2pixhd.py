"""The published training step of pix2pixHD, transcribed plainly in our own words, as in `published_step`.

The global generator alone, between pictures, without the perceptual term, whose weights are a file, and without a feature
encoder. Both losses are made before either network steps: the real pair goes through the discriminators once, and its features
are what the fake's are compared with; the generator's gradient also fills the discriminators', which are then cleared.

Shapes: as in `asterism.recipes.pix2pixhd`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.data.batch import Batch
from bench.published_pairs import ResnetGenerator, by_domain, distance
from bench.published_step import Published


class MultiscaleDiscriminator(nn.Module):
    """PatchGANs for pictures of full and halved size, all layers of which are returned."""

    def __init__(self, width: int, layers: int, scales: int) -> None:
        super().__init__()
        self.layers, self.scales = layers, scales
        for scale in range(scales):
            before = 6
            for layer in range(layers + 2):
                after, stride = min(width << layer, 512) if layer <= layers else 1, 2 if layer < layers else 1
                block: list[nn.Module] = [nn.Conv2d(before, after, 4, stride, 2)]
                block += [nn.InstanceNorm2d(after)] if 0 < layer <= layers else []
                block += [nn.LeakyReLU(0.2, True)] if layer <= layers else []
                self.add_module(f"scale{scale}_layer{layer}", nn.Sequential(*block))
                before = after

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Pairs [N, 6, H, W] to what every layer makes, of the full size first; logits last."""
        found = []
        for scale in reversed(range(self.scales)):
            made = [x]
            for layer in range(self.layers + 2):
                made.append(getattr(self, f"scale{scale}_layer{layer}")(made[-1]))
            found.append(made[1:])
            if scale:
                x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return found


class PublishedPix2PixHD(Published):
    """pix2pixHD's step: one forward pass for both losses, the generator's step, then the discriminators'."""

    def __init__(
        self,
        weights: Mapping[str, Tensor] | None,
        *,
        width: int,
        halvings: int,
        blocks: int,
        critic_width: int,
        layers: int,
        scales: int,
        lr: float = 2e-4,
        device: torch.device,
    ) -> None:
        self.generator = ResnetGenerator(width, blocks, halvings)
        self.discriminator = MultiscaleDiscriminator(critic_width, layers, scales)
        self.networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.updates = {"generator": self.update_generator, "discriminator": self.update_discriminator}
        self.judged: tuple[Tensor, Tensor] | None = None
        self.to(device)
        self.start(weights, dict.fromkeys(self.networks, lr), betas=(0.5, 0.999))

    def update_generator(self, batch: Batch) -> dict[str, float]:
        """Fool the discriminators, and have the features that they find in the true picture."""
        x_src, x_trg = by_domain(batch, batch.x_pair)
        x_fake = self.generator(x_src)
        apart = self.discriminator(torch.cat([x_src, x_fake.detach()], 1))
        real = self.discriminator(torch.cat([x_src, x_trg], 1))
        self.judged = summed(apart, 0), summed(real, 1)
        fake = self.discriminator(torch.cat([x_src, x_fake], 1))
        layers, scales = self.discriminator.layers, self.discriminator.scales
        alike = torch.zeros((), device=x_src.device, dtype=x_src.dtype)
        for found, wanted in zip(fake, real, strict=True):
            for f, r in list(zip(found, wanted, strict=True))[:-1]:
                alike = alike + 4 / (layers + 1) / scales * F.l1_loss(f, r.detach())
        adversarial = summed(fake, 1)
        self.descend(adversarial + 10 * alike, ("generator",))
        return {"adversarial": adversarial.item(), "features": alike.item()}

    def update_discriminator(self, batch: Batch) -> dict[str, float]:
        """Real is 1, fake is 0, halved, by the losses of the generator's pass; where there are none, they are made."""
        if self.judged is None:
            x_src, x_trg = by_domain(batch, batch.x_pair)
            with torch.no_grad():
                x_fake = self.generator(x_src)
            pairs = (torch.cat([x_src, x], 1) for x in (x_fake, x_trg))
            fake, real = (summed(self.discriminator(pair), wanted) for wanted, pair in enumerate(pairs))
        else:
            fake, real = self.judged
        self.judged = None
        self.descend(0.5 * (fake + real), ("discriminator",))
        return {"real": real.item(), "fake": fake.item()}

    def iteration(self, batch: Batch) -> None:
        """Generator, then discriminators."""
        self.update_generator(batch)
        self.update_discriminator(batch)


def summed(found: list[list[Tensor]], wanted: float) -> Tensor:
    """Least squares of the logits of all discriminators."""
    return torch.stack([distance(layers[-1], wanted) for layers in found]).sum()
