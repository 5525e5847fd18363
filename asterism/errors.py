"""AsterismError, the base of this library's errors: what went wrong is the input's or the machine's doing, not a bug."""

from __future__ import annotations

import sys


class AsterismError(Exception):
    """An error that the reader of its message can mend: the message names the bad input, what was expected and the remedy.

    The command line prints the message as a sentence. Any other error is a bug of this library and keeps its traceback.
    """


class DataError(AsterismError, ValueError):
    """Data that cannot be trained on; the message says what was found, what was expected and what to do."""


def ran_out(error: BaseException) -> bool:
    """Say whether an error means that memory ran out; on a CPU PyTorch says so in words only."""
    torch = sys.modules.get("torch")  # Not imported here: an error of PyTorch's comes after PyTorch.
    if isinstance(error, (MemoryError, torch.OutOfMemoryError) if torch else MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error) and "allocate memory" in str(error)
