"""Peak memory of training beyond weights, gradients and optimiser state, of one side in a process of its own.

    python -m bench.memory published stargan 128 16
    python -m bench.memory ours stargan 128 16 precision=float32

On CUDA the peak is that of PyTorch's allocator. On a CPU it is the resident memory that the kernel counts, the libraries'
scratch space included, in a process whose freed blocks go back at once; what the process held before the networks were
built is taken off.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from bench.cases import Case, Ours, plain, published

ROOT = Path(__file__).parents[1]


def measure(side: str, case: Case, options: dict[str, str]) -> dict[str, int]:
    """Make every update once to make all state, and again for the peak: ours in the step in which all of them are due.

    Returns:
        peak: bytes beyond the state. state: bytes of weights, gradients of trained networks, moments, averages.
    """
    if torch.cuda.is_available() and options.get("device") != "cpu":
        device = torch.device("cuda")
    else:
        device = torch.device("cpu")
    torch.nn.functional.conv2d(torch.zeros(1, 8, 8, 8, device=device), torch.zeros(8, 8, 3, 3, device=device))
    before = peak(device, reset=True)
    ours = Ours(case, options | {"device": device.type})
    ours.trainer.recorder = None  # The allocator does not see what a replay fills: as much as the same work as written.
    if side == "ours":
        average = ours.trainer.average.weights.values()
        batch = ours.batch
        optimizers = ours.trainer.optimizers.by_network.values()
        parameters = list(ours.recipe.parameters())

        def iterate() -> None:
            ours.trainer.step = ours.cycle - 1
            with ours.machine.backend_flags():
                ours.trainer.train_batch(batch, case.batch)

    else:
        reference = published(case, ours, device)
        batch = plain(ours.batch)
        average = [mean for mean, _ in getattr(reference, "average", ())]
        optimizers = reference.optimizers.values()
        parameters = [p for network in reference.networks.values() for p in network.parameters()]

        def iterate() -> None:
            for update in reference.updates.values():
                update(batch)

        ours.trainer = ours.recipe = None  # type: ignore[assignment]
    ours.weights = {}
    gc.collect()
    iterate()
    gc.collect()
    peak(device, reset=True)
    iterate()
    most = peak(device)
    moments = [t for o in optimizers for held in o.state.values() for t in held.values() if isinstance(t, Tensor)]
    gradients = parameters  # Both sides hold a gradient for every parameter at some time; those of asterism go earlier.
    state = sum(size(tensors) for tensors in (parameters, gradients, moments, average)) + size(t for _, t in batch.items())
    return {"peak": most - before - state, "state": state}


def size(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of tensors."""
    return sum(t.numel() * t.element_size() for t in tensors)


def peak(device: torch.device, reset: bool = False) -> int:
    """Return the most bytes held since the last reset; `reset` starts anew, and returns what is held now."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def measure_apart(side: str, case: Case, options: dict[str, str]) -> dict[str, int]:
    """Run `measure` in a process of its own."""
    words = [side, case.recipe, str(case.size), str(case.batch), *(f"{k}={v}" for k, v in options.items())]
    words += [f"recipe.{k}={v}" for k, v in case.widths.items()]
    # Blocks of 64 KiB and more are mapped, so that they go back to the system when freed and no heap grows around them.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-m", "bench.memory", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(words: list[str]) -> None:
    """Measure what the words say and print it as JSON."""
    side, recipe, side_length, batch, *rest = words
    pairs = dict(word.split("=", 1) for word in rest)
    widths = {k.removeprefix("recipe."): int(v) for k, v in pairs.items() if k.startswith("recipe.")}
    options = {k: v for k, v in pairs.items() if not k.startswith("recipe.")}
    print(json.dumps(measure(side, Case(recipe, int(side_length), int(batch), widths), options)))


if __name__ == "__main__":
    main(sys.argv[1:])
