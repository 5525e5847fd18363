"""How many threads a command computes with: as many as cores are left to it.

The threads of a step meet after every operation. Where other programs keep a core busy, the rest wait each time for the thread
that the system has put aside, and several threads are slower than one (docs/performance.md).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

VARIABLE = "OMP_NUM_THREADS"
"""The number of threads, to PyTorch and to whoever sets it; read once, when PyTorch is imported."""

_WATCHED = 0.2
"""Seconds in which the cores are watched."""


def settle() -> str | None:
    """Set the number of threads of this process, before PyTorch is imported; say so where it is fewer than there are cores.

    A number that the user has set stays. Linux alone tells what is free; elsewhere PyTorch decides.
    """
    if VARIABLE in os.environ or not hasattr(os, "sched_getaffinity"):
        return None
    cores = os.sched_getaffinity(0)
    limit, free = quota(), idle(cores)
    allowed = min(float(len(cores)), limit or len(cores))
    threads = max(1, round(min(allowed, free)))
    if threads >= len(cores):
        return None
    os.environ[VARIABLE] = str(threads)
    why = f"other programs use {len(cores) - free:.1f}" if free < allowed else f"its container may use {limit:.1f}"
    return f"computing with {threads} thread{'s'[: threads > 1]}: of {len(cores)} cores {why} ({VARIABLE}=N takes N)"


def idle(cores: Iterable[int], seconds: float = _WATCHED) -> float:
    """Return how many of these cores had nothing to do in the next `seconds`, in parts of a core."""
    before = _times()
    time.sleep(seconds)
    after = _times()
    free = 0.0
    for core in cores:
        if core in before and core in after:
            spent = [now - then for now, then in zip(after[core], before[core], strict=True)]
            free += (spent[3] + spent[4]) / (sum(spent) or 1)  # idle, and idle while a disk works
        else:
            free += 1
    return free


def quota(folder: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return how many cores the container may use, if that is limited."""
    for name, period in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = (folder / name).read_text().split()
            if period:
                words.append((folder / period).read_text().strip())
            if float(words[0]) > 0:
                return float(words[0]) / float(words[1])
        except (OSError, ValueError):  # Not there, or `max`.
            continue
    return None


def _times(file: Path = Path("/proc/stat")) -> Mapping[int, list[int]]:
    """Return for each core how long it did what since the start, in the order of /proc/stat; nothing where that is hidden."""
    lines = (line.split() for line in (file.read_text() if os.access(file, os.R_OK) else "").splitlines())
    return {int(words[0][3:]): [int(word) for word in words[1:9]] for words in lines if words and words[0][3:].isdigit()}
