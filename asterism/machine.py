"""What this machine offers: device and precision, with the reason, which logs state."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from asterism.config import ConfigError


@dataclass(frozen=True)
class Machine:
    """A device and the arithmetic of its convolutions.

    Args:
        device: where the networks are.
        dtype: bfloat16 (autocast) or float32.
        reason: device, precision and why, in a few words.
    """

    device: torch.device
    dtype: torch.dtype
    reason: str

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto") -> Machine:
        """Resolve `auto`: the first of CUDA, MPS and CPU that is there; bfloat16 where the hardware multiplies it.

        That is CUDA from compute capability 8 on and CPUs with AMX or AVX512-bf16. Never float16, whose range gradient
        penalties exceed.

        Args:
            device: auto, cpu, mps, cuda or cuda:N.
            precision: auto, float32 or bfloat16.

        Raises:
            ConfigError: a word that is none of the choices, or a device that is not there.
        """
        if precision not in ("auto", "float32", "bfloat16"):
            raise ConfigError(f"precision is {precision!r}; expected auto, float32 or bfloat16")
        available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        usable = [name for name, there in available.items() if there]
        kind = usable[0] if device == "auto" else device.partition(":")[0]
        if kind not in usable:
            raise ConfigError(
                f"device {device!r} is not available to PyTorch {torch.__version__}; here: auto, {', '.join(usable)}"
            )
        chosen = torch.device(kind if device == "auto" else device)
        fast = _multiplies_bfloat16(chosen)
        if precision != "auto":
            return cls(chosen, getattr(torch, precision), f"{chosen.type}, {precision} (asked for)")
        dtype = torch.bfloat16 if fast else torch.float32
        why = f"this {chosen.type} {'multiplies' if fast else 'does not multiply'} bfloat16"
        return cls(chosen, dtype, f"{chosen.type}, {str(dtype).removeprefix('torch.')} ({why})")

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of pictures and kernels: channels last where convolutions are faster with it."""
        return torch.contiguous_format if self.device.type == "mps" else torch.channels_last

    def arithmetic(self) -> AbstractContextManager[object]:
        """The context in which networks and terms are computed: autocast where the precision is bfloat16."""
        return torch.autocast(self.device.type, self.dtype) if self.dtype == torch.bfloat16 else contextlib.nullcontext()

    def products(self) -> AbstractContextManager[object]:
        """The context around all work, backward passes included: exact products (no TF32) where float32 is the precision."""
        cudnn = torch.backends.cudnn
        exact = self.dtype == torch.float32
        return cudnn.flags(enabled=cudnn.enabled, benchmark=self.device.type == "cuda", allow_tf32=not exact)

    def keeping_memory(self) -> AbstractContextManager[object]:
        """The context around a job of many equal steps: freed memory is kept for the next step, and given back at its end.

        For CPUs with glibc, whose blocks of 32 MiB and more otherwise go back to the system one by one; a fresh one costs a
        fault and zeros for every page, several times a pass over it (docs/performance.md). Settings of the user's own,
        in glibc's environment variables, stay.
        """
        return _freed_memory_kept() if self.device.type == "cpu" else contextlib.nullcontext()


@contextlib.contextmanager
def _freed_memory_kept() -> Iterator[None]:
    library: Any = ctypes.CDLL(None) if sys.platform == "linux" else None  # The process itself.
    own = any(f"MALLOC_{name}_" in os.environ for name in ("TRIM_THRESHOLD", "MMAP_THRESHOLD", "MMAP_MAX"))
    if own or not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    trim_threshold, mmap_threshold, mmap_max = -1, -3, -4  # Of malloc.h.
    library.mallopt(trim_threshold, -1)
    library.mallopt(mmap_max, 0)
    try:
        yield
    finally:
        library.mallopt(mmap_max, 2**16)
        library.mallopt(mmap_threshold, 2**25)  # Where glibc arrives by itself once large blocks have been freed.
        library.mallopt(trim_threshold, 2**26)
        library.malloc_trim(0)


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Newer than the oldest PyTorch that is supported.
        capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False  # Unproven on MPS.
