"""Keeping the memory of a process that runs for months where it was.

glibc gives each thread a heap of its own, and asks the system for every large block anew: a process whose threads hand
pictures on grows to the sum of everybody's worst moment, and spends a tenth of its time on fresh pages. One heap that keeps
what it has is faster; every few seconds the holes in it are returned, so that it does not grow either.
"""

from __future__ import annotations

import ctypes
import gc
import sys

RETURN_EVERY = 2.0
"""Seconds after which the holes are returned, if anything was done."""

_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1  # malloc.h
_LARGEST = 32 * 2**20  # The most that glibc takes for a threshold: larger blocks still come from the system.


def keep_memory() -> None:
    """Let all threads share one heap that keeps what is freed; call it before threads start. glibc alone; else nothing."""
    if (library := _glibc()) is not None:
        library.mallopt(_ARENA_MAX, 1)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST)
        library.mallopt(_TRIM_THRESHOLD, 2**29)


def settle() -> None:
    """Leave what was made until now, which stays, out of every later search for garbage, so that these take little time."""
    gc.collect()
    gc.freeze()


def return_free() -> None:
    """Let go of what only refers to itself, pictures of finished requests among it, and return unused pages to the system."""
    gc.collect()
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    return library if hasattr(library, "malloc_trim") else None
