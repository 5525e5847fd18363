"""What a run will cost, from timed steps on the first pictures of the data."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from asterism.data.batch import Batch
from asterism.data.dataset import Datasets
from asterism.data.loader import Loader
from asterism.engine.processes import Processes
from asterism.engine.run import build, in_steps
from asterism.engine.trainer import Trainer
from asterism.machine import Machine
from asterism.recipes.base import Recipe, Update
from asterism.recipes.settings import Settings
from asterism.terminal import amount, duration, space, waiting

PROBE = 2
"""Pictures of the first timed batch."""

PATIENCE_SECONDS = 10.0
"""The whole micro-batch is timed if that takes no longer; else one twice as large as the first, and the line through both."""

BYTES_PER_PARAMETER = 20
"""Weight, gradient, two Adam moments and the average, float32 each."""


@dataclass(frozen=True)
class Estimate:
    """Expected cost of a run on this machine.

    Args:
        seconds: per 1,000 steps, data loading excluded.
        steps: of the whole run.
        memory: bytes at the peak: weights, optimiser state and what the largest update keeps for its backward pass.
        parameters: by network.
        machine: device, precision and the reason.
    """

    seconds: float
    steps: int
    memory: int
    parameters: dict[str, int]
    machine: str


def estimate(settings: Settings, datasets: Datasets) -> Estimate:
    """Time every update on a micro-batch, or on two smaller ones where that would take long.

    A line through two sizes tells what each picture costs from what each step does, such as Adam on large networks.

    Raises:
        SizeError: the networks cannot take the pictures' size.
        DataError: none of the pictures can be decoded.
    """
    machine = Machine.choose(settings.train.device, settings.train.precision)
    recipe = build(settings, datasets)
    recipe.to(machine.device, memory_format=machine.memory_format)  # type: ignore[call-overload]
    batch_size = settings.train.batch_size
    config = in_steps(settings.train, -(-max(len(s) for s in datasets.splits["train"]) // batch_size))
    micro = -(-batch_size // config.accumulate)
    count = min(PROBE, micro)
    seconds, kept = measure(recipe, settings, datasets, machine, count)
    larger = micro if seconds * micro / count < PATIENCE_SECONDS else min(2 * count, micro)
    more_seconds, more_kept = measure(recipe, settings, datasets, machine, larger)
    beyond = (micro - larger) / max(1, larger - count)
    seconds = more_seconds + beyond * max(0.0, more_seconds - seconds)
    kept = more_kept + round(beyond * max(0, more_kept - kept))
    parameters = {name: sum(p.numel() for p in network.parameters()) for name, network in recipe.networks.items()}
    steps = 1000 * datasets.space.num_datasets * -(-batch_size // micro)
    memory = sum(parameters.values()) * BYTES_PER_PARAMETER + kept
    return Estimate(seconds * steps, config.steps, memory, parameters, machine.reason)


def measure(recipe: Recipe, settings: Settings, datasets: Datasets, machine: Machine, count: int) -> tuple[float, int]:
    """Return the seconds of a mean step on `count` pictures and the bytes that its largest update keeps."""
    data, config = replace(settings.data, workers=0), replace(settings.train, batch_size=count, accumulate=1)
    loader = Loader(
        datasets.splits["train"][:1],
        datasets.picture,
        data,
        batch_size=count,
        seed=config.seed,
        references=recipe.references,
        on_broken=lambda path, reason: None,
    )
    parts = {"machine": machine, "processes": Processes(), "identity": {}, "previews": None, "info": {}}
    trainer = Trainer(recipe, loader, config, Path(), **parts)  # type: ignore[arg-type]
    with closing(loader.iterate(0)) as batches, machine.products():
        batch = trainer.prepare(*next(batches)[0])
        mean, most = 0.0, 0
        for update in recipe.updates:
            plain, kept = timed(trainer, update, batch, count, step=0)
            if update.lazy and update.lazy[1] > 1:  # Every k-th step also takes the costly table.
                lazy, kept = timed(trainer, update, batch, count, step=update.lazy[1] - 1)
                plain += (lazy - plain) / update.lazy[1]
            mean, most = mean + plain / update.every, max(most, kept)
    return mean, most


def timed(trainer: Trainer, update: Update, batch: Batch, count: int, step: int) -> tuple[float, int]:
    """Make an update as at a step, a second time after a warm-up; return its seconds and the bytes that its graph keeps."""
    trainer.step = step
    progress = torch.tensor(float(step), device=trainer.machine.device)
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        trainer.apply(update, batch, count, progress)
    float(trainer.optimizers.skipped)  # Waits for the device.
    began = time.perf_counter()
    trainer.apply(update, batch, count, progress)
    float(trainer.optimizers.skipped)
    return time.perf_counter() - began, sum(saved.values())


def expected_cost(settings: Settings, datasets: Datasets) -> tuple[list[str], dict[str, object]]:
    """Estimate a run's cost, in words and as JSON values."""
    with waiting("timing a few steps"):
        cost = estimate(settings, datasets)
    parameters = ", ".join(f"{name} {amount(count)}" for name, count in cost.parameters.items())
    lines = [
        f"{settings.name} on {cost.machine}",
        f"parameters: {parameters}",
        f"time: about {duration(cost.seconds)} per 1,000 steps, {duration(cost.seconds * cost.steps / 1000)} for all "
        f"{cost.steps:,}, without data loading",
        f"memory: about {space(cost.memory)}",
    ]
    return lines, vars(cost)
