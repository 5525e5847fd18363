"""`python -m bench.processes`: what a picture costs with 1, 2 and 4 training processes, and what early messages save.

StarGAN at 128 px with a quarter of the published width (as much arithmetic per weight), batch 16 over all processes, on a CPU
by gloo, one thread a process. Everything is measured by the processes' own CPU clocks, which other work on the machine hardly
moves; rounds of 1, 2 and 4 processes alternate. For each update it is noted when which message left. How long a process would
then wait for a network of some bytes a second, which takes a message after another, follows from that; so it does if all
messages left after the backward passes, as without overlap.
"""

from __future__ import annotations

import argparse
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.multiprocessing as several

from asterism.engine import gradients
from asterism.engine.distributed import Processes
from asterism.engine.gradients import GradientSums
from bench.cases import Case, Ours

CASE = Case("stargan", 128, 16, {"conv_dim": 16, "discriminator_conv_dim": 16})
MESSAGE_BYTES = 2**20
"""Smaller than asterism's, since these networks are smaller than the published ones."""

RATES = (20, 100, 500)
"""Megabytes a second of the networks that are asked about."""


class Noted(GradientSums):
    """Notes the CPU time of an update's begin, of its messages, with their bytes, and of the end of its backward passes."""

    def begin(self, names: Sequence[str], passes: int) -> None:
        """Begin an update."""
        super().begin(names, passes)
        self.began, self.left_at = time.process_time(), list[tuple[float, int]]()
        self.updates: list[tuple[float, float, list[tuple[float, int]]]] = getattr(self, "updates", [])

    def _send(self, message: list[Any]) -> None:
        super()._send(message)
        self.left_at.append((time.process_time() - self.began, self.sent[-1][0].nbytes))

    def finish(self) -> None:
        """Note and end an update."""
        ended = time.process_time() - self.began
        super().finish()
        self.updates.append((self.began, ended, self.left_at))


def waiting(ended: float, messages: Sequence[tuple[float, int]], rate: float, early: bool) -> float:
    """Return the seconds from the end of an update's backward passes until its last message has arrived."""
    free = 0.0
    for left, size in messages:
        free = max(free, left if early else ended) + size / rate
    return max(0.0, free - ended)


def train(rank: int, world: int, port: int, cycles: int, into: Any) -> None:
    """Train a process's part, after a cycle to warm up, and put its costs into a queue."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    gradients.MESSAGE_BYTES = MESSAGE_BYTES
    processes = Processes.join(torch.device("cpu"))
    ours = Ours(CASE, {"device": "cpu", "precision": "float32"}, processes)
    ours.iteration()
    ours.trainer.sums = sums = Noted(ours.trainer.optimizers.parameters, processes)
    began = time.process_time()
    for _ in range(cycles):
        ours.iteration()
    into.put((rank, time.process_time() - began, sums.updates, cycles * ours.cycle))
    processes.leave()


def measure(world: int, cycles: int) -> str:
    """Return the CPU seconds a picture of all processes and, of the first, messages, megabytes and waiting a step, in words."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = several.get_context("spawn")
    into = context.Queue()
    several.spawn(train, (world, port, cycles, into), nprocs=world)  # An error in one of them is one here.
    found = sorted(into.get() for _ in range(world))
    _, own, updates, steps = found[0]
    words = [f"{world} processes: {sum(costs[1] for costs in found) / steps / CASE.batch:.4f} CPU s a picture"]
    if world > 1:
        sizes = [size for _, _, messages in updates for _, size in messages]
        words.append(f"{len(sizes) / steps:.1f} messages of {sum(sizes) / steps / 1e6:.1f} MB a step")
        for rate in RATES:
            late, soon = (sum(waiting(e, m, rate * 1e6, early) for _, e, m in updates) / steps for early in (False, True))
            words.append(f"at {rate} MB/s a step of {own / steps:.2f} s waits {late:.3f} s, with early messages {soon:.3f} s")
    return "; ".join(words)


def main() -> None:
    """Measure in alternation, and print a line per measurement."""
    parser = argparse.ArgumentParser(prog="bench.processes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="of 1, 2 and 4 processes [3]")
    parser.add_argument("--cycles", type=int, default=2, help="of 5 D and 1 G updates, in each round [2]")
    args = parser.parse_args()
    for _ in range(args.rounds):
        for world in (1, 2, 4):
            print(measure(world, args.cycles), flush=True)


if __name__ == "__main__":
    main()
