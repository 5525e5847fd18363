"""What a run will cost, from one timed pass of a small batch through every update."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from asterism.data.batch import Batch
from asterism.data.dataset import Datasets
from asterism.engine.processes import Processes
from asterism.engine.run import build
from asterism.engine.trainer import Trainer, step_generator
from asterism.machine import Machine
from asterism.recipes.base import Recipe
from asterism.recipes.settings import Settings

PROBE = 4
"""Pictures in the timed batch; times and activations scale with the batch from there."""

BYTES_PER_PARAMETER = 20
"""Weight, gradient, two Adam moments and the average, float32 each."""


@dataclass(frozen=True)
class Estimate:
    """Expected cost of a run on this machine.

    Args:
        seconds: per 1,000 steps, data loading excluded.
        memory: bytes at the peak: weights, optimiser state and what the largest update keeps for its backward pass.
        parameters: by network.
        machine: device, precision and the reason.
    """

    seconds: float
    memory: int
    parameters: dict[str, int]
    machine: str


def estimate(settings: Settings, datasets: Datasets) -> Estimate:
    """Time every update once on random pictures and scale to the batch.

    Raises:
        SizeError: the networks cannot take the pictures' size.
    """
    machine = Machine.choose(settings.train.device, settings.train.precision)
    recipe = build(settings, datasets).to(machine.device, memory_format=machine.memory_format)
    config = replace(settings.train, accumulate=1)
    trainer = Trainer(
        recipe,
        None,
        config,
        Path(),
        machine=machine,
        processes=Processes(),
        identity={},
        previews=None,
        info={},  # type: ignore[arg-type]
    )
    micro = -(-settings.train.batch_size // settings.train.accumulate)
    probe = min(PROBE, micro)
    batch = _random_batch(recipe, probe, machine)
    progress = torch.zeros((), device=machine.device)
    seconds, kept = 0.0, 0
    for update in recipe.updates:
        trainer.apply(update, batch, probe, progress)  # Warm-up: allocations and kernel choices.
        saved: dict[int, int] = {}

        def note(tensor: Tensor, saved: dict[int, int] = saved) -> Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        began = time.perf_counter()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            trainer.apply(update, batch, probe, progress)
        float(trainer.optimizers.skipped)  # Waits for the device.
        seconds += (time.perf_counter() - began) / update.every
        kept = max(kept, sum(saved.values()))
    parameters = {name: sum(p.numel() for p in network.parameters()) for name, network in recipe.networks.items()}
    steps = 1000 * datasets.space.num_datasets * settings.train.batch_size / probe
    memory = sum(parameters.values()) * BYTES_PER_PARAMETER + kept * micro // probe
    return Estimate(seconds * steps, memory, parameters, machine.reason)


def _random_batch(recipe: Recipe, count: int, machine: Machine) -> Batch:
    rng = step_generator(0, 0, 0)
    dataset = torch.zeros(count, dtype=torch.long)
    whole = Batch(
        labels=recipe.space.sample_uniform(dataset, rng),
        known=recipe.space.known(dataset),
        dataset=dataset,
        position=torch.arange(count),
        x=torch.rand(count, recipe.picture.channels, recipe.picture.height, recipe.picture.width, generator=rng) * 2 - 1,
    )
    return whole.extend(**recipe.prepare(whole, rng)).to(machine.device)
