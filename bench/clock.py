"""Time: a clock that fits the machine, work in alternation, and the machine's matrix ceiling."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from asterism import cuda_graphs

WARM_UP = {"cpu": 1, "cuda": cuda_graphs.WARM_UP + 1}
"""Untimed calls by device: on a GPU the last of them is recorded, and what is timed are replays."""


class Clock:
    """Measures one call at a time.

    On CUDA by events. On a CPU with one thread by that process's processor time, which other programs do not disturb; with
    several threads by the wall, since waiting threads spend processor time too.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.name = {"cuda": "CUDA events"}.get(
            device.type, "processor time of one thread" if torch.get_num_threads() == 1 else "wall"
        )

    def seconds(self, work: Callable[[], object]) -> float:
        """Return how long a call took, on the device included."""
        if self.device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work()
            end.record()
            end.synchronize()
            return start.elapsed_time(end) / 1000
        now = time.process_time if self.name.startswith("processor") else time.perf_counter
        began = now()
        work()
        return now() - began


def alternate(
    works: Mapping[str, Callable[[], object]], warm: Mapping[str, int], seconds: float, clock: Clock
) -> dict[str, float]:
    """Call the works in turn until the wall time is used up, and return the median seconds of each.

    Args:
        works: name -> what to time.
        warm: name -> untimed calls before; the first round counts only where no second one fits.
        seconds: at least one round is made.
    """
    for name, calls in warm.items():
        for _ in range(calls):
            works[name]()
    began, rounds = time.perf_counter(), list[dict[str, float]]()
    while True:
        rounds.append({name: clock.seconds(work) for name, work in works.items()})
        spent = time.perf_counter() - began
        if spent + spent / len(rounds) > seconds:
            break
    counted = rounds[1:] or rounds
    return {name: statistics.median(taken[name] for taken in counted) for name in works}


def matrix_ceiling(device: torch.device, dtype: torch.dtype, clock: Clock) -> float:
    """Return the FLOP/s of a large matrix product in this precision: the best of several."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    a @ b
    return 2 * side**3 / min(clock.seconds(lambda: a @ b) for _ in range(10 if device.type == "cuda" else 3))
