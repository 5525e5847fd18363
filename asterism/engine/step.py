"""One training step: its operations, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from asterism.config import ConfigError, TrainConfig
from asterism.cuda_graphs import Recorder
from asterism.data.batch import Batch
from asterism.data.pictures import to_float
from asterism.data.transforms import fit_stored, mirror, zoom
from asterism.engine import memory
from asterism.engine.compilation import CompiledTerms
from asterism.engine.distributed import Processes
from asterism.engine.ema import Average
from asterism.engine.gradients import GradientSums
from asterism.engine.optimizers import Optimizers, freeze_others, rate_factor
from asterism.engine.pools import Pools
from asterism.engine.statistics import Statistics
from asterism.errors import ran_out
from asterism.machine import Machine
from asterism.recipes.base import Phase, Recipe, Terms, Update

Drawn = list[tuple[Batch, dict[str, Tensor]]]
"""The batches of one step as the loader gives them: (whole, pictures) of each dataset."""


class Steps:
    """Makes training steps, one after the other.

    Args:
        recipe: on the machine's device.
        config: resolved: steps and decay_steps hold, epochs are converted.

    Attributes:
        step: the count of finished steps.
        images: the pictures of these; images_since: of those since the log was written.
    """

    def __init__(self, recipe: Recipe, config: TrainConfig, machine: Machine, processes: Processes) -> None:
        self.recipe, self.config, self.machine, self.processes = recipe, config, machine, processes
        if recipe.coupled and config.accumulate > 1:
            raise ConfigError(
                f"train.accumulate {config.accumulate}: {type(recipe).__name__} normalises over the samples of a batch, so a "
                "batch cannot be split; take a smaller --train.batch_size"
            )
        memory.recompute_activations(recipe, config.checkpoint_activations)
        self.tables = CompiledTerms(recipe, machine.device, config.compile, config.checkpoint_activations)
        alone = self.tables.compiled and processes.world == 1  # Messages between processes are not recorded.
        self.recorder = Recorder(machine.device) if alone and machine.device.type == "cuda" else None
        self.optimizers = Optimizers(recipe, machine.device)
        self.sums = GradientSums(self.optimizers.parameters, processes)
        self.average = Average(recipe, config.ema_kimg, config.ema_ramp)
        self.pools = Pools(recipe.pools, config.seed, processes)
        self.statistics = Statistics(machine.device)
        self.step = self.images = self.images_since = 0

    def train_step(self, drawn: Drawn) -> None:
        """Train on the batches of one step, one per dataset, in order."""
        self.enter_phase()
        self.rates = self.optimizers.set_rates(rate_factor(self.step, self.config.steps, self.config.decay_steps))
        for whole, stored in drawn:
            self.train_batch(self.prepare(whole, stored), len(whole))
        pictures = sum(len(whole) for whole, _ in drawn)
        self.step += 1
        self.images, self.images_since = (int(drawn[0][0].position[-1]) + 1) * len(drawn), self.images_since + pictures
        self.average.update(self.images, pictures)

    def enter_phase(self) -> None:
        """Tell the recipe which phase the step belongs to; where it begins one, start anew what the phase resets."""
        phase, before = phase_at(self.recipe, self.step), phase_at(self.recipe, self.step - 1)
        self.recipe.enter(phase.name)
        if self.step and phase != before:
            self.optimizers.restart([name for name in phase.resets if name in self.optimizers.settings])
            self.average.restart(phase.resets)

    def prepare(self, whole: Batch, stored: dict[str, Tensor]) -> Batch:
        """Return this process's rows of a batch on the device, with every random choice of the step made.

        Choices are drawn for the whole batch, before it is divided among processes and micro-batches.
        """
        dataset, device, dtype = int(whole.dataset[0]), self.machine.device, self.machine.full_dtype
        draws = self.recipe.prepare(whole, step_generator(self.config.seed, self.step, dataset))
        rows = whole.extend(**draws).rows(*self.processes.rows(len(whole))).to(device, dtype, non_blocking=True)
        first = int(whole.position[0]) * self.recipe.space.num_datasets + dataset * len(whole)
        rows = rows.extend(**{name: plan.to(device) for name, plan in self.pools.plan(first, len(whole)).items()})
        for name, pictures in stored.items():  # x, and x_<stream> of every stream of the recipe.
            picture = self.recipe.picture.taken if name == "x" else self.recipe.picture
            x = to_float(fit_stored(pictures.to(device, non_blocking=True), picture), picture).to(dtype)
            suffix = name.removeprefix("x")
            if f"window{suffix}" in rows:
                x = zoom(x, getattr(rows, f"window{suffix}"), nearest=bool(picture.classes))
            x = mirror(x, getattr(rows, f"mirror{suffix}"))
            rows = rows.extend(**{name: x.contiguous(memory_format=self.machine.memory_format)})
        with torch.no_grad(), self.machine.autocast():
            return rows.extend(**self.recipe.observe(rows))

    def train_batch(self, batch: Batch, total: int) -> None:
        """Make every update that is due; `total` counts the batch's samples over all processes."""
        self.make([update for update in self.recipe.updates if update.due(self.step, self.recipe.phase)], batch, total)

    def make(self, updates: Sequence[Update], batch: Batch, total: int) -> None:
        """Run these updates of one step in order, making shared tensors once; on CUDA, replay a graph of it."""

        def work(tensors: Mapping[str, Tensor]) -> None:
            self.recipe.zero_grad()  # A recording that failed leaves gradients that were never computed.
            held = Batch(**{name: t for name, t in tensors.items() if name != "progress"})
            for update in updates if len(updates) > 1 else ():
                if update.shares and self.config.accumulate == 1:
                    freeze_others(self.recipe, update.trains)
                    with self.machine.autocast():
                        held = held.extend(**self.tables.call("share", held))
            if self.recipe.pools:
                held = held.extend(**self.pools.exchange(self.shared(held), held))
            for update in updates:
                self.apply(update, held, total, tensors["progress"])

        tensors = dict(batch.items()) | {"progress": torch.full((), float(self.step), device=self.machine.device)}
        if self.recorder is None:
            work(tensors)
        else:
            key = (self.recipe.phase, *((update.name, self.is_lazy(update)) for update in updates))
            self.recorder(key, work, tensors)

    def shared(self, batch: Batch) -> Batch:
        """Return what updates share, without gradients where it was not made for them: micro-batch by micro-batch."""
        if all(name in batch for name in self.recipe.pools):
            return batch
        with torch.no_grad(), self.machine.autocast():
            parts = [self.tables.call("share", micro) for micro in split(batch, self.config.accumulate)]
        return Batch(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def apply(self, update: Update, batch: Batch, total: int, progress: Tensor) -> None:
        """One optimisation step: sum the weighted terms, differentiate micro-batch by micro-batch, step."""
        if update.clamp is not None:
            self.optimizers.clamp(update.trains, update.clamp)
        micros, lazy = split(batch, self.config.accumulate), self.is_lazy(update)
        self.sums.begin(update.trains, passes=len(micros) * (1 + lazy))
        for micro in micros:
            for terms in self.differentiate(update, micro, total, progress, lazy):
                self.statistics.add(update.name, terms)
        self.sums.finish()
        self.optimizers.step(update.trains)

    def is_lazy(self, update: Update) -> bool:
        """Say whether this step takes an update's costly table too."""
        return update.lazy is not None and (self.step + 1) % update.lazy[1] == 0

    def differentiate(self, update: Update, micro: Batch, total: int, progress: Tensor, lazy: bool) -> list[Terms]:
        """Add the gradients of an update's terms over a micro-batch, with `lazy` those of its costly table too."""
        freeze_others(self.recipe, update.trains)
        tables = [(update.terms or update.name, 1), *([update.lazy] if update.lazy and lazy else [])]
        result = []
        for name, factor in tables:  # One after the other: the graph of one is gone before the next is built.
            with self.machine.autocast():
                terms = self.tables.call(f"{name}_terms", micro, progress, fixed=update.args, eager=update.eager)
            loss = torch.stack([factor * weight * value.sum() / total for weight, value in terms.values()]).sum()
            loss.backward()
            result.append({key: (weight, value.detach()) for key, (weight, value) in terms.items()})
        return result

    def keys_that_fit(self, drawn: Drawn) -> str | None:
        """After memory ran out: find by trying which keys make this step fit; nothing is stepped, and gradients are cleared."""
        self.tables = CompiledTerms(self.recipe, self.machine.device, "off")  # To compile each size tried would take minutes.
        self.recorder = None  # Recordings hold memory.
        self.sums.begin((), 0)  # Nothing is sent.
        return memory.keys_that_fit(self.config, not self.recipe.coupled, lambda parts, again: self._fits(drawn, parts, again))

    def _fits(self, drawn: Drawn, parts: int, again: bool) -> bool:
        """Differentiate the first micro-batch of every update; batches are divided into `parts`."""
        memory.recompute_activations(self.recipe, again)
        torch.cuda.empty_cache()  # Nothing where no GPU is used.
        try:
            for whole, stored in drawn:
                batch = self.prepare(whole, stored)
                micro = batch.rows(0, -(-len(batch) // parts))
                for update in self.recipe.updates:
                    self.differentiate(update, micro, len(whole), torch.zeros((), device=self.machine.device), lazy=True)
            return True
        except RuntimeError as error:
            if not ran_out(error):
                raise
            return False
        finally:
            self.recipe.zero_grad(set_to_none=True)


def phase_at(recipe: Recipe, step: int) -> Phase:
    """Return the phase that a training step belongs to."""
    return next(phase for phase in recipe.phases if phase.until is None or step < phase.until)


def step_generator(seed: int, step: int, dataset: int) -> torch.Generator:
    """Return the generator of a step's random choices: a function of seed, step and dataset, never of the process."""
    mixed = torch.tensor([seed, step, dataset], dtype=torch.int64)
    value = int((mixed * torch.tensor([0x9E3779B97F4A7C1, 0xC2B2AE3D27D4EB, 0x165667B19E3779F])).sum())
    return torch.Generator().manual_seed(value & 0x7FFFFFFFFFFFFFFF)


def split(batch: Batch, parts: int) -> list[Batch]:
    """Divide a batch into at most `parts` micro-batches of nearly equal size."""
    edges = [i * len(batch) // parts for i in range(parts + 1)]
    return [batch.rows(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a]
