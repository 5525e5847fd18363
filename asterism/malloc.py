"""The C library's heap, where it is glibc: whether memory that is freed stays in the process or goes back to the system.

By itself glibc gives back every block of 32 MiB and more, and the end of the heap. The next block's pages are then asked for
and zeroed one by one, which takes several times as long as a pass over it (docs/performance.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8  # malloc.h

KEEPING = {_TRIM_THRESHOLD: -1, _MMAP_MAX: 0}
"""All that is freed stays."""
UNSET = {_TRIM_THRESHOLD: 2**26, _MMAP_THRESHOLD: 2**25, _MMAP_MAX: 2**16}
"""Where glibc arrives by itself once large blocks were freed."""
SHARED = {_TRIM_THRESHOLD: 2**29, _MMAP_THRESHOLD: 2**25, _ARENA_MAX: 1}
"""All threads have one heap, whose end stays up to 512 MiB; to be set before threads start.

With a heap each, a process whose threads hand pictures on grows to the sum of what each of them held at most.
"""


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Around a job of many equal steps: freed memory stays for the next step, and is given back at the job's end.

    Thresholds of the user's own, in glibc's environment variables, stay.
    """
    if any(f"MALLOC_{name}_" in os.environ for name in ("TRIM_THRESHOLD", "MMAP_THRESHOLD", "MMAP_MAX")):
        yield
        return
    behave(KEEPING)
    try:
        yield
    finally:
        behave(UNSET)
        give_back()


def behave(options: Mapping[int, int]) -> None:
    """Set these options of the heap from now on; nothing where it is not glibc's."""
    if (library := glibc()) is not None:
        for option, value in options.items():
            library.mallopt(option, value)


def give_back() -> None:
    """Return unused pages to the system now."""
    if (library := glibc()) is not None:
        library.malloc_trim(0)


def glibc() -> Any:
    """Return the C library of this process, or None where it is another."""
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    return library if hasattr(library, "malloc_trim") else None
