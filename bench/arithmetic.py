"""How much arithmetic the maths of an iteration needs: FLOPs of convolutions and linear layers, 1 multiply-add = 2 FLOP.

Counted from the papers' definition, not from either implementation: no graph that is thrown away, no gradient that
nothing uses, pictures and features that two updates share made once, penalties by one pass up and one down the
discriminator, and resampling folded into the convolution beside it (pooling after a 3x3 convolution is one 4x4
convolution with stride 2, upsampling before it one transposed; a 1x1 convolution goes to the small side).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.published_labels import PublishedGANimation, PublishedRelGAN
from bench.published_networks import DecodingBlock, EncodingBlock
from bench.published_pairs import PublishedCycleGAN, PublishedPix2Pix
from bench.published_pix2pixhd import PublishedPix2PixHD
from bench.published_step import Published, PublishedStarGAN, PublishedStarGANv2

FOLDED_3X3 = 16 / 9 / 4
"""Of a 3x3 convolution at full resolution, folded with the resampling by 2 beside it: 16 weights at a quarter of the pixels."""

FOLDED_1X1 = 1 / 4
"""Of a 1x1 convolution at full resolution, moved to the small side."""


@dataclass(frozen=True)
class Forward:
    """FLOPs of one forward pass of a network for one picture: all of it, its first layer, its decoder."""

    total: float
    first: float
    decoder: float = 0.0


def forward(network: nn.Module, *inputs: Tensor) -> Forward:
    """Count a forward pass; `network` and inputs, of one picture, may be on the meta device."""
    folded = {}
    for block in network.modules():
        if isinstance(block, EncodingBlock) and block.pool or isinstance(block, DecodingBlock) and block.up:
            folded[block.conv1] = FOLDED_3X3
            if block.learned:
                folded[block.conv1x1] = FOLDED_1X1
    inside = {m for block in network.modules() if isinstance(block, DecodingBlock) for m in block.modules()}
    inside |= set(getattr(network, "to_rgb", nn.Identity()).modules())
    counted: list[tuple[nn.Module, float]] = []

    def count(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        pixels = given[0] if isinstance(module, nn.ConvTranspose2d) else result  # Each pixel of which meets every weight.
        flops = 2 * module.weight.numel() * pixels.shape[2:].numel() * folded.get(module, 1.0)
        counted.append((module, flops))

    hooks = [
        m.register_forward_hook(count) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
    ]
    try:
        with torch.no_grad():
            network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return Forward(sum(f for _, f in counted), counted[0][1], sum(f for m, f in counted if m in inside))


def needed(published: Published, size: int, width: int | None = None) -> tuple[dict[str, float], float]:
    """Return the FLOPs that each update (made alone) and the whole iteration need, per picture of this height, and width.

    The iteration is less than the sum of its updates, since StarGAN's last fakes serve both networks, and StarGAN v2's
    encoder and latent fakes serve several updates.
    """
    device = next(next(iter(published.networks.values())).parameters()).device
    x = torch.zeros(1, 3, size, width or size, device=device)
    if isinstance(published, PublishedStarGAN):
        codes = published.generator.main[0].weight.shape[1] - 3
        g = forward(published.generator, x, torch.zeros(1, codes, device=device))
        d = forward(published.discriminator, x)
        critic = g.total + 2 * (3 * d.total - d.first) + 4 * d.total  # Real, fake; the penalty's own points, up and down.
        generator = 3 * g.total - g.first + 3 * g.total + 2 * d.total  # There, back, and through the frozen discriminator.
        updates = {"discriminator": critic, "generator": generator}
        return updates, published.critic_steps * critic + generator - g.total
    if isinstance(published, PublishedGANimation):
        codes = published.generator.main[0].weight.shape[1] - 3
        g = forward(published.generator, x, torch.zeros(1, codes, device=device))
        d = forward(published.discriminator, x)
        updates = {"discriminator": g.total + 2 * (3 * d.total - d.first), "penalty": 4 * d.total}
        updates |= {"generator": 3 * g.total - g.first + 3 * g.total + 2 * d.total}
        critic = updates["discriminator"] + updates["penalty"]  # On the same fakes.
        return updates, published.critic_steps * critic + updates["generator"] - g.total
    if isinstance(published, PublishedRelGAN):
        labels = published.generator.conv_in[0].weight.shape[1] - 3
        g = forward(published.generator, x, torch.zeros(1, labels, device=device))
        d = forward(published.discriminator, x)  # The heads, a few pixels each, left out.
        updates = {"discriminator": 3 * g.total + 6 * (3 * d.total - d.first) + 2 * 4 * d.total}
        updates |= {"generator": 3 * (3 * g.total - g.first) + 3 * g.total + d.total + 2 * 2 * d.total}
        return updates, sum(updates.values()) - 3 * g.total
    if isinstance(published, PublishedCycleGAN):
        g, d = (forward(published.networks[name], x) for name in ("generator_a", "discriminator_a"))
        # Per direction: there and the identity, whose input needs no gradient, and back; through the frozen discriminator.
        updates = {"generators": 2 * (3 * 3 * g.total - 2 * g.first + 2 * d.total)}
        updates |= {"discriminators": 2 * 2 * (3 * d.total - d.first)}
        return updates, sum(updates.values())
    if isinstance(published, PublishedPix2Pix):
        g = forward(published.generator, x, torch.ones(1, 2**20, device=device))
        d = forward(published.discriminator, torch.cat([x, x], 1))
        updates = {"discriminator": 2 * (3 * d.total - d.first), "generator": 3 * g.total - g.first + 2 * d.total}
        return updates, sum(updates.values())
    if isinstance(published, PublishedPix2PixHD):
        g = forward(published.generator, x)
        d = forward(published.discriminator, torch.cat([x, x], 1))
        updates = {"generator": 3 * g.total - g.first + d.total + 2 * d.total, "discriminator": 2 * (3 * d.total - d.first)}
        return updates, sum(updates.values()) - 2 * d.total  # Both pairs go through D once; it steps behind G.
    assert isinstance(published, PublishedStarGANv2)
    y = torch.zeros(1, dtype=torch.long, device=device)
    style = published.generator.decode[0].norm1.fc.in_features
    g = forward(published.generator, x, torch.zeros(1, style, device=device))
    e = forward(published.style_encoder, x, y)
    d = forward(published.discriminator, x, y)
    critic = 2 * (3 * d.total - d.first) + 3 * d.total  # R1 takes the slopes of the pass over the real pictures.
    fooled = 2 * d.total  # The frozen discriminator: up, and the gradient of its input down.
    passes = 3 * g.total - g.first + 3 * g.total + g.decoder + fooled  # There and back; the second style's decoder.
    updates = {
        "discriminator_latent": g.total + critic,
        "discriminator_reference": g.total + e.total + critic,
        "generator_latent": passes + 2 * 3 * e.total - e.first,
        "generator_reference": passes
        + 2 * e.total
        + e.total
        + 2 * e.total,  # Styles of two references and the source; x_fake's.
    }
    shared = (g.total - g.decoder) + g.total  # The encoder's pass of both D updates; the latent fakes of D's and G's update.
    return updates, sum(updates.values()) - shared
