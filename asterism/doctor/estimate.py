"""What a run will cost, from timed steps on the first pictures of the data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from asterism.config import TrainConfig
from asterism.data.batch import Batch
from asterism.data.dataset import Datasets
from asterism.data.loader import Loader
from asterism.engine import memory
from asterism.engine.distributed import Processes
from asterism.engine.run import build, in_steps
from asterism.engine.step import Steps
from asterism.inference.memory import available
from asterism.machine import Machine
from asterism.recipes.base import Phase, Recipe, Update
from asterism.recipes.settings import Settings

PROBE = 2
"""Pictures of the first timed batch."""

PATIENCE_SECONDS = 10.0
"""Time the whole micro-batch if it takes no longer than this; otherwise extrapolate from two smaller batches."""

SAFE_SHARE = 0.9
"""Share of the free memory that an estimate may use: libraries need the rest."""

BYTES_PER_PARAMETER = 20
"""Weight, gradient, two Adam moments and the average, float32 each."""


@dataclass(frozen=True)
class Estimate:
    """Expected cost of a run on this machine.

    Args:
        seconds: per 1,000 steps, mean over the run, data loading excluded.
        steps: of the whole run.
        memory: bytes at the peak: weights, optimiser state and what the largest update keeps for its backward pass.
        parameters: by network.
        machine: device, precision and the reason.
        available: bytes that the device has free; none where nothing tells.
        fits: whether the run fits there, or what makes it fit.
    """

    seconds: float
    steps: int
    memory: int
    parameters: dict[str, int]
    machine: str
    available: int | None
    fits: str


@dataclass(frozen=True)
class Kept:
    """Bytes that updates keep for their backward pass, at most: as they are written, and with activations computed twice."""

    plain: int = 0
    again: int = 0

    def most(self, other: Kept) -> Kept:
        """Return the larger of each."""
        return Kept(max(self.plain, other.plain), max(self.again, other.again))

    def beyond(self, smaller: Kept, factor: float) -> Kept:
        """Go on along the line from a smaller batch's bytes."""
        pairs = ((self.plain, smaller.plain), (self.again, smaller.again))
        return Kept(*(more + round(factor * max(0, more - less)) for more, less in pairs))


def estimate(settings: Settings, datasets: Datasets) -> Estimate:
    """Time every update of every phase on a micro-batch, or on two smaller ones where that would take long.

    A line through two sizes tells what each picture costs from what each step does, such as Adam on large networks.

    Raises:
        SizeError: the networks cannot take the pictures' size.
        DataError: none of the pictures can be decoded.
    """
    machine = Machine.choose(settings.train.device, settings.train.precision)
    recipe = build(settings, datasets)
    recipe.begin(new=True)  # What its terms need beside its networks.
    machine.place(recipe)
    config = in_steps(settings.train, -(-max(len(s) for s in datasets.splits["train"]) // settings.train.batch_size))
    seconds, kept, largest = 0.0, Kept(), config.batch_size
    for phase, length in stretches(recipe.phases, config.steps):
        recipe.enter(phase.name)
        batch_size = phase.batch or config.batch_size
        micro = -(-batch_size // config.accumulate)
        count = min(PROBE, micro)
        few, few_kept = measure(recipe, settings, datasets, machine, count)
        larger = micro if few * micro / count < PATIENCE_SECONDS else min(2 * count, micro)
        more, more_kept = measure(recipe, settings, datasets, machine, larger)
        beyond = (micro - larger) / max(1, larger - count)
        parts = datasets.space.num_datasets * -(-batch_size // micro)
        seconds += (more + beyond * max(0.0, more - few)) * parts * length / config.steps
        held = more_kept.beyond(few_kept, beyond)
        largest, kept = (batch_size, held) if held.plain > kept.plain else (largest, kept)
    parameters = {name: sum(p.numel() for p in network.parameters()) for name, network in recipe.networks.items()}
    state = sum(parameters.values()) * BYTES_PER_PARAMETER
    room = available(machine)
    needed = state + (kept.again if config.checkpoint_activations else kept.plain)
    dearest = replace(config, batch_size=largest)
    advice = what_fits(dearest, state, kept, -(-largest // config.accumulate), room, divides=not recipe.coupled)
    return Estimate(1000 * seconds, config.steps, needed, parameters, machine.reason, room, advice)


def stretches(phases: Sequence[Phase], steps: int) -> list[tuple[Phase, int]]:
    """Return the phases that a run of so many steps comes to, and how many of these belong to each."""
    ends = [steps if phase.until is None else min(phase.until, steps) for phase in phases]
    lengths = zip(phases, ends, [0, *ends[:-1]], strict=True)
    return [(phase, end - begin) for phase, end, begin in lengths if end > begin]


def what_fits(config: TrainConfig, state: int, kept: Kept, micro: int, room: int | None, divides: bool = True) -> str:
    """Say whether training fits into `room` bytes, or which keys make it fit; nothing where the room is not known.

    Args:
        state: bytes that do not depend on the batch.
        kept: what a micro-batch of `micro` pictures keeps.
        divides: whether a batch may be divided into micro-batches.
    """
    if room is None:
        return ""
    limit = SAFE_SHARE * room - state

    def fits(parts: int, again: bool) -> bool:
        return (kept.again if again else kept.plain) / micro * -(-config.batch_size // parts) <= limit

    if fits(config.accumulate, config.checkpoint_activations):
        return "it fits"
    keys = memory.keys_that_fit(config, divides, fits)
    if keys is None:
        return f"it does not fit; {memory.NOTHING_FITS}"
    return f"it does not fit; with {keys}, which computes the same step, it does"


def measure(recipe: Recipe, settings: Settings, datasets: Datasets, machine: Machine, count: int) -> tuple[float, Kept]:
    """Return the seconds of a mean step of the present phase on `count` pictures and what its largest update keeps."""
    data, config = replace(settings.data, workers=0), replace(settings.train, batch_size=count, accumulate=1)
    config = replace(config, compile="off")  # Compiling takes minutes and leaves the memory about as it is.
    loader = Loader(
        datasets.splits["train"][:1],
        recipe.picture,
        data,
        batch_size=count,
        seed=config.seed,
        streams=recipe.streams,
        on_broken=lambda path, reason: None,
    )
    steps = Steps(recipe, config, machine, Processes())
    with closing(loader.iterate(0)) as batches, machine.backend_flags():
        batch = steps.prepare(*next(batches)[0])
        mean, most = 0.0, Kept()
        for update in (u for u in recipe.updates if not u.during or recipe.phase in u.during):
            plain, kept = timed(steps, update, batch, count, step=0)
            if update.lazy and update.lazy[1] > 1:  # Every k-th step also takes the costly table.
                lazy, kept = timed(steps, update, batch, count, step=update.lazy[1] - 1)
                plain += (lazy - plain) / update.lazy[1]
            mean, most = mean + plain * max(1, len(update.turns)) / update.every, most.most(kept)
    return mean, most


def timed(steps: Steps, update: Update, batch: Batch, count: int, step: int) -> tuple[float, Kept]:
    """Make an update as at a step, a second time after a warm-up; return its seconds and the bytes that its graph keeps."""
    steps.step = step
    progress = torch.tensor(float(step), device=steps.machine.device)
    saved: list[dict[int, int]] = [{}]  # Outside of networks first, then by call of a network.

    def note(tensor: Tensor) -> None:
        saved[calls[-1]][tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()

    def enter(*_: object) -> None:
        calls.append(len(saved))
        saved.append({})

    calls = [0]
    networks = steps.recipe.networks.values()
    hooks = [n.register_forward_pre_hook(enter) for n in networks]
    hooks += [n.register_forward_hook(lambda *_: calls.pop() and None, always_call=True) for n in networks]
    memory.recompute_activations(steps.recipe, False)
    steps.tables.note = note
    steps.apply(update, batch, count, progress)
    steps.tables.note = None
    for hook in hooks:
        hook.remove()
    memory.recompute_activations(steps.recipe, steps.config.checkpoint_activations)
    float(steps.optimizers.skipped)  # Waits for the device.
    began = time.perf_counter()
    steps.apply(update, batch, count, progress)
    float(steps.optimizers.skipped)
    outside, *inside = (sum(held.values()) for held in saved)
    return time.perf_counter() - began, Kept(outside + sum(inside), outside + max(inside, default=0))
