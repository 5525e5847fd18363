"""CUDA graphs: work on an NVIDIA GPU that is recorded once and then launched as a whole.

A network of a hundred small kernels keeps a GPU waiting for the processor that launches them one by one. A recording of
them costs one launch (https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-graphs).
"""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

WARM_UP = 2
"""Calls before a recording: compilers compile, cuDNN times its algorithms, optimisers make their moments."""

MOST = 8
"""Recordings that are kept: each holds its inputs and what it computes."""

Work = Callable[[Mapping[str, Tensor]], Tensor | None]


@dataclass(frozen=True)
class Recording:
    """What was recorded, the tensors that it reads, and what it makes."""

    graph: torch.cuda.CUDAGraph
    inputs: dict[str, Tensor]
    result: Tensor | None


class Recorder:
    """Does work on a CUDA device: as it is written at first, then by replaying what it did.

    Work that can be recorded launches the same kernels whenever key and shapes are the same. It waits for nothing, reads
    nothing back, makes no tensor from Python's lists, and changes what outlives it (weights, moments, sums) in place. What
    cannot be recorded is done as it is written, with a warning.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # Where everything happens: as PyTorch asks for, before a recording too.
        self.lock = threading.Lock()  # A recording's inputs are its own, whoever calls.
        self.calls = Counter[Hashable]()
        self.recordings: dict[Hashable, Recording] = {}
        self.pool: Any = None  # One replay follows another, so that all of them may compute in the same memory.
        self.refused = False

    def __call__(self, key: Hashable, work: Work, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Do the work once.

        Args:
            key: what distinguishes this work from other work of the same recorder.
            work: a function of tensors by name.
            inputs: what it is given, of any values.

        Returns:
            What the work returns, the caller's own.
        """
        key = (key, *((name, t.shape, t.dtype, t.stride()) for name, t in inputs.items()))
        with self.lock:
            if key not in self.recordings and (self.refused or len(self.recordings) == MOST):
                return work(inputs)
            now = torch.cuda.current_stream(self.device)
            self.stream.wait_stream(now)
            with torch.cuda.stream(self.stream):
                result = self._do(key, work, inputs)
            now.wait_stream(self.stream)
            if result is not None:
                result.record_stream(now)
        return result

    def _do(self, key: Hashable, work: Work, inputs: Mapping[str, Tensor]) -> Tensor | None:
        if key not in self.recordings:
            self.calls[key] += 1
            if self.calls[key] <= WARM_UP:
                return work(inputs)
            try:
                self.recordings[key] = _record(work, inputs, self.stream, self.pool)
            except RuntimeError as error:
                self.refused = True
                warnings.warn(f"not recorded as a CUDA graph, which is slower and otherwise equal: {error}", stacklevel=4)
                return work(inputs)
            self.pool = self.recordings[key].graph.pool()
        recording = self.recordings[key]
        for name, held in recording.inputs.items():
            held.copy_(inputs[name])
        recording.graph.replay()
        return None if recording.result is None else recording.result.clone()


def _record(work: Work, inputs: Mapping[str, Tensor], stream: torch.cuda.Stream, pool: Any) -> Recording:
    held, graph = {name: t.clone() for name, t in inputs.items()}, torch.cuda.CUDAGraph()
    torch.clear_autocast_cache()  # Weights cast before it would be missing in the recording; those cast in it hold nothing yet.
    try:
        # Threads that load pictures may meanwhile ask the device for what a recording thread may not.
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            result = work(held)
    finally:
        torch.clear_autocast_cache()
    return Recording(graph, held, result)
