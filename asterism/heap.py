"""The C library's heap, where it is glibc: whether memory that is freed stays in the process or goes back to the system.

By itself glibc gives back every block of 32 MiB and more, and the end of the heap. The next block's pages are then asked for
and zeroed one by one, which takes several times as long as a pass over it (docs/performance.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import Any

NEVER_TRIM, TRIM_AT_MOST, MAP_AT_MOST = -1, 2**26, 2**25
"""Of the thresholds: no end of the heap is given back; and where glibc arrives by itself once large blocks were freed."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8  # malloc.h
_MAPS = 2**16  # As many blocks glibc maps by itself.


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Within it freed memory stays for what comes next; at its end it is given back.

    For jobs of many equal steps. Thresholds of the user's own, in glibc's environment variables, stay. Elsewhere than on
    glibc it does nothing.
    """
    own = any(f"MALLOC_{name}_" in os.environ for name in ("TRIM_THRESHOLD", "MMAP_THRESHOLD", "MMAP_MAX"))
    if own or glibc() is None:
        yield
        return
    keep()
    try:
        yield
    finally:
        release()
        give_back()


def keep() -> None:
    """From now on, keep all that is freed."""
    if (library := glibc()) is not None:
        library.mallopt(_TRIM_THRESHOLD, NEVER_TRIM)
        library.mallopt(_MMAP_MAX, 0)


def release() -> None:
    """From now on, give back as glibc does by itself."""
    if (library := glibc()) is not None:
        library.mallopt(_MMAP_MAX, _MAPS)
        library.mallopt(_MMAP_THRESHOLD, MAP_AT_MOST)
        library.mallopt(_TRIM_THRESHOLD, TRIM_AT_MOST)


def share(most: int) -> None:
    """Let all threads share one heap that keeps up to `most` bytes of what is freed at its end; before threads start."""
    if (library := glibc()) is not None:
        library.mallopt(_ARENA_MAX, 1)
        library.mallopt(_MMAP_THRESHOLD, MAP_AT_MOST)
        library.mallopt(_TRIM_THRESHOLD, most)


def give_back() -> None:
    """Return unused pages to the system now."""
    if (library := glibc()) is not None:
        library.malloc_trim(0)


def glibc() -> Any:
    """Return the C library of this process, or None where it has no such heap."""
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    return library if hasattr(library, "malloc_trim") else None
