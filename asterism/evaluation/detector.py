"""A small detector of one run's fakes: a quarter of ResNet-18's width, trained for a minute on real and fake pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asterism.data.pictures import PictureFormat, to_float
from asterism.machine import Machine
from asterism.networks.resnet import ResNet18
from asterism.objectives.adversarial import logistic_fake, logistic_real

WIDTH, STEPS, HALF, RATE = 16, 400, 16, 1e-3
"""Channels of the first stage; steps, each of so many real and as many fake pictures; Adam's rate."""


def train_detector(real: Tensor, fake: Tensor, picture: PictureFormat, machine: Machine, steps: int = STEPS) -> nn.Module:
    """Train a detector on pictures of both kinds; its logits [N, 1] are above 0 where a picture looks real.

    The binary cross-entropy, by Adam; pictures are drawn with their mirror images. Nothing is drawn but by a seed of its own.

    Args:
        real, fake: stored values [N, C, H, W], as files hold them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ResNet18(picture.channels, 1, WIDTH)
    machine.place(network)
    rng, optimizer = torch.Generator().manual_seed(0), torch.optim.Adam(network.parameters(), RATE)

    def drawn(pictures: Tensor) -> Tensor:
        x = to_float(pictures[torch.randint(len(pictures), (HALF,), generator=rng)], picture)
        return torch.where(torch.rand(HALF, 1, 1, 1, generator=rng) < 0.5, x, x.flip(3))

    network.train()
    for _ in range(steps):
        said_real, said_fake = network(machine.take(torch.cat([drawn(real), drawn(fake)]))).chunk(2)
        loss = logistic_real(said_real).mean() + logistic_fake(said_fake).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval().requires_grad_(False)
