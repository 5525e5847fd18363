"""Training beside busy neighbours: with one thread, with a thread for each core, and with as many as commands choose.

    python -m bench.busy --neighbours 2

Each way trains StarGAN in a process of its own, one after the other and again, while the neighbours, loops that never wait,
take what the system gives them. Numbers are pictures per second of wall time; the ratio is to one thread beside the same
neighbours.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from asterism import threads

WAYS = ("one", "all", "chosen")


def main() -> None:
    """Measure the ways in turn; print medians with their range."""
    parser = argparse.ArgumentParser(prog="bench.busy", description=__doc__.splitlines()[0])
    parser.add_argument("--neighbours", type=int, default=2, help="loops that run beside [2]")
    parser.add_argument("--rounds", type=int, default=5, help="of every way [5]")
    parser.add_argument("--seconds", type=float, default=8.0, help="of training in a round [8]")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures [64]")
    parser.add_argument("--batch", type=int, default=8, help="pictures per step [8]")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(pictures_per_second(args))
        return
    words = [f"--{name}={getattr(args, name)}" for name in ("seconds", "size", "batch")]
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.neighbours)]
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    try:
        for _ in range(args.rounds):
            for way in WAYS:
                found[way].append(float(measured(way, words)))
    finally:
        for neighbour in neighbours:
            neighbour.kill()
    base = statistics.median(found["one"])
    print(f"{os.cpu_count()} cores, {args.neighbours} busy neighbours; medians of {args.rounds} rounds")
    for way, rates in found.items():
        rate = statistics.median(rates)
        print(f"{way:7} {rate:6.1f} pictures/s ({min(rates):.1f} to {max(rates):.1f}), {rate / base:.2f} times one thread")


def measured(way: str, words: list[str]) -> str:
    """Train in a process of its own; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != threads.VARIABLE}
    if way == "one":
        environment[threads.VARIABLE] = "1"
    command = [sys.executable, "-m", "bench.busy", "--way", way, *words]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()[-1]


def pictures_per_second(args: argparse.Namespace) -> float:
    """Train for some seconds; return how fast."""
    if args.way == "chosen":
        threads.settle()
    from bench.cases import Case, Ours

    ours = Ours(Case("stargan", args.size, args.batch), {"device": "cpu"})
    ours.iteration()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < args.seconds:
        ours.iteration()
        count += ours.cycle * args.batch
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
