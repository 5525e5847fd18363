"""Keeping the memory of a process that runs for months where it was.

glibc gives each thread a heap of its own, and asks the system for every large block anew: a process whose threads hand
pictures on grows to the sum of everybody's worst moment, and spends a tenth of its time on fresh pages. One heap that keeps
what it has is faster; every few seconds the holes in it are returned, so that it does not grow either.
"""

from __future__ import annotations

import gc

from asterism import malloc

RETURN_EVERY = 2.0
"""Seconds after which the holes are returned, if anything was done."""


def settle() -> None:
    """Leave what was made until now, which stays, out of every later search for garbage, so that these take little time."""
    gc.collect()
    gc.freeze()


def return_free() -> None:
    """Let go of what only refers to itself, pictures of finished requests among it, and return unused pages to the system."""
    gc.collect()
    malloc.give_back()
