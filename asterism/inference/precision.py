"""Where and in which arithmetic a translator computes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from asterism.config import ConfigError


@dataclass(frozen=True)
class Precision:
    """A device and the arithmetic of its convolutions.

    Args:
        device: where the networks are.
        dtype: bfloat16 (autocast) or float32.
        reason: one sentence on the choice.
    """

    device: torch.device
    dtype: torch.dtype
    reason: str

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto") -> Precision:
        """Resolve `auto`: the first of CUDA, MPS and CPU that is there; bfloat16 where the hardware multiplies it.

        Raises:
            ConfigError: a word that is none of the choices, or a device that is not there.
        """
        if precision not in ("auto", "float32", "bfloat16"):
            raise ConfigError(f"precision is {precision!r}; expected auto, float32 or bfloat16")
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        usable = [name for name, present in there.items() if present]
        kind = usable[0] if device == "auto" else device.partition(":")[0]
        if kind not in usable:
            raise ConfigError(
                f"device {device!r} is not available to PyTorch {torch.__version__}; here: auto, {', '.join(usable)}"
            )
        chosen = torch.device(kind if device == "auto" else device)
        fast = _multiplies_bfloat16(chosen)
        if precision != "auto":
            return cls(chosen, getattr(torch, precision), "asked for")
        verb = "multiplies" if fast else "does not multiply"
        return cls(chosen, torch.bfloat16 if fast else torch.float32, f"this {chosen.type} {verb} bfloat16")

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of pictures and kernels that measured fastest."""
        return torch.channels_last if self.device.type == "cuda" else torch.contiguous_format

    @contextlib.contextmanager
    def arithmetic(self) -> Iterator[None]:
        """The context for running networks: no gradients; autocast for bfloat16, exact products (no TF32) for float32."""
        cudnn = torch.backends.cudnn
        exact: AbstractContextManager[object] = (
            torch.autocast(self.device.type, self.dtype)
            if self.dtype == torch.bfloat16
            else cudnn.flags(enabled=cudnn.enabled, benchmark=cudnn.benchmark, allow_tf32=False)
        )
        with torch.no_grad(), exact:
            yield


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        ask = getattr(torch.cpu, "get_capabilities", dict)  # Newer than the oldest PyTorch that is supported.
        able: Mapping[str, Any] = ask()
        return bool(able.get("amx_bf16") or able.get("avx512_bf16"))
    return False  # Unproven on MPS.
