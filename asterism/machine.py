"""What this machine offers: device and precision, with the reason, which logs state."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asterism.config import PRECISIONS, ConfigError


@dataclass(frozen=True)
class Machine:
    """A device and the arithmetic of its convolutions.

    Args:
        device: where the networks are.
        dtype: bfloat16 (autocast), float32 or float64.
        reason: device, precision and why, in a few words.
    """

    device: torch.device
    dtype: torch.dtype
    reason: str

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto") -> Machine:
        """Resolve `auto`: the first of CUDA, MPS and CPU that is there; bfloat16 where the hardware multiplies it.

        That is CUDA from compute capability 8 on and CPUs with AMX or AVX512-bf16. Never float16, whose range gradient
        penalties exceed. float64 is slow and for comparing two ways of computing, whose rounding it makes negligible.

        Args:
            device: auto, cpu, mps, cuda or cuda:N.
            precision: auto, bfloat16, float32 or float64.

        Raises:
            ConfigError: a word that is none of the choices, or a device that is not there or does not compute so.
        """
        if precision not in PRECISIONS:
            raise ConfigError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
        available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        usable = [name for name, there in available.items() if there]
        kind = usable[0] if device == "auto" else device.partition(":")[0]
        number, count = device.partition(":")[2], torch.cuda.device_count() if kind == "cuda" else 0
        if kind not in usable or (":" in device and number not in map(str, range(count))):
            here = ", ".join(usable) + (f", cuda:0 to cuda:{count - 1}" if count else "")
            raise ConfigError(f"device {device!r} is not available to PyTorch {torch.__version__}; here: auto, {here}")
        if (kind, precision) == ("mps", "float64"):
            raise ConfigError("mps does not compute in float64; give device cpu")
        chosen = torch.device(kind if device == "auto" else device)
        fast = _multiplies_bfloat16(chosen)
        if precision != "auto":
            return cls(chosen, getattr(torch, precision), f"{chosen.type}, {precision} (asked for)")
        dtype = torch.bfloat16 if fast else torch.float32
        why = f"this {chosen.type} {'multiplies' if fast else 'does not multiply'} bfloat16"
        return cls(chosen, dtype, f"{chosen.type}, {str(dtype).removeprefix('torch.')} ({why})")

    @property
    def full_dtype(self) -> torch.dtype:
        """The type of weights, pictures and terms: float64 where that is the precision, else float32."""
        return torch.promote_types(self.dtype, torch.float32)

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of pictures and kernels: channels last where convolutions are faster with it."""
        return torch.contiguous_format if self.device.type == "mps" else torch.channels_last

    def place(self, module: nn.Module) -> None:
        """Move a module to the device, in place: weights in `full_dtype`, kernels in `memory_format`."""
        module.to(self.device, self.full_dtype, memory_format=self.memory_format)  # type: ignore[call-overload]

    def take(self, x: Tensor) -> Tensor:
        """Return pictures x [N, C, H, W] as the networks take them: on the device, in `full_dtype` and `memory_format`."""
        return x.to(self.device, self.full_dtype).contiguous(memory_format=self.memory_format)

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which networks and terms are computed: autocast where the precision is bfloat16."""
        return torch.autocast(self.device.type, self.dtype) if self.dtype == torch.bfloat16 else contextlib.nullcontext()

    def backend_flags(self) -> AbstractContextManager[object]:
        """The context around all work, backward passes included: exact products (no TF32) unless bfloat16 is the precision."""
        cudnn = torch.backends.cudnn
        rounded = self.dtype == torch.bfloat16
        return cudnn.flags(enabled=cudnn.enabled, benchmark=self.device.type == "cuda", allow_tf32=rounded)


def at_least_float32(x: Tensor) -> Tensor:
    """Return x in float32 where it is narrower, as autocast makes it; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Newer than the oldest PyTorch that is supported.
        capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False  # Unproven on MPS.
