"""Where arithmetic written for CPUs takes the place of PyTorch's own."""

from __future__ import annotations

import torch
from torch import Tensor


def applies(x: Tensor) -> bool:
    """Say whether x is computed eagerly on a CPU: a compiler, an exporter and other devices get the plain operations."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing()
