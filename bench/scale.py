"""`python -m bench.scale`: a model of training on 8 to 256 GPUs, as the tables of docs/scale.md; nothing is measured.

Every process computes its part of an update and adds its gradients to the others' in messages. A message passes the links
within a node and then those between nodes, as NCCL's rings do: each link carries 2 (n - 1) / n of its bytes among n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from asterism.data.pictures import PictureFormat
from asterism.engine.gradients import MESSAGE_BYTES
from asterism.recipes import recipe_class
from asterism.recipes.settings import Settings
from bench.cases import SPACES, TITLES

GPUS_PER_NODE = 8
GPUS = (8, 16, 32, 64, 128, 256)
RATE = 150e12
"""FLOP/s of a GPU in bfloat16 that an update reaches: 15 % of what an H100's maker states."""
FORWARD = 1 / 3
"""Share of an update's time before its backward pass makes the first gradient."""
MEGABYTE = 1e6


@dataclass(frozen=True)
class Network:
    """Bytes per second that reach their goal, and seconds of delay per hop, between GPUs of a node and between nodes."""

    name: str
    within: float
    between: float
    delay_within: float
    delay_between: float

    def seconds(self, size: float, gpus: int) -> float:
        """Return how long a message of `size` bytes takes to be added over all GPUs."""
        near, nodes = min(gpus, GPUS_PER_NODE), max(1, gpus // GPUS_PER_NODE)
        carried = 2 * (near - 1) / near * size / self.within + 2 * (nodes - 1) / nodes * size / self.between
        return carried + 2 * (math.log2(near) * self.delay_within + math.log2(nodes) * self.delay_between)


NETWORKS = (
    Network("NVLink 4, InfiniBand 8 x 400 Gb/s", 340e9, 320e9, 5e-6, 10e-6),
    Network("NVLink 4, Ethernet 100 Gb/s", 340e9, 10e9, 5e-6, 50e-6),
    Network("PCIe 5, Ethernet 25 Gb/s", 40e9, 2.5e9, 10e-6, 50e-6),
)


@dataclass(frozen=True)
class Case:
    """A recipe with its published widths, at a size and a number of pictures per GPU and step.

    Args:
        flops: of each update for one picture, counted by `bench.arithmetic.needed`.
        times: how often each update happens in a cycle.
    """

    recipe: str
    size: int
    pictures: int
    flops: dict[str, float]
    times: dict[str, int]

    def updates(self) -> list[tuple[float, float]]:
        """Return the updates of a cycle: seconds of computing, bytes of gradients."""
        settings = Settings.resolve(self.recipe, (), "published")
        with torch.device("meta"):
            picture = PictureFormat(3, self.size, self.size)
            recipe = recipe_class(self.recipe)(settings.recipe, SPACES[self.recipe], picture)
        found = []
        for update in recipe.updates:
            size = sum(p.nbytes for name in update.trains for p in recipe.networks[name].parameters())
            seconds = self.flops[update.name] * self.pictures / RATE
            found += [(seconds, size)] * self.times[update.name]
        return found


STARGAN = {"discriminator": 33.5e9, "generator": 121.4e9}, {"discriminator": 5, "generator": 1}
V2 = {
    "discriminator_latent": 234.7e9,
    "discriminator_reference": 253.8e9,
    "generator_latent": 570.2e9,
    "generator_reference": 551.3e9,
}
CASES = (
    Case("stargan", 128, 16, *STARGAN),
    Case("stargan", 128, 64, *STARGAN),
    Case("stargan_v2", 256, 8, V2, dict.fromkeys(V2, 1)),
)


def duration(seconds: float, size: float, gpus: int, network: Network, early: bool) -> float:
    """Return how long an update takes: messages leave one after another, early ones while the backward pass goes on."""
    count = max(1, round(size / MESSAGE_BYTES))
    free = 0.0
    for number in range(1, count + 1):
        made = seconds * (FORWARD + (1 - FORWARD) * number / count) if early else seconds
        free = max(free, made) + network.seconds(size / count, gpus)
    return free


def efficiency(updates: list[tuple[float, float]], gpus: int, network: Network, early: bool) -> float:
    """Return the share of its time that a GPU computes."""
    return sum(s for s, _ in updates) / sum(duration(s, size, gpus, network, early) for s, size in updates)


def tables() -> str:
    """Return both tables, in Markdown."""
    sizes = (0.1, 1, 25, 180)
    lines = ["| one message, ms | " + " | ".join(f"{size:g} MB" for size in sizes) + " |", "|---|" + "---|" * len(sizes)]
    for network in NETWORKS:
        for gpus in (8, 64, 256):
            times = " | ".join(f"{network.seconds(size * MEGABYTE, gpus) * 1e3:.3g}" for size in sizes)
            lines.append(f"| {network.name}, {gpus} GPUs | {times} |")
    lines += ["", "| GPUs | " + " | ".join(map(str, GPUS)) + " |", "|---|" + "---|" * len(GPUS)]
    for case in CASES:
        updates = case.updates()
        for network in NETWORKS:
            shares = [[efficiency(updates, gpus, network, early) for early in (False, True)] for gpus in GPUS]
            cells = " | ".join(f"{after:.0%}, {early:.0%}" for after, early in shares)
            name = f"{TITLES[case.recipe]}, {case.size} px, {case.pictures} pictures a GPU; {network.name}"
            lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tables())
