"""What this machine offers: device, precision, and the reasons, which the log states."""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from asterism.config import ConfigError


@dataclass(frozen=True)
class Machine:
    """The device and precision of a run, with one sentence on each choice."""

    device: torch.device
    dtype: torch.dtype
    reason: str

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto") -> Machine:
        """Resolve `auto`.

        bfloat16 is chosen where the hardware multiplies it (CUDA with compute capability 8, CPUs with AMX or AVX512-bf16),
        float32 elsewhere. Never float16, whose range gradient penalties exceed.

        Raises:
            ConfigError: the device asked for is not there.
        """
        available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        if device == "auto":
            device = next(name for name, there in available.items() if there)
        elif not available[device]:
            usable = ", ".join(name for name, there in available.items() if there)
            raise ConfigError(f"train.device {device} is not available to this PyTorch ({torch.__version__}); usable here: {usable}")
        chosen = torch.device(device, int(os.environ.get("LOCAL_RANK", "0"))) if device == "cuda" else torch.device(device)
        if device == "cuda":
            torch.cuda.set_device(chosen)
        fast, why = _multiplies_bfloat16(chosen)
        if precision == "auto":
            precision = "bfloat16" if fast else "float32"
        else:
            why = "asked for"
        return cls(chosen, getattr(torch, precision), f"{device}, {precision} ({why})")

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of pictures and kernels: channels last on CUDA; on CPUs the plain layout measured faster."""
        return torch.channels_last if self.device.type == "cuda" else torch.contiguous_format

    def arithmetic(self) -> AbstractContextManager[object]:
        """The context in which networks and terms are computed: autocast where the precision is bfloat16."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def _multiplies_bfloat16(device: torch.device) -> tuple[bool, str]:
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
        return fast, "the GPU multiplies bfloat16" if fast else "the GPU does not multiply bfloat16"
    if device.type == "cpu":
        capability = getattr(torch.cpu, "get_capabilities", dict)()  # Newer than our lower bound of PyTorch.
        fast = bool(capability.get("amx_bf16") or capability.get("avx512_bf16"))
        return fast, "the CPU multiplies bfloat16" if fast else "the CPU does not multiply bfloat16"
    return False, "bfloat16 is not proven on this device"
