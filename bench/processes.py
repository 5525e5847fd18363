"""`python -m bench.processes`: what a picture costs with 1, 2 and 4 training processes, and what early messages save.

StarGAN at 64 px, batch 16 over all processes, CPU and gloo, one thread a process. Costs are CPU seconds of all processes, so
that other work on the machine counts little; rounds of 1, 2 and 4 processes alternate. Waiting is wall time in which a process
has nothing to do but wait for messages, as they are on this machine and over a network that is made slow: of so many bytes a
second, of which each message takes its share after the one before it.
"""

from __future__ import annotations

import argparse
import os
import socket
import time
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as several

from asterism.engine import gradients
from asterism.engine.distributed import Processes
from asterism.engine.gradients import GradientSums
from bench.cases import Case, Ours

CASE = Case("stargan", 64, 16, {"conv_dim": 32, "discriminator_conv_dim": 32})
MESSAGE_BYTES = 2**20
"""Smaller than asterism's, since these networks are smaller than the published ones."""


class Link:
    """A network of so many bytes a second, through which messages pass one after another; 0: as fast as it is."""

    def __init__(self, rate: float) -> None:
        self.rate, self.free, self.waited, self.bytes, self.messages = rate, 0.0, 0.0, 0, 0
        self.send = dist.all_reduce

    def all_reduce(self, tensor: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        """Send as `torch.distributed` does, and note it."""
        work = self.send(tensor, *arguments, **named)
        if named.get("async_op"):
            self.bytes, self.messages = self.bytes + tensor.nbytes, self.messages + 1
            self.free = max(self.free, time.perf_counter()) + (tensor.nbytes / self.rate if self.rate else 0)
            work = _Passing(self, work, self.free)
        return work


class _Passing:
    def __init__(self, link: Link, work: Any, there: float) -> None:
        self.link, self.work, self.there = link, work, there

    def wait(self) -> None:
        began = time.perf_counter()
        self.work.wait()
        time.sleep(max(0.0, self.there - time.perf_counter()) if self.link.rate else 0)
        self.link.waited += time.perf_counter() - began


def train(rank: int, world: int, port: int, cycles: int, rate: float, early: bool, into: Any) -> None:
    """Train a process's part, after a cycle to warm up, and put its costs into a queue."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    gradients.MESSAGE_BYTES = MESSAGE_BYTES
    if not early:
        GradientSums._add = lambda self, parameter: None  # type: ignore[method-assign]
    processes, link = Processes.join(torch.device("cpu")), Link(rate)
    dist.all_reduce = link.all_reduce
    ours = Ours(CASE, {"device": "cpu", "precision": "float32"}, processes)
    ours.iteration()
    link.waited = link.bytes = link.messages = 0
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(cycles):
        ours.iteration()
    costs = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    into.put(costs | {"waited": link.waited, "bytes": link.bytes, "messages": link.messages, "steps": cycles * ours.cycle})
    processes.leave()


def measure(world: int, cycles: int, rate: float = 0.0, early: bool = True) -> dict[str, float]:
    """Return CPU seconds a picture over all processes; wall and waiting seconds, megabytes and messages a step of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = several.get_context("spawn")
    into = context.Queue()
    started = [context.Process(target=partial(train, r, world, port, cycles, rate, early, into)) for r in range(world)]
    for process in started:
        process.start()
    found = [into.get() for _ in started]
    for process in started:
        process.join()
    steps = found[0]["steps"]
    each = {key: sum(costs[key] for costs in found) / world / steps for key in ("wall", "waited", "messages", "bytes")}
    return each | {"cpu": sum(costs["cpu"] for costs in found) / steps / CASE.batch}


def main() -> None:
    """Measure in alternation, and print a line per measurement."""
    parser = argparse.ArgumentParser(prog="bench.processes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="of every kind [3]")
    parser.add_argument("--cycles", type=int, default=2, help="of 5 D and 1 G updates, in each round [2]")
    parser.add_argument("--rate", type=float, default=20, help="of the slow network, in MB/s [20]")
    args = parser.parse_args()
    kinds = [(world, 0.0, True) for world in (1, 2, 4)] + [
        (2, rate, early) for rate in (0.0, args.rate) for early in (False, True)
    ]
    for number in range(args.rounds):
        for world, rate, early in dict.fromkeys(kinds):
            costs = measure(world, args.cycles, rate * 1e6, early)
            how = f"{'early' if early else 'after'}, {f'{rate:g} MB/s' if rate else 'this machine'}"
            print(
                f"round {number + 1}, {world} processes, {how}: {costs['cpu']:.4f} CPU s a picture; "
                f"a step {costs['wall']:.2f} s, of which {costs['waited']:.2f} s waiting; {costs['messages']:.1f} messages, {costs['bytes'] / 1e6:.1f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
